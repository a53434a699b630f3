"""Work that goes through a whole table in small portions, a short transaction each, one process at a time.

How far a chore has come is a row of ``job``: what the last portion ended at, nothing when a pass is complete, and when.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import orjson

from worker.store.driver import Transaction

Position = list[Any] | None  # None: at the beginning
Portion = Callable[[Transaction, Position], tuple[int, Position]]

_ADD: Final = "INSERT INTO job (name, position, at) VALUES (?, '', ?) ON CONFLICT DO NOTHING"
_TAKE: Final = "SELECT position, at FROM job WHERE name = ? {lock job SKIP LOCKED}"
_MOVE: Final = "UPDATE job SET position = ?, at = ? WHERE name = ?"
# A plan for any range of keys is made for a third of the table, and reads it whole; a portion is a thousand rows.
_BY_INDEX: Final = "SET LOCAL enable_seqscan = off"
_TURN: Final = """INSERT INTO job (name, position, at) VALUES (?, '', ?)
  ON CONFLICT (name) DO UPDATE SET at = excluded.at WHERE job.at <= ? OR job.at > excluded.at RETURNING name"""


@dataclass(frozen=True, slots=True)
class Step:
    """What a portion did, and whether there is more to do at once."""

    done: int
    more: bool


def step(tx: Transaction, name: str, portion: Portion, *, every_us: int, now: int) -> Step:
    """Do the next portion of a chore, unless another process is at it or its last pass ended just now."""
    tx.run(_ADD, name, 0)
    rows = tx.run(_TAKE, name)
    if not rows:
        return Step(0, more=False)
    position = orjson.loads(rows[0][0]) if rows[0][0] else None
    if position is None and now - every_us < rows[0][1] <= now:
        return Step(0, more=False)
    if tx.locks_rows:
        tx.run(_BY_INDEX)
    done, reached = portion(tx, position)
    tx.run(_MOVE, "" if reached is None else orjson.dumps(reached).decode(), now, name)
    return Step(done, more=reached is not None)


def take_turn(tx: Transaction, name: str, *, every_us: int, now: int) -> bool:
    """Tell whether this process is to do something now that one of all does in ``every_us``."""
    return bool(tx.run(_TURN, name, now, now - every_us))


def noted(tx: Transaction, name: str) -> str:
    """Return what was noted under the name of a turn; nothing before the first time."""
    rows = tx.run("SELECT position FROM job WHERE name = ?", name)
    return str(rows[0][0]) if rows else ""


def note(tx: Transaction, name: str, what: str) -> None:
    """Note something under the name of a turn that was taken."""
    tx.run("UPDATE job SET position = ? WHERE name = ?", what, name)
