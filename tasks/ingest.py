"""``pages.ingest``: from the stream to the store, in batches, until the time budget ends."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import celery
import structlog
from celery.exceptions import Reject

from tasks.base import Context, Limits, PenstockTask, context
from tasks.drift import FieldCounts
from tasks.errors import (
    MemoryLimit,
    ParserCrash,
    PenstockError,
    Permanent,
    Poison,
    SandboxAway,
    StoreConflict,
    StoreUnavailable,
    Transient,
    Undecided,
)
from tasks.events import Event
from tasks.guard import guarded
from tasks.notes import note_accepted
from tasks.pausing import FailureWatch, parked
from tasks.ports import Entry, Settled
from tasks.steps.fingerprint import payload_hash
from tasks.steps.page import Arrival, FailureResult, Outcome, PageResult, Payload
from tasks.steps.payload import decode_fields, envelope_of, from_envelope
from tasks.steps.recrawl import recrawl_of
from tasks.steps.understand import envelope_ids, failure_of, observed_at

log = structlog.get_logger("penstock.ingest")

BLOCK_MS = 500  # how long one read waits for a first entry, and so how soon an idle pull notices that it must stop
RECLAIM_SECONDS = 1.0
NOTE_SECONDS = 5.0
PULL_SPREAD = 0.25  # of a pull's time
FIRST_COUNT = 16  # entries of the first read, when nothing is known of their size
YOUNG = 1  # the generations of Python's garbage collector below the oldest
HOLD_SECONDS = 45.0  # how long a batch in hand waits for a store that went away, or a process for a stream that did
PUSH_SECONDS = 60.0  # how long ingest_page waits for room in the stream before it gives its message back


class Ingest(PenstockTask):
    """Take pages off the stream until the budget of this pull ends."""

    abstract = True
    event = Event.PAGES_INGESTED


@celery.shared_task(name="pages.ingest", base=Ingest, bind=True)
def ingest(self: Ingest) -> Mapping[str, int]:
    """Take pages off the stream until the budget of this pull ends."""
    return self.log_counts(pull(context()))


# Its message does carry a page, so unlike the others it is acknowledged when the page is in the stream.
@celery.shared_task(name="ingest_page", base=PenstockTask, acks_late=True, reject_on_worker_lost=True)
def ingest_page(**envelope: Any) -> Mapping[str, int]:
    """Push one page, given as the fields of the NDJSON envelope, for producers that already speak Celery.

    The task only pushes. ``body`` (text) or ``body_b64`` holds the page; send it with ``argsrepr=''`` and
    ``kwargsrepr=''``, or the page shows up on the dashboard. Waits while the stream is full, and then gives the
    message back. Raises ``UsageError`` naming a wrong field.
    """
    ctx = context()
    payload = from_envelope(envelope, max_body=ctx.limits.max_body_bytes)
    ends = ctx.clock.monotonic() + PUSH_SECONDS
    while True:
        try:
            # A message that is given back comes round again at once: a paused source's page is better parked.
            return {"pushed": len(ctx.stream.push([payload], even_paused=True))}
        except Transient as error:
            if ctx.clock.monotonic() >= ends or ctx.wait(0.5):
                raise Reject(error.message, requeue=True) from error


class Watch:
    """What a pull notes of the batches that it commits, and looks at now and then with nothing in hand."""

    def __init__(self, ctx: Context) -> None:
        self.failures = FailureWatch(ctx)
        self.fields = FieldCounts(ctx)

    def look(self, *, at_once: bool = False) -> None:
        """Do what it is time for."""
        self.failures.look(at_once=at_once)
        self.fields.look(at_once=at_once)


def pull(ctx: Context) -> Counter[str]:
    """Handle reclaimed and new entries until the budget ends or the worker is to stop; return outcomes by name."""
    try:
        return _pull(ctx)
    except Transient:
        _let_go(ctx)
        raise


def _let_go(ctx: Context) -> None:
    """Give back what came with an answer that was lost, could not be stored or not be acknowledged.

    The next pull may be another process', and would wait for this one's lease. And it would count as a delivery, though
    nobody died: a store that takes no writes for an hour must make no page a suspect.
    """
    ends = ctx.clock.monotonic() + HOLD_SECONDS
    while True:
        try:
            return ctx.stream.let_go()
        except Transient:
            if ctx.clock.monotonic() >= ends or ctx.wait(1.0):
                return None


def _pull(ctx: Context) -> Counter[str]:
    done: Counter[str] = Counter()
    ctx.store.ping()  # what is taken over or read while the store is down only counts as delivered once more
    ctx.stream.epoch()
    # Pulls that began together must not end together: until the pump has started the next ones, nobody would read.
    ends = ctx.clock.monotonic() + ctx.limits.pull_seconds * (1 - PULL_SPREAD * ctx.draw())
    reclaim_at, note_at, count, watch = 0.0, 0.0, FIRST_COUNT, Watch(ctx)
    while ctx.clock.monotonic() < ends and not ctx.stopping():
        began = ctx.clock.monotonic()
        if began >= reclaim_at:
            done += reclaim_all(ctx, ends, watch)
            began = ctx.clock.monotonic()
            reclaim_at = began + RECLAIM_SECONDS
        if began >= note_at:
            note_accepted(ctx)
            note_at = began + NOTE_SECONDS
        count = _pull_batch(ctx, count, ends, done, watch)
        watch.look()
        if ctx.clock.monotonic() >= reclaim_at:  # now that no batch is in hand, which it would go through in vain
            gc.collect(YOUNG)
    watch.look(at_once=True)
    gc.collect()  # what the looks at the young let grow old
    return done


def _pull_batch(ctx: Context, count: int, ends: float, done: Counter[str], watch: Watch) -> int:
    """Read up to ``count`` entries and handle them; return how many to read next."""
    began = ctx.clock.monotonic()
    left_ms = round((ends - began) * 1000)
    entries = ctx.stream.read(count, min(BLOCK_MS, max(left_ms, 1)))  # with 0, it would wait for ever
    done += settle_all(ctx, parked(ctx, entries, done), ends, watch)
    return next_count(ctx.limits, count, entries, ctx.clock.monotonic() - began)


def settle_all(ctx: Context, entries: Sequence[Entry], ends: float, watch: Watch) -> Counter[str]:
    """Handle what was read. What is left when the pull or the worker is to end is given back."""
    done: Counter[str] = Counter()
    handled = 0
    for batch in batches(ctx, entries):
        done += settle(ctx, batch, watch)
        handled += len(batch)
        if ctx.stopping() or ctx.clock.monotonic() >= ends:
            break
    ctx.stream.give_back([entry.id for entry in entries[handled:]])
    return done


def next_count(limits: Limits, count: int, entries: Sequence[Entry], seconds: float) -> int:
    """Return how many entries to read next: more as long as they are small and quick, fewer when they are not."""
    if not entries:
        return count
    largest = max(len(entry.fields.get(b"body", b"")) for entry in entries)
    bounds = [2 * count, limits.batch_size, limits.batch_bytes // max(largest, 1)]
    if seconds > limits.batch_seconds + BLOCK_MS / 1000:
        bounds.append(int(len(entries) * limits.batch_seconds / seconds))
    return max(1, min(bounds))


def reclaim_all(ctx: Context, ends: float, watch: Watch) -> Counter[str]:
    """Handle what dead or overdue workers left. What is parsed in the sandbox cannot harm the rest of its batch."""
    done: Counter[str] = Counter()
    more = True
    while more and ctx.clock.monotonic() < ends and not ctx.stopping():
        batch: list[Arrival] = []
        more = _reclaim_into(ctx, batch, done)
        if batch:
            ids, most = [one.entry_id for one in batch], max(one.attempt for one in batch)
            log.info(Event.DELIVERY_RECLAIMED, entries=len(ids), first=ids[0], last=ids[-1], deliveries=most)
            done += settle(ctx, batch, watch)
    return done


def _reclaim_into(ctx: Context, batch: list[Arrival], done: Counter[str]) -> bool:
    """Take over and parse entries until the batch is full; tell whether to go on after it."""
    size, ends = 0, ctx.clock.monotonic() + ctx.limits.batch_seconds
    while size < ctx.limits.batch_bytes and len(batch) < ctx.limits.batch_size and ctx.clock.monotonic() < ends:
        entry = ctx.stream.reclaim(own=not batch)
        if entry is None:
            return bool(batch)
        try:
            batch += [arrival_of(ctx, one) for one in parked(ctx, [entry], done)]
        except (SandboxAway, Undecided) as error:
            _leave(ctx, entry, error)
            return False  # new pages first
        size += sum(len(value) for value in entry.fields.values())
        done["reclaimed"] += 1
    return True


def _leave(ctx: Context, entry: Entry, error: SandboxAway | Undecided) -> None:
    """Let a suspect come again: after a trial to this process, whose sandbox knows of it, else to any."""
    log.warning(Event.DELIVERY_UNDECIDED, entry=entry.id, deliveries=entry.deliveries, message=error.message)
    if isinstance(error, SandboxAway):
        ctx.stream.give_back([entry.id])


def batches(ctx: Context, entries: Sequence[Entry]) -> Iterator[list[Arrival]]:
    """Parse entries into batches bounded by bytes and parse time, so that no transaction waits for a slow page."""
    batch: list[Arrival] = []
    size, ends = 0, ctx.clock.monotonic() + ctx.limits.batch_seconds
    for entry in entries:
        arrival = arrival_of(ctx, entry)
        batch.append(arrival)
        size += len(arrival.payload.body)
        if size >= ctx.limits.batch_bytes or ctx.clock.monotonic() >= ends:
            yield batch
            batch, size, ends = [], 0, ctx.clock.monotonic() + ctx.limits.batch_seconds
    if batch:
        yield batch


def arrival_of(ctx: Context, entry: Entry) -> Arrival:
    """Turn one stream entry into what the store is to do for it. Never raises for a bad page."""
    payload, understood = _read_entry(ctx, entry)
    body_hash = payload_hash(payload.body)
    result = _failure(ctx, understood, payload, body_hash) if isinstance(understood, PenstockError) else understood
    del understood  # the traceback of an error holds this frame, and so the batch, until the garbage is collected
    return Arrival(
        epoch=entry.epoch,
        entry_id=entry.id,
        attempt=entry.deliveries,
        observed_at=observed_at(payload, entry.id),
        payload=payload,
        payload_hash=body_hash,
        result=result,
        serial=entry.serial,
    )


def _read_entry(ctx: Context, entry: Entry) -> tuple[Payload, PageResult | PenstockError]:
    payload: Payload | None = None
    try:
        if entry.deliveries > ctx.limits.max_deliveries:
            log.error(Event.DELIVERY_POISONED, entry=entry.id, deliveries=entry.deliveries)
            raise _poison(entry)
        payload = decode_fields(entry.fields, max_body=ctx.limits.max_body_bytes)
        return payload, _understood(ctx, payload, suspect=entry.deliveries > 1)
    except Permanent as error:
        return payload or envelope_of(entry.fields, max_body=ctx.limits.max_body_bytes), error


def _understood(ctx: Context, payload: Payload, *, suspect: bool) -> PageResult:
    """Parse a page: in this process, or if it may have ended one before, in the sandbox.

    What takes too much memory here is judged there: this process may have been full before.
    """
    profile = ctx.profiles.get(payload.source)
    if not suspect:
        with suppress(MemoryLimit):
            return guarded(payload, profile, ctx.limited)
    return ctx.sandbox.understand(payload, profile)


def _poison(entry: Entry) -> Poison:
    deliveries = entry.deliveries - 1
    message = f"delivered {deliveries} times, and each time the process that handled it ended before it was done"
    return Poison(message, entry=entry.id)


def _failure(ctx: Context, error: PenstockError, payload: Payload, body_hash: str) -> FailureResult:
    plan = ctx.next_attempt(error.error_class, payload, 0)
    found = failure_of(error, payload, body_hash, retry_at=plan.at if plan else None)
    # It could not be read, so it may be a list where a list names it.
    recrawl = recrawl_of(payload.url, ctx.profiles.get(payload.source), list_of=payload.parent)
    return replace(found, recrawls=payload.url is None or recrawl is not None)


def settle(ctx: Context, batch: Sequence[Arrival], watch: Watch) -> Counter[str]:
    """Commit a batch, then acknowledge it; return how many deliveries ended in which outcome."""
    done = _commit_patiently(ctx, batch)
    ctx.stream.ack([one.entry_id for one, _ in done])
    for one, arrival in done:
        if one.fresh and isinstance(arrival.result, FailureResult):
            _tell(ctx, one, arrival, arrival.result)
            watch.failures.note(arrival.payload.source, arrival.epoch)
    watch.fields.note(done)
    return Counter(str(one.outcome) for one, _ in done if one.fresh)


def _commit_patiently(ctx: Context, batch: Sequence[Arrival]) -> list[tuple[Settled, Arrival]]:
    """Commit a batch; while the store is away, wait with the batch in hand and read nothing more."""
    ends = ctx.clock.monotonic() + HOLD_SECONDS
    while True:
        try:
            return _commit(ctx, batch)
        except (StoreUnavailable, StoreConflict) as error:
            log.warning(Event.STORE_AWAY, error_class=error.error_class, message=error.message)
            if ctx.clock.monotonic() >= ends or ctx.wait(1.0):
                raise


def _commit(ctx: Context, batch: Sequence[Arrival]) -> list[tuple[Settled, Arrival]]:
    """Commit a batch; return how each arrival ended.

    If the store refuses it for good, commit its pages one by one, so that one harms itself only.
    """
    try:
        return list(zip(ctx.store.commit(batch, worker=ctx.worker, now=ctx.clock.now_us()), batch, strict=True))
    except Permanent as error:
        if len(batch) > 1:
            return [pair for arrival in batch for pair in _commit(ctx, [arrival])]
        arrival = batch[0]
        if isinstance(arrival.result, FailureResult):
            raise
        crash = ParserCrash(f"the store refuses the page: {error.message}")
        crash.__cause__ = error
        return _commit(ctx, [replace(arrival, result=failure_of(crash, arrival.payload, arrival.payload_hash))])


def _tell(ctx: Context, settled: Settled, arrival: Arrival, failure: FailureResult) -> None:
    """Log a kept failure; report it when no further attempt follows."""
    ids = {**envelope_ids(arrival.payload), "entry": arrival.entry_id, "failure": settled.failure}
    log.warning(
        Event.FAILURE_KEPT,
        error_class=failure.error_class,
        message=failure.message,
        fingerprint=failure.fingerprint,
        outcome=str(Outcome.FAILED),
        **ids,
    )
    if settled.given_up:
        ctx.report(failure.error_class, failure.message, fingerprint=failure.fingerprint, **ids)
