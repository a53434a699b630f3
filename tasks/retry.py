"""``pages.retry``: failures that are due, parsed again from their stored bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

import celery
import structlog

from tasks.base import Context, PenstockTask, context
from tasks.errors import ParserCrash, Permanent, Transient, Undecided
from tasks.events import Event
from tasks.ports import FailureLease
from tasks.steps.page import FailureResult, Outcome, PageResult, RetryArrival
from tasks.steps.parse import PARSER_VERSIONS
from tasks.steps.payload import reopened
from tasks.steps.policy import Attempt
from tasks.steps.understand import envelope_ids, failure_of

log = structlog.get_logger("penstock.retry")


class Retry(PenstockTask):
    """Try the failures again that are due."""

    abstract = True
    event = Event.PAGES_RETRIED


@celery.shared_task(name="pages.retry", base=Retry, bind=True)
def retry(self: Retry) -> Mapping[str, int]:
    """Try the failures again that are due."""
    return self.log_counts(retry_due(context()))


def retry_due(ctx: Context) -> Counter[str]:
    """Try due failures until there are none, or the budget ends; return how they ended.

    One at a time: a page that kills its process must not use up an attempt of its neighbours.
    """
    done: Counter[str] = Counter()
    ends = ctx.clock.monotonic() + ctx.limits.pull_seconds
    while ctx.clock.monotonic() < ends and not ctx.stopping():
        leases = ctx.store.claim_failures(
            limit=1, lease_us=ctx.limits.retry_lease_us, now=ctx.clock.now_us(), parser_versions=PARSER_VERSIONS
        )
        if not leases:
            break
        done[_settle(ctx, leases[0])] += 1
    return done


def _settle(ctx: Context, lease: FailureLease) -> str:
    try:
        arrival, outcome = _commit(ctx, lease, attempt(ctx, lease))
    except Undecided:
        raise  # that was an attempt
    except Transient:
        with suppress(Transient):
            ctx.store.release_failure(lease)
        raise
    ids = {**envelope_ids(lease.payload), "entry": lease.entry, "failure": lease.id}
    if outcome is None:
        return "lease_lost"
    if isinstance(arrival.result, FailureResult):
        _tell(ctx, arrival.result, ids)
        return "failed_again"
    log.info(Event.FAILURE_RESOLVED, outcome=str(outcome), attempts=lease.attempts, **ids)
    return "resolved" if outcome is not Outcome.FAILED else "failed_again"


def _commit(ctx: Context, lease: FailureLease, arrival: RetryArrival) -> tuple[RetryArrival, Outcome | None]:
    """Settle the failure; a page that the store refuses for good stays one."""
    try:
        return arrival, ctx.store.commit_retry(arrival, worker=ctx.worker, now=ctx.clock.now_us())
    except Permanent as error:
        if isinstance(arrival.result, FailureResult):
            raise
        crash = ParserCrash(f"the store refuses the page: {error.message}")
        crash.__cause__ = error
        refused = replace(arrival, result=failure_of(crash, lease.payload, lease.payload_hash))
        return _commit(ctx, lease, refused)


def attempt(ctx: Context, lease: FailureLease) -> RetryArrival:
    """Parse the stored bytes with today's parsers; if that fails, plan the next attempt or give up."""
    plan: Attempt | None = None
    result: PageResult | FailureResult
    try:
        payload = reopened(lease.payload, max_body=ctx.limits.max_body_bytes)
        result = ctx.sandbox.understand(payload, ctx.profiles.get(payload.source))
    except Permanent as error:
        plan = ctx.next_attempt(error.error_class, lease.payload, lease.attempts)
        result = failure_of(error, lease.payload, lease.payload_hash, retry_at=_after(ctx, lease, plan))
    return RetryArrival(
        failure_id=lease.id,
        lease_token=lease.token,
        observed_at=lease.observed_at,
        payload=lease.payload,
        payload_hash=lease.payload_hash,
        result=result,
        refetch_at=ctx.clock.now_us() if plan and plan.refetch else None,
        entry=lease.entry,
    )


def _after(ctx: Context, lease: FailureLease, plan: Attempt | None) -> int | None:
    """Return when to look again; a page that is fetched now must have had time to arrive and fail."""
    if plan is None:
        return None
    return plan.at + ctx.limits.retry_base_us * max(1, lease.attempts) * plan.refetch


def _tell(ctx: Context, failure: FailureResult, ids: Mapping[str, object]) -> None:
    log.warning(
        Event.FAILURE_KEPT,
        error_class=failure.error_class,
        message=failure.message,
        fingerprint=failure.fingerprint,
        **ids,
    )
    if failure.retry_at is None:
        ctx.report(failure.error_class, failure.message, fingerprint=failure.fingerprint, **ids)
