"""What is where, in numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tasks.fetch_ports import Budget
from tasks.steps.page import Outcome
from worker.store import clean
from worker.store.batch import EntryKey
from worker.store.budgets import Period, left, used
from worker.store.deliveries import earlier
from worker.store.driver import Transaction
from worker.store.failures import OPEN
from worker.store.sources_state import NOT_PAUSED

_NOTED: Final = """SELECT epoch, accepted, acknowledged, acknowledged_note, pruned_serial FROM ledger_epoch
  ORDER BY first_seen"""
# A row with last_seen 0 is not from a note of the epoch itself.
_ACKNOWLEDGE: Final = """INSERT INTO ledger_epoch
    (epoch, first_seen, last_seen, accepted, acknowledged, acknowledged_note)
  VALUES (?, ?, 0, 0, ?, ?) ON CONFLICT (epoch) DO UPDATE SET
    acknowledged = ledger_epoch.acknowledged + excluded.acknowledged, acknowledged_note = excluded.acknowledged_note"""

_BOUNDED: Final = """SELECT coalesce(bound, 'unknown'), count(*) FROM item WHERE state = 'bounded'
  GROUP BY bound ORDER BY bound"""
_MAY_BE_FETCHED: Final = ("state = 'due'", "state IN ('scheduled', 'fetched') AND next_fetch_at <= ?")
_HOST_OPEN: Final = """NOT EXISTS (SELECT 1 FROM host_pause WHERE host_pause.host = item.host
  AND host_pause.until > ?)"""


@dataclass(frozen=True, slots=True)
class EpochLedger:
    """What the store knows of one epoch of the stream."""

    epoch: str
    outcomes: Mapping[str, int]  # deliveries by outcome
    accepted_noted: int  # the accepted count when upkeep last noted it; the truth may have been higher
    acknowledged: int = 0  # the difference that an operator knows of and has accepted
    acknowledged_note: str | None = None
    pruned_serial: int = 0  # up to this number deliveries may have been deleted, being old

    @property
    def delivered(self) -> int:
        """Deliveries with an outcome."""
        return sum(self.outcomes.values())


@dataclass(frozen=True, slots=True)
class Counts:
    """What is stored. ``sources`` has, by name, the number of pages and of deliveries by outcome."""

    outcomes: Mapping[str, int]
    failures: Mapping[str, int]  # by state
    items: Mapping[str, int]  # by state
    bounded: Mapping[str, int]  # of the bounded ones, by bound; "unknown": found before that was noted
    pages: int
    sources: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class DueCounts:
    """How much work there is. What is beyond a source's budgets is not due."""

    due_failures: int
    leased_failures: int
    waiting_failures: int  # later
    due_items: int
    leased_items: int
    pushed_items: int  # in the stream
    over_budget: Mapping[str, int]  # by source: items that would be due

    @property
    def failures(self) -> int:
        """Failures that are due or in hand."""
        return self.due_failures + self.leased_failures

    @property
    def items(self) -> int:
        """Items that are due or in hand."""
        return self.due_items + self.leased_items


def epochs(tx: Transaction) -> list[EpochLedger]:
    """Return the ledger of each epoch, the oldest first."""
    noted = {row[0]: row[1:] for row in tx.run(_NOTED)}
    outcomes: dict[str, dict[str, int]] = {epoch: {} for epoch in noted}
    for epoch, outcome, n in tx.run("SELECT epoch, outcome, sum(n) FROM outcome_count GROUP BY epoch, outcome"):
        outcomes.setdefault(epoch, {})[outcome] = int(n)
    return [EpochLedger(epoch, _by_outcome(found), *noted.get(epoch, (0,))) for epoch, found in outcomes.items()]


def acknowledge(tx: Transaction, differences: Mapping[str, int], note: str, now: int) -> None:
    """Add to what is acknowledged of epochs, with one note, and put it on record."""
    note = clean.text(note, clean.MESSAGE_CHARS)
    for epoch, difference in sorted(differences.items()):
        tx.run(_ACKNOWLEDGE, clean.text(epoch), now, difference, note)
    tx.run(
        "INSERT INTO operator_action (at, action, filter, count, note) VALUES (?, 'acknowledge', ?, ?, ?)",
        now,
        clean.to_json({"differences": dict(differences)}),
        sum(map(abs, differences.values())),
        note,
    )


def delivered_among(tx: Transaction, epoch: str, entry_ids: Sequence[str]) -> set[str]:
    """Return those of the entries that have an outcome."""
    return {key.entry_id for key in earlier(tx, (EntryKey.of(epoch, entry_id) for entry_id in entry_ids))}


def counts(tx: Transaction) -> Counts:
    """Return what is stored, in numbers."""
    by_source = _sources(tx)
    totals = {str(outcome): sum(one[outcome] for one in by_source.values()) for outcome in Outcome}
    return Counts(
        outcomes=totals,
        failures=_grouped(tx, "SELECT state, count(*) FROM failure GROUP BY state ORDER BY state"),
        items=_grouped(tx, "SELECT state, count(*) FROM item GROUP BY state ORDER BY state"),
        bounded=_grouped(tx, _BOUNDED),
        pages=sum(one["pages"] for one in by_source.values()),
        sources=by_source,
    )


def _sources(tx: Transaction) -> dict[str, dict[str, int]]:
    empty = {"pages": 0, **{str(outcome): 0 for outcome in Outcome}}
    found: dict[str, dict[str, int]] = {}
    for source, outcome, n in tx.run(
        "SELECT source, outcome, sum(n) FROM outcome_count GROUP BY source, outcome ORDER BY source"
    ):
        found.setdefault(source, dict(empty))[outcome] = int(n)
    for source, n in tx.run("SELECT source, count(*) FROM page GROUP BY source ORDER BY source"):
        found.setdefault(source, dict(empty))["pages"] = int(n)
    return found


def _by_outcome(found: Mapping[str, int]) -> dict[str, int]:
    return {str(outcome): found.get(outcome, 0) for outcome in Outcome}


def _grouped(tx: Transaction, sql: str) -> dict[str, int]:
    return {str(row[0]): int(row[1]) for row in tx.run(sql)}


def due(
    tx: Transaction, *, now: int, run: str, budgets: Mapping[str, Budget], versions: Mapping[str, int]
) -> DueCounts:
    """Return how much work there is; that of a paused source is none, nor that at a host which is left alone."""
    failures = tx.run(
        f"""SELECT coalesce(sum(CASE WHEN lease_until > ? THEN 1 ELSE 0 END), 0),
          coalesce(sum(CASE WHEN coalesce(lease_until, 0) <= ? AND next_attempt_at <= ? THEN 1 ELSE 0 END), 0),
          coalesce(sum(CASE WHEN next_attempt_at > ? AND coalesce(lease_until, 0) <= ? THEN 1 ELSE 0 END), 0)
        FROM failure WHERE kind = 'payload' AND state IN {OPEN} AND (state = 'waiting' OR lease_until > ?)
          AND {NOT_PAUSED}""",  # noqa: S608 (constant)
        *(now for _ in range(6)),
    )
    leased, ready, later = (int(n) for n in failures[0])
    period = Period.at(run, now)
    waiting = _waiting(tx, now)
    spent = used(tx, period)
    due_items = {source: min(n, left(source, spent, budgets)) for source, n in waiting.items()}
    return DueCounts(
        due_failures=ready + sum(_older(tx, parser, version, now) for parser, version in versions.items()),
        leased_failures=leased,
        waiting_failures=later,
        due_items=sum(due_items.values()),
        leased_items=_number(tx, "SELECT count(*) FROM item WHERE state = 'leased'"),
        pushed_items=_number(tx, "SELECT count(*) FROM item WHERE state = 'pushed'"),
        over_budget={source: n - due_items[source] for source, n in waiting.items() if n > due_items[source]},
    )


def _waiting(tx: Transaction, now: int) -> dict[str, int]:
    """Count the items that may be fetched at a time, by source, whatever its budgets."""
    found: Counter[str] = Counter()
    for which in _MAY_BE_FETCHED:
        rows = tx.run(
            f"SELECT source, count(*) FROM item WHERE {which} AND {NOT_PAUSED} AND {_HOST_OPEN} GROUP BY source",  # noqa: S608 (constants)
            *(now for _ in range(which.count("?") + 1)),
        )
        found.update({source: int(n) for source, n in rows})
    return found


def _older(tx: Transaction, parser: str, version: int, now: int) -> int:
    return _number(
        tx,
        f"""SELECT count(*) FROM failure WHERE kind = 'payload' AND state IN {OPEN} AND parser = ?
        AND parser_version < ? AND coalesce(lease_until, 0) <= ? AND coalesce(next_attempt_at, ?) > ?
        AND {NOT_PAUSED}""",  # noqa: S608 (constant)
        parser,
        version,
        now,
        now + 1,
        now,
    )


def _number(tx: Transaction, sql: str, *parameters: Any) -> int:
    return int(tx.run(sql, *parameters)[0][0])
