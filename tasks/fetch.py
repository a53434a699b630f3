"""``items.fetch``: due items of the frontier, fetched and pushed onto the stream."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import celery
import structlog

from tasks.base import Context, PenstockTask, context
from tasks.errors import Gone, HostBusy, HostDown, HttpError, PenstockError, SourcePaused, StreamFull, Transient
from tasks.events import Event
from tasks.ports import Fetched, FetchFailure, ItemLease
from tasks.steps.backoff import backoff_us
from tasks.steps.fingerprint import failure_fingerprint
from tasks.steps.page import ItemState, Payload

log = structlog.get_logger("penstock.fetch")

HOST_DOWN_ATTEMPT = 4  # the back-off step for a host that is down: its items' own attempts do not grow
FULL_US = 5_000_000  # how long an item waits when the stream is full


class Fetch(PenstockTask):
    """Fetch the items that are due."""

    abstract = True
    event = Event.ITEMS_FETCHED


@celery.shared_task(name="items.fetch", base=Fetch, bind=True)
def fetch(self: Fetch) -> Mapping[str, int]:
    """Fetch the items that are due."""
    return self.log_counts(fetch_due(context()))


def fetch_due(ctx: Context) -> Counter[str]:
    """Fetch due items until there are none, or the budget ends; return how they ended."""
    done: Counter[str] = Counter()
    ends = ctx.clock.monotonic() + ctx.limits.pull_seconds
    while ctx.clock.monotonic() < ends and not ctx.stopping():
        leases = claim(ctx)
        if not leases:
            break
        answers = ctx.fetcher.fetch_all(leases, ctx.profiles.get)
        done += Counter(_settle(ctx, lease, answers[lease.token]) for lease in leases)
    return done


def claim(ctx: Context) -> list[ItemLease]:
    """Lease due items, within each source's concurrency per host and its budget of this run."""
    profiles = [ctx.profiles.get(name) for name in ctx.profiles.names()]
    return ctx.store.claim_items(
        limit=ctx.limits.fetch_batch,
        per_host={profile.name: profile.concurrency for profile in profiles},
        budgets={profile.name: profile.max_items_per_run for profile in profiles},
        run=ctx.run,
        lease_us=ctx.limits.fetch_lease_us,
        now=ctx.clock.now_us(),
    )


def _settle(ctx: Context, lease: ItemLease, answer: Fetched | Exception) -> str:
    if isinstance(answer, HostBusy):
        ctx.store.item_postponed(lease, until=int(answer.details["until_us"]))
        return "postponed"
    if isinstance(answer, PenstockError):
        return _failed(ctx, lease, answer)
    if isinstance(answer, Exception):  # a fault of ours, which must not harm the rest of the claim
        log.error(Event.TASK_FAULT, source=lease.source, item=lease.item_key, exc_info=answer)
        fault = HttpError(f"the fetch failed unexpectedly: {type(answer).__name__}: {answer}")
        return _failed(ctx, lease, fault)
    return _pushed(ctx, lease, answer)


def _pushed(ctx: Context, lease: ItemLease, answer: Fetched) -> str:
    """Push first, then note it: a crash in between pushes the page twice, which is harmless; the other way loses it."""
    try:
        (entry,) = ctx.stream.push([payload_of(lease, answer)])
    except (StreamFull, SourcePaused):
        ctx.store.item_postponed(lease, until=ctx.clock.now_us() + FULL_US)
        return "postponed"
    except PenstockError as error:
        if isinstance(error, Transient):
            raise
        return _failed(ctx, lease, error)
    ctx.store.item_pushed(lease, entry=entry, now=ctx.clock.now_us())
    log.info(Event.ITEM_FETCHED, source=lease.source, item=lease.item_key, depth=lease.depth, entry=entry)
    return "fetched"


def payload_of(lease: ItemLease, answer: Fetched) -> Payload:
    """Build the payload of a fetched item, with its parent and depth."""
    return Payload(
        source=lease.source,
        body=answer.body,
        item=lease.item,
        url=answer.url if lease.item else lease.url,  # without an ID the URL that was named is the identity
        fetched_at=answer.fetched_at,
        content_type=answer.content_type,
        status=answer.status,
        depth=lease.depth,
        parent=lease.parent,
    )


def _failed(ctx: Context, lease: ItemLease, error: PenstockError) -> str:
    failure = failure_of(ctx, lease, error)
    state = ctx.store.item_failed(lease, failure, worker=ctx.worker, now=ctx.clock.now_us())
    ids = {"source": lease.source, "item": lease.item_key, "url": lease.url}
    log.warning(
        Event.ITEM_FETCH_FAILED,
        error_class=failure.error_class,
        message=failure.message,
        attempts=lease.attempts + failure.counts,
        state=str(state),
        **ids,
    )
    if failure.retry_at is None and not isinstance(error, Gone):
        ctx.report(failure.error_class, failure.message, fingerprint=failure.fingerprint, **ids)
    return "retry_later" if state is ItemState.DUE else "given_up"


def failure_of(ctx: Context, lease: ItemLease, error: PenstockError) -> FetchFailure:
    """Say why a fetch failed and when it is tried again. A host that is down costs its items no attempt."""
    counts = not isinstance(error, HostDown)
    attempt = lease.attempts + 1 if counts else HOST_DOWN_ATTEMPT
    budget = ctx.profiles.get(lease.source).max_attempts
    retry_at: int | None = None
    if isinstance(error, Transient) and (attempt < budget or not counts):
        delay = backoff_us(attempt, base_us=ctx.limits.retry_base_us, cap_us=ctx.limits.retry_cap_us, draw=ctx.draw())
        asked = round(float(error.details.get("retry_after") or 0) * 1_000_000)
        retry_at = ctx.clock.now_us() + max(delay, asked)
    return FetchFailure(
        error_class=error.error_class,
        message=error.message,
        fingerprint=failure_fingerprint(error.error_class, str(error.details.get("status") or ""), lease.source),
        status=error.details.get("status"),
        retry_at=retry_at,
        counts=counts,
    )
