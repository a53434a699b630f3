"""The store as the tasks and the operator see it: each method is one transaction of the module that it names."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from tasks.fetch_ports import Budget
from tasks.ports import Ceiling, Drift, FailureLease, Noted, Paused, Settled
from tasks.steps.drift import Tally
from tasks.steps.page import Arrival, Outcome, RetryArrival
from worker.store import (
    archive,
    chores,
    clean,
    commit,
    drift,
    export,
    identities,
    ledger,
    near,
    payloads,
    profiles,
    records,
    recrawl,
    reparse,
    retry,
    serials,
    sources_state,
    standing,
    trace,
    triage,
    upkeep,
    walk,
)
from worker.store.archive import Archived
from worker.store.driver import Driver
from worker.store.filters import FailureFilter
from worker.store.known import KnownItems
from worker.store.ledger import Counts, DueCounts, EpochLedger
from worker.store.recrawl import ItemFilter
from worker.store.reparse import PageFilter, Present, Reparsed
from worker.store.retention import Retention
from worker.store.serials import Run
from worker.store.sql_frontier import SqlFrontier
from worker.store.standing import CutItems, HostStanding
from worker.store.transactions import ATTEMPTS


class SqlStore(SqlFrontier):
    """A ``tasks.ports.Store`` on SQLite or PostgreSQL, and the operator's queries.

    It connects with the first use and again after a connection is lost, in each process for itself, and brings the
    tables up to date when it first connects. With ``near`` it leaves sketches of new texts, by which near-duplicates
    are found. Every method may raise ``StoreUnavailable``, and ``StoreConflict`` when other workers came in between
    each of several times.
    """

    def __init__(self, driver: Driver, *, attempts: int = ATTEMPTS, near: bool = True) -> None:
        super().__init__(driver, attempts=attempts)
        self._near = near
        self._known = KnownItems()

    # --- the port, see tasks.ports.Store ---------------------------------------------------------------------------

    def ping(self) -> None:
        """See ``Store``."""
        self._read(lambda tx: tx.run("SELECT 1"))

    def commit(self, arrivals: Sequence[Arrival], *, worker: str, now: int) -> list[Settled]:
        """See ``Store``."""
        if not arrivals:
            return []
        batch = commit.Batch(arrivals, near=self._near)
        done = self._write(lambda tx: commit.commit(tx, batch, self._known, worker=worker, now=now))
        self._known.learn(done.session, done.told)
        return done.settled

    def claim_failures(
        self, *, limit: int, lease_us: int, now: int, parser_versions: Mapping[str, int]
    ) -> list[FailureLease]:
        """See ``Store``."""
        return self._write(
            lambda tx: retry.claim(tx, limit=limit, lease_us=lease_us, now=now, parser_versions=parser_versions)
        )

    def commit_retry(self, arrival: RetryArrival, *, worker: str, now: int) -> Outcome | None:
        """See ``Store``."""
        packed = payloads.pack([(arrival.payload_hash, arrival.payload)])
        try:
            return self._write(lambda tx: retry.settle(tx, arrival, packed, worker=worker, near=self._near, now=now))
        except retry.LeaseLostError:
            return None

    def release_failure(self, lease: FailureLease) -> None:
        """See ``Store``."""
        self._write(lambda tx: retry.release(tx, lease))

    def note_accepted(self, *, epoch: str, accepted: int, first_waiting: str | None, now: int) -> Noted:
        """See ``Store``."""
        return self._write(
            lambda tx: upkeep.note_accepted(tx, epoch=epoch, accepted=accepted, first_waiting=first_waiting, now=now)
        )

    def upkeep(self, *, now: int) -> Mapping[str, int]:
        """See ``Store``."""
        return self._write(lambda tx: upkeep.upkeep(tx, now=now))

    def tidy(
        self, *, deliveries_us: int, payloads_us: int, first_waiting: str | None, now: int
    ) -> tuple[Mapping[str, int], bool]:
        """See ``Store``."""
        keep = Retention(deliveries_us=deliveries_us, payloads_us=payloads_us, first_waiting=first_waiting)
        steps = {name: self._write(partial(upkeep.chore, name=name, keep=keep, now=now)) for name in upkeep.CHORES}
        return {name: step.done for name, step in steps.items()}, any(step.more for step in steps.values())

    def compare_texts(self, *, now: int) -> tuple[Mapping[str, int], bool]:
        """See ``Store``."""
        due = self._near_due()  # so that an idle system writes nothing
        steps = {name: self._write(partial(upkeep.near_chore, name=name, now=now)) for name in due}
        return {name: step.done for name, step in steps.items()}, any(step.more for step in steps.values())

    def texts_are_due(self) -> bool:
        """Tell whether there are texts to be compared, which are not when that is switched off."""
        return bool(self._near_due())

    def _near_due(self) -> list[str]:
        return self._read(near.chores_due) if self._near else []

    def take_turn(self, name: str, *, every_us: int, now: int) -> bool:
        """See ``Store``."""
        return self._write(lambda tx: chores.take_turn(tx, name, every_us=every_us, now=now))

    def noted(self, name: str) -> str:
        """See ``Store``."""
        return self._read(lambda tx: chores.noted(tx, name))

    def note(self, name: str, what: str) -> None:
        """See ``Store``."""
        self._write(lambda tx: chores.note(tx, name, what))

    def pause_past_ceiling(
        self, sources: Collection[str], ceiling: Ceiling, *, epoch: str, parser_versions: Mapping[str, int], now: int
    ) -> list[Paused]:
        """See ``Store``."""
        look = partial(sources_state.past_ceiling, sources=sources, ceiling=ceiling, epoch=epoch, now=now)
        found = self._read(look)
        return [
            one
            for one in found
            if self.pause_source(one.source, sources_state.SourceChange(one.reason, "ceiling", now, parser_versions))
        ]

    def resume_newer(self, *, epoch: str, parser_versions: Mapping[str, int], now: int) -> list[Paused]:
        """See ``Store``."""
        if not self.paused_sources():
            return []
        return self._write(lambda tx: sources_state.resume_newer(tx, parser_versions, epoch=epoch, now=now))

    def paused_sources(self) -> dict[str, str]:
        """See ``Store``."""
        return self._read(sources_state.paused)

    def add_fields(self, found: Mapping[str, Mapping[str, Tally]], *, span: int) -> None:
        """See ``Store``."""
        self._write(lambda tx: drift.add(tx, found, span))

    def watch_fields(self, *, now: int) -> Iterator[Drift]:
        """See ``Store``. A transaction for each source; what it found is yielded before the next one begins."""
        for source in self._write(lambda tx: drift.active(tx, now)):
            yield from self._write(partial(drift.look, source=source, now=now))

    def field_drifts(self) -> list[dict[str, Any]]:
        """Return source, field, kind, since, before and after of each break that is there."""
        return self._read(drift.every)

    # --- paused sources --------------------------------------------------------------------------------------------

    def pause_source(self, source: str, change: sources_state.SourceChange) -> bool:
        """Pause a source; return whether it was not paused before."""
        return self._write(lambda tx: sources_state.pause(tx, source, change))

    def resume_source(self, source: str, change: sources_state.SourceChange, *, epoch: str) -> bool:
        """Resume a source, whose failures count from now on; return whether it was paused."""
        return self._write(lambda tx: sources_state.resume(tx, source, change, epoch))

    def note_profiles(
        self, versions: Mapping[str, str], *, parser_versions: Mapping[str, int], now: int
    ) -> list[profiles.NewProfile]:
        """Note the versions of the sources' profiles; return the sources that had none, or another one.

        Their open failures are due again, and go on where the ceiling had paused the source.
        """
        return self._write(lambda tx: profiles.note(tx, versions, parser_versions=parser_versions, now=now))

    def known_sources(self) -> list[str]:
        """Return the sources that anything is stored of."""
        return self._read(identities.sources)

    def source_states(self) -> dict[str, dict[str, Any]]:
        """Return state, since, reason and changed_by of each source that was ever paused, by name."""
        return self._read(sources_state.states)

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

    def serial_runs(self, epoch: str) -> list[Run]:
        """Return which serial numbers the deliveries of an epoch have. Reads them all."""
        return self._read(lambda tx: serials.runs(tx, epoch))

    def serial_entries(self, epoch: str, first: int, last: int, *, limit: int) -> list[tuple[str, int]]:
        """Return (entry, serial number) of deliveries numbered ``first`` to ``last``. Reads all of the epoch."""
        return self._read(lambda tx: serials.entries(tx, epoch, first, last, limit))

    def acknowledge(self, differences: Mapping[str, int], *, note: str, now: int) -> None:
        """Add to the differences that are known and accepted, by epoch."""
        self._write(lambda tx: ledger.acknowledge(tx, differences, note, now))

    def due_counts(
        self, *, now: int, run: str, budgets: Mapping[str, Budget], parser_versions: Mapping[str, int] | None = None
    ) -> DueCounts:
        """Return how much work there is."""
        return self._read(lambda tx: ledger.due(tx, now=now, run=run, budgets=budgets, versions=parser_versions or {}))

    def standing(self, *, source: str | None, limit: int, now: int) -> list[HostStanding]:
        """Return hosts that are left alone, and those that items are at, the busiest first."""
        return self._read(lambda tx: standing.standing(tx, source=source, limit=limit, now=now))

    def hosts_alone(self, *, now: int) -> dict[str, int]:
        """Return how many hosts are left alone, by reason."""
        return self._read(lambda tx: standing.alone(tx, now))

    def cut_items(self, *, source: str | None, limit: int) -> list[CutItems]:
        """Return what is not followed, by source and bound, the most first."""
        return self._read(lambda tx: standing.cut(tx, source=source, limit=limit))

    def find_pages(self, key: str, *, revision: int | None = None) -> list[dict[str, Any]]:
        """Return the records of the pages that SOURCE/ITEM, a URL or a content hash names."""
        return self._read(lambda tx: records.find(tx, key, revision))

    def similar(self, key: str) -> list[dict[str, Any]]:
        """Return the clusters of near-duplicates of the pages that SOURCE/ITEM, a URL or a content hash names."""
        return self._read(lambda tx: records.similar(tx, key))

    def trace(self, key: str) -> list[dict[str, Any]]:
        """Return everything that happened to what SOURCE/ITEM, a URL, a content hash, an entry or a failure names."""
        return self._read(lambda tx: [trace.trace(tx, one) for one in identities.find(tx, key)])

    def page_record(self, source: str, item_key: str, *, revision: int | None = None) -> dict[str, Any] | None:
        """Return the record of a page as DESIGN §8 lists it; None if there is no such page or revision."""
        return self._read(lambda tx: records.one(tx, clean.identity(source, item_key), revision))

    def export(self, *, source: str | None = None, since: int | None = None) -> Iterator[dict[str, Any]]:
        """Yield the record of every page, of one source, or last seen since a time, in chunks of a transaction each."""
        after = 0
        while rows := self._read(export.chunk_after(after, source, since)):
            after = rows[-1][0]
            yield from (record for _, record in rows)

    def archive(self, *, source: str | None = None, since: int | None = None) -> Iterator[Archived]:
        """Yield what came in: each open failure that had bytes, then each stored revision, a few at a time.

        A failure that becomes a page meanwhile is told twice, rather than never.
        """
        every = (
            (archive.last_failure, archive.failures_in, archive.failures),
            (reparse.last_id, archive.revisions_in, archive.revisions),
        )
        for last, keys_in, read in every:
            for after, until in walk.spans(self._read(last)):
                for keys in walk.chunks(
                    self._read(partial(keys_in, after=after, until=until, source=source, since=since))
                ):
                    yield from self._read(partial(read, keys=keys))

    def present_revisions(self, where: PageFilter) -> Iterator[list[Present]]:
        """Yield the present revisions of pages with their bytes, in chunks of a transaction each."""
        for after, until in walk.spans(self._read(reparse.last_id)):
            for page_ids in walk.chunks(self._read(partial(reparse.found, where=where, after=after, until=until))):
                yield self.present_revisions_of(page_ids)

    def present_revisions_of(self, page_ids: Sequence[int]) -> list[Present]:
        """Return the present revisions of these pages, with their bytes."""
        return self._read(lambda tx: reparse.read(tx, page_ids))

    def reparse_begins(self, told: Mapping[str, Any], *, now: int) -> int:
        """Write down that an operator started a reparse; return the id of that record."""
        return self._write(lambda tx: reparse.begin(tx, told, now))

    def commit_reparse(self, parsed: Sequence[Reparsed], *, action: int, now: int) -> list[int]:
        """Store what second parses came to; return the ids of the pages that changed meanwhile, and were left alone."""
        return self._write(lambda tx: reparse.write(tx, parsed, action=action, near=self._near, now=now))

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
        self,
        where: FailureFilter,
        *,
        limit: int | None = None,
        dry_run: bool = False,
        now: int,
        note: str = "",
        who: str = "",
    ) -> int:
        """Make failures due now, with all attempts before them again; return how many."""
        return self._write(lambda tx: triage.replay(tx, where, triage.Order(limit, dry_run, now, note, who)))

    def drop(
        self,
        where: FailureFilter,
        *,
        limit: int | None = None,
        dry_run: bool = False,
        now: int,
        note: str = "",
        who: str = "",
    ) -> int:
        """Give failures up for good; return how many."""
        return self._write(lambda tx: triage.drop(tx, where, triage.Order(limit, dry_run, now, note, who)))

    def item_keys(self, source: str, name: str) -> list[str]:
        """Return the keys of the items that an item ID or a URL means within a source."""
        return self._read(lambda tx: recrawl.keys_of(tx, source, name))

    def recrawl(
        self,
        where: ItemFilter,
        *,
        may_fetch: Callable[[str], bool],
        limit: int | None = None,
        dry_run: bool = False,
        now: int,
        note: str = "",
        who: str = "",
    ) -> tuple[int, int]:
        """Make items due whose pages are stored, a portion at a time.

        Returns how many, and how many were left since nothing may be fetched there, or nothing that is theirs.
        """
        action = None if dry_run else self._write(lambda tx: recrawl.begin(tx, where, note=note, who=who, now=now))
        count, left, after = 0, 0, ""
        while limit is None or count < limit:
            rows = self._read(partial(recrawl.found, where=where, after=after))
            if not rows:
                break
            after = rows[-1].identity.item_key
            chosen = recrawl.fetchable(rows, may_fetch)
            left += len(rows) - len(chosen)
            chosen = chosen[: None if limit is None else limit - count]
            if action is None:
                count += len(chosen)
            else:
                count += self._write(partial(recrawl.make_due, chosen=chosen, action=action, now=now))
        return count, left
