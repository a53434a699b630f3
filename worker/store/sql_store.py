"""The store as the tasks and the operator see it: each method is one transaction of the module that it names."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from tasks.errors import StoreConflict
from tasks.ports import FailureLease, FetchFailure, ItemLease, Settled
from tasks.steps.page import Arrival, ItemState, Outcome, RetryArrival
from worker.store import clean, commit, export, frontier, ledger, payloads, records, retry, schema, triage, upkeep
from worker.store.driver import Driver, Transaction
from worker.store.filters import FailureFilter
from worker.store.ledger import Counts, DueCounts, EpochLedger

Result = TypeVar("Result")

ATTEMPTS: Final = 8
_PAUSE_SECONDS: Final = 0.01  # doubled with each attempt, times a random number up to 1


class SqlStore:
    """A ``tasks.ports.Store`` on SQLite or PostgreSQL, and the operator's queries.

    It connects with the first use and again after a connection is lost, in each process for itself, and brings the
    tables up to date when it first connects. Every method may raise ``StoreUnavailable``, and ``StoreConflict`` when
    other workers came in between each of several times.
    """

    def __init__(self, driver: Driver, *, attempts: int = ATTEMPTS) -> None:
        self._driver = driver
        self._attempts = attempts
        self._ready = False

    def prepare(self) -> None:
        """Connect and bring the tables up to date. Raises ``UsageError`` for the tables of a newer penstock."""
        self._again(lambda: schema.bring_up_to_date(self._driver))
        self._ready = True

    def close(self) -> None:
        """Close the connection; the next use opens another."""
        self._driver.close()

    # --- the port, see tasks.ports.Store ---------------------------------------------------------------------------

    def ping(self) -> None:
        """See ``Store``."""
        self._read(lambda tx: tx.run("SELECT 1"))

    def commit(self, arrivals: Sequence[Arrival], *, worker: str, now: int) -> list[Settled]:
        """See ``Store``."""
        if not arrivals:
            return []
        batch = commit.Batch(arrivals)
        return self._write(lambda tx: commit.commit(tx, batch, worker=worker, now=now))

    def claim_failures(
        self, *, limit: int, lease_us: int, now: int, parser_versions: Mapping[str, int]
    ) -> list[FailureLease]:
        """See ``Store``."""
        return self._write(
            lambda tx: retry.claim(tx, limit=limit, lease_us=lease_us, now=now, parser_versions=parser_versions)
        )

    def commit_retry(self, arrival: RetryArrival, *, worker: str, now: int) -> Outcome | None:  # noqa: ARG002 (the deliveries keep the worker that they were counted for)
        """See ``Store``."""
        packed = payloads.pack([(arrival.payload_hash, arrival.payload)])
        try:
            return self._write(lambda tx: retry.settle(tx, arrival, packed, now=now))
        except retry.LeaseLostError:
            return None

    def claim_items(
        self, *, limit: int, per_host: Mapping[str, int], budgets: Mapping[str, int], run: str, lease_us: int, now: int
    ) -> list[ItemLease]:
        """See ``Store``."""
        return self._write(
            lambda tx: frontier.claim(
                tx, limit=limit, per_host=per_host, budgets=budgets, run=run, lease_us=lease_us, now=now
            )
        )

    def item_pushed(self, lease: ItemLease, *, entry: str, now: int) -> bool:
        """See ``Store``."""
        return self._write(lambda tx: frontier.pushed(tx, lease, entry, now))

    def item_failed(self, lease: ItemLease, failure: FetchFailure, *, now: int) -> ItemState | None:
        """See ``Store``."""
        return self._write(lambda tx: frontier.failed(tx, lease, failure, now))

    def item_postponed(self, lease: ItemLease, *, until: int) -> bool:
        """See ``Store``."""
        return self._write(lambda tx: frontier.postponed(tx, lease, until))

    def upkeep(self, *, epoch: str, accepted: int, now: int) -> Mapping[str, int]:
        """See ``Store``."""
        return self._write(lambda tx: upkeep.upkeep(tx, epoch=epoch, accepted=accepted, now=now))

    # --- the operator's queries ------------------------------------------------------------------------------------

    def counts(self) -> Counts:
        """Return what is stored, in numbers."""
        return self._read(ledger.counts)

    def ledger(self) -> list[EpochLedger]:
        """Return how the deliveries of each epoch of the stream ended."""
        return self._read(ledger.epochs)

    def delivered_among(self, epoch: str, entry_ids: Sequence[str]) -> set[str]:
        """Return those of the entries that have an outcome."""
        return self._read(lambda tx: ledger.delivered_among(tx, epoch, entry_ids))

    def due_counts(
        self, *, now: int, run: str, budgets: Mapping[str, int], parser_versions: Mapping[str, int] | None = None
    ) -> DueCounts:
        """Return how much work there is."""
        return self._read(lambda tx: ledger.due(tx, now=now, run=run, budgets=budgets, versions=parser_versions or {}))

    def find_pages(self, key: str, *, revision: int | None = None) -> list[dict[str, Any]]:
        """Return the records of the pages that SOURCE/ITEM, a URL or a content hash names."""
        return self._read(lambda tx: records.find(tx, key, revision))

    def page_record(self, source: str, item_key: str, *, revision: int | None = None) -> dict[str, Any] | None:
        """Return the record of a page as DESIGN §8 lists it; None if there is no such page or revision."""
        return self._read(lambda tx: records.one(tx, clean.identity(source, item_key), revision))

    def export(self, *, source: str | None = None, since: int | None = None) -> Iterator[dict[str, Any]]:
        """Yield the record of every page, of one source, or last seen since a time, in chunks of a transaction each."""
        after = 0
        while rows := self._read(export.chunk_after(after, source, since)):
            after = rows[-1][0]
            yield from (record for _, record in rows)

    def failure_groups(self, where: FailureFilter | None = None) -> list[dict[str, Any]]:
        """Return failures grouped by fingerprint and state, the largest group first."""
        return self._read(lambda tx: triage.groups(tx, where or FailureFilter()))

    def failures(self, where: FailureFilter | None = None, *, limit: int | None = None) -> list[dict[str, Any]]:
        """Return single failures, oldest first."""
        return self._read(lambda tx: triage.singles(tx, where or FailureFilter(), limit))

    def failure_payload(self, failure_id: int) -> bytes:
        """Return the bytes of a failure. Raises ``UsageError`` if there are none."""
        return self._read(lambda tx: triage.payload(tx, failure_id))

    def replay(
        self, where: FailureFilter, *, limit: int | None = None, dry_run: bool = False, now: int, note: str = ""
    ) -> int:
        """Make failures due now, with all attempts before them again; return how many."""
        return self._write(lambda tx: triage.replay(tx, where, triage.Order(limit, dry_run, now, note)))

    def drop(
        self, where: FailureFilter, *, limit: int | None = None, dry_run: bool = False, now: int, note: str = ""
    ) -> int:
        """Give failures up for good; return how many."""
        return self._write(lambda tx: triage.drop(tx, where, triage.Order(limit, dry_run, now, note)))

    # --- transactions ----------------------------------------------------------------------------------------------

    def _read(self, work: Callable[[Transaction], Result]) -> Result:
        return self._run(work, write=False)

    def _write(self, work: Callable[[Transaction], Result]) -> Result:
        return self._run(work, write=True)

    def _run(self, work: Callable[[Transaction], Result], *, write: bool) -> Result:
        if not self._ready:
            self.prepare()

        def once() -> Result:
            with self._driver.transaction(write=write) as tx:
                return work(tx)

        return self._again(once)

    def _again(self, work: Callable[[], Result]) -> Result:
        """Do work; whole again when another worker came in between."""
        for attempt in range(1, self._attempts):
            try:
                return work()
            except StoreConflict:
                time.sleep(_PAUSE_SECONDS * 2**attempt * random.random())  # noqa: S311 (jitter)
        return work()
