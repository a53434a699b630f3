"""The faults of a run, drawn from its seed before it begins: the same seed gives the same faults, for any pipeline."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

StoreKind = Literal["sqlite", "postgresql"]

KILL_SECONDS = 2.0  # between two kills of a pool process, on average
GROUP_SECONDS = 24.0  # between two kills of a whole worker group
GAP_SECONDS = (1.5, 4.5)  # between two faults that last
CALM_SECONDS = 8.0  # without faults, at the begin and at the end of the load


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: when it begins, how long it lasts, and which of several victims it takes (0 to 1)."""

    at: float
    kind: str
    seconds: float
    draw: float


# kind: (how often in one round on SQLite, on PostgreSQL, least and most seconds)
LASTING: dict[str, tuple[int, int, float, float]] = {
    "redis_kill": (9, 5, 0.1, 3.0),
    "postgres_kill": (0, 18, 0.1, 3.0),
    "backend_kill": (0, 2, 0.1, 0.2),
    "redis_stop": (1, 1, 2.0, 12.0),
    "postgres_stop": (0, 1, 2.0, 12.0),
    "child_stop": (2, 1, 2.0, 8.0),
    "group_term": (2, 1, 2.0, 4.0),
    "redis_full": (1, 1, 3.0, 8.0),
    "redis_flush": (1, 1, 1.0, 3.0),
    "redis_cut": (1, 1, 1.0, 6.0),
    "redis_stall": (1, 1, 3.0, 12.0),
    "redis_slow": (1, 1, 3.0, 8.0),
    "postgres_cut": (0, 1, 1.0, 6.0),
    "postgres_stall": (0, 1, 3.0, 12.0),
    "postgres_slow": (0, 1, 3.0, 8.0),
    "postgres_full": (0, 1, 3.0, 8.0),
    "row_locks": (0, 1, 3.0, 10.0),
    "deadlocks": (0, 1, 3.0, 6.0),
    "sqlite_lock": (3, 0, 2.0, 13.0),
}


def plan(seed: int, seconds: float, store: StoreKind, *, longest: float = 15.0) -> list[Fault]:
    """Draw the faults of a run of so many seconds, in the order of their times; none lasts longer than ``longest``."""
    rng = random.Random(seed)
    ends = seconds - CALM_SECONDS
    faults = [
        *_sudden(rng, "child_kill", KILL_SECONDS, ends),
        *_sudden(rng, "group_kill", GROUP_SECONDS, ends),
        *_sudden(rng, "sandbox_kill", GROUP_SECONDS, ends),
        *_lasting(rng, store, ends, longest),
    ]
    return sorted(faults, key=lambda fault: fault.at)


def _sudden(rng: random.Random, kind: str, every: float, ends: float) -> Iterator[Fault]:
    at = CALM_SECONDS / 2 + rng.uniform(0, every)
    while at < ends:
        yield Fault(at, kind, 0.0, rng.random())
        at += rng.uniform(0.2 * every, 1.8 * every)


def _lasting(rng: random.Random, store: StoreKind, ends: float, longest: float) -> Iterator[Fault]:
    at, kinds = CALM_SECONDS / 2, _rounds(rng, store, few=ends < 150)
    while True:
        kind = next(kinds)
        seconds = min(longest, rng.uniform(*LASTING[kind][2:]))
        if at + seconds > ends:
            return
        yield Fault(at, kind, seconds, rng.random())
        at += seconds + rng.uniform(*GAP_SECONDS)


def _rounds(rng: random.Random, store: StoreKind, *, few: bool) -> Iterator[str]:
    """Yield kinds for ever, each as often as it is to come; in a run too short for that, each once."""
    column = 0 if store == "sqlite" else 1
    often = Counter({kind: how[column] for kind, how in LASTING.items() if how[column]})
    while True:
        one = list(often if few else often.elements())
        rng.shuffle(one)
        yield from one
