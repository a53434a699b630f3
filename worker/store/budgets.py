"""Rows of ``run_fetch`` and ``day_fetch``: how many items of a source were fetched in a run and on a day, UTC."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final, NamedTuple

from tasks.fetch_ports import Budget
from tasks.steps.page import SourceProfile
from worker.store import clean
from worker.store.driver import Row, Transaction, statement

DAY_US: Final = 86_400_000_000
DEFAULT: Final = Budget(SourceProfile(name="").max_items_per_run, SourceProfile(name="").max_items_per_day)

_NO_BOUND: Final = 2**62
_COUNT_RUN: Final = statement(
    """INSERT INTO run_fetch (run, source, n) SELECT run, source, n FROM {rows} WHERE true
    ON CONFLICT (run, source) DO UPDATE SET n = run_fetch.n + excluded.n RETURNING source, n""",
    run="text",
    source="text",
    n="int",
)
_COUNT_DAY: Final = statement(
    """INSERT INTO day_fetch (day, source, n) SELECT day, source, n FROM {rows} WHERE true
    ON CONFLICT (day, source) DO UPDATE SET n = day_fetch.n + excluded.n RETURNING source, n""",
    day="int",
    source="text",
    n="int",
)


class Period(NamedTuple):
    """What fetches are counted under. A lease's token begins with it."""

    run: str
    day: int  # since the epoch

    @classmethod
    def at(cls, run: str, now: int) -> Period:
        """Return the period of a run at a time."""
        return cls(clean.text(run), now // DAY_US)

    @classmethod
    def of(cls, token: str) -> Period:
        """Return the period in which a lease was counted."""
        run, day, _ = token.rsplit("/", 2)
        return cls(run, int(day))

    def token(self, end: str) -> str:
        """Return the token of a lease that is counted here."""
        return f"{self.run}/{self.day}/{end}"


Used = Mapping[str, tuple[int, int]]  # in the run and on the day, by source


def used(tx: Transaction, period: Period) -> Used:
    """Return how many items of each source were fetched."""
    run = _numbers(tx.run("SELECT source, n FROM run_fetch WHERE run = ?", period.run))
    day = _numbers(tx.run("SELECT source, n FROM day_fetch WHERE day = ?", period.day))
    return {source: (run.get(source, 0), day.get(source, 0)) for source in run | day}


def left(source: str, spent: Used, budgets: Mapping[str, Budget]) -> int:
    """Return how many items of a source may still be fetched."""
    budget, (run, day) = budgets.get(source, DEFAULT), spent.get(source, (0, 0))
    bounds = (_NO_BOUND if bound is None else bound for bound in (budget.run, budget.day))
    return max(0, min(bound - n for bound, n in zip(bounds, (run, day), strict=True)))


def take(tx: Transaction, period: Period, wanted: Mapping[str, int], budgets: Mapping[str, Budget]) -> dict[str, int]:
    """Count what is wanted of each source as fetched, and return how much of it may be.

    The rest is to be given back. Until the transaction ends, nobody else counts for these sources: two that look at
    the same time would both take what is left.
    """
    run, day = _add(tx, Counter({(period, source): wanted[source] for source in wanted}))
    spent = {source: (run[source] - n, day[source] - n) for source, n in wanted.items()}
    return {source: min(n, left(source, spent, budgets)) for source, n in wanted.items()}


def give_back(tx: Transaction, counts: Mapping[tuple[Period, str], int]) -> None:
    """Count items of a source as not fetched."""
    _add(tx, {key: -n for key, n in counts.items() if n})


def _add(tx: Transaction, counts: Mapping[tuple[Period, str], int]) -> tuple[dict[str, int], dict[str, int]]:
    """Add to the counts of runs, and then to those of days; return what they are now, by source."""
    runs, days = Counter[tuple[str, str]](), Counter[tuple[int, str]]()
    for (period, source), n in counts.items():
        runs[period.run, source] += n
        days[period.day, source] += n
    return (
        _numbers(tx.read(_COUNT_RUN, [(*key, runs[key]) for key in sorted(runs)])),
        _numbers(tx.read(_COUNT_DAY, [(*key, days[key]) for key in sorted(days)])),
    )


def _numbers(rows: list[Row]) -> dict[str, int]:
    return {row[0]: int(row[1]) for row in rows}
