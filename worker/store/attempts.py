"""Rows of ``attempt``: what was tried and changed no page, and what an operator ordered, one row for each time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

from worker.store import clean
from worker.store.deliveries import WORKER_CHARS
from worker.store.driver import Transaction, statement

Kind = Literal["retry", "fetch", "replay", "drop"]

_INSERT: Final = statement(
    """INSERT INTO attempt
      (kind, source, item_key, failure_id, at, worker, number, outcome, error_class, message, entry)
    SELECT kind, source, item_key, failure_id, at, worker, number, outcome, error_class, message, entry FROM {rows}""",
    kind="text",
    source="text",
    item_key="text",
    failure_id="int",
    at="int",
    worker="text",
    number="int",
    outcome="text",
    error_class="text",
    message="text",
    entry="text",
)


class Attempt(NamedTuple):
    """One attempt, its columns in their order. ``number`` counts those of the failure, or of the item's fetch."""

    kind: Kind
    source: str
    item_key: str
    failure_id: int | None
    at: int
    worker: str  # who did it; of an operator's order, the operator
    number: int
    outcome: str
    error_class: str | None = None
    message: str | None = None
    entry: str | None = None


def note(tx: Transaction, made: Iterable[Attempt]) -> None:
    """Store attempts."""
    rows = [
        one._replace(
            worker=clean.text(one.worker, WORKER_CHARS),
            error_class=clean.text(one.error_class, 100),
            message=clean.text(one.message, clean.MESSAGE_CHARS),
        )
        for one in made
    ]
    tx.write(_INSERT, rows)
