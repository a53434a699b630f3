"""One URL on its way through a fetch task, and what its answer says: of the item, of its host, of both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeGuard

from tasks.base import Context
from tasks.errors import FetchTimeout, HostDown, PenstockError, Throttled, Transient, Unsafe
from tasks.fetch_ports import (
    Answer,
    Answered,
    Done,
    Fetched,
    ItemEnd,
    ItemPostponed,
    ItemPushed,
    ItemUnchanged,
    Redirect,
    Slot,
    SlotEnd,
)
from tasks.ports import FetchFailure, ItemLease
from tasks.steps.backoff import backoff_us
from tasks.steps.canonical import host_of
from tasks.steps.fingerprint import failure_fingerprint
from tasks.steps.lists import LIST_PRIORITY
from tasks.steps.page import LOCATION, ItemState, Payload, Recrawl, SourceProfile
from tasks.steps.recrawl import recrawl_of

REDIRECTS: Final = 5
HOST_DOWN_ATTEMPT: Final = 4  # the back-off step for a host that is down: its items' own attempts do not grow
PUSH_BYTES: Final = 8_388_608  # of bodies, in one push
_OVERLOADED: Final = frozenset({429, 502, 503, 504})


@dataclass(slots=True, eq=False)
class Job:
    """A URL on its way: a leased item's, or without a lease the robots.txt of an origin."""

    profile: SourceProfile
    url: str
    lease: ItemLease | None = None
    origin: str = ""  # whose robots.txt it is
    hops: tuple[str, ...] = ()  # the URLs before this one
    slot: Slot | None = None
    held_since: int = 0  # since when it waits for a slot

    @property
    def host(self) -> str:
        """Return the host that is asked."""
        return host_of(self.url) or ""


def payload_of(job: Job, answer: Fetched) -> Payload:
    """Build the payload of a fetched item, with its parent and depth, and what to ask with the next time."""
    lease = lease_of(job)
    url = answer.url if lease.item else lease.url  # without an ID the URL that was named is the identity
    location = answer.url if answer.url != url else None
    told = {"etag": answer.etag, "last_modified": answer.last_modified, "redirects": " ".join(job.hops)}
    return Payload(
        source=lease.source,
        body=answer.body,
        item=lease.item,
        url=url,
        fetched_at=answer.fetched_at,
        content_type=answer.content_type,
        status=answer.status,
        depth=lease.depth,
        parent=lease.parent,
        extra={name: value for name, value in {**told, LOCATION: location}.items() if value},
    )


def failure_of(
    ctx: Context, lease: ItemLease, error: PenstockError, now: int, *, host_down: bool = False
) -> FetchFailure:
    """Say why a fetch failed and when it is tried again. What is the host's fault costs its items no attempt."""
    counts = not (isinstance(error, HostDown | Throttled) or host_down)
    attempt = lease.attempts + 1 if counts else HOST_DOWN_ATTEMPT
    budget = ctx.profiles.get(lease.source).max_attempts
    retry_at: int | None = None
    if isinstance(error, Transient) and (attempt < budget or not counts):
        delay = backoff_us(attempt, base_us=ctx.limits.retry_base_us, cap_us=ctx.limits.retry_cap_us, draw=ctx.draw())
        retry_at = now + max(delay, asked_us(error))
    return FetchFailure(
        error_class=error.error_class,
        message=error.message,
        fingerprint=failure_fingerprint(error.error_class, str(error.details.get("status") or ""), lease.source),
        status=error.details.get("status"),
        retry_at=retry_at,
        counts=counts,
    )


def asked_us(error: Exception) -> int:
    """Return how long the host asked to be left alone."""
    details = error.details if isinstance(error, PenstockError) else {}
    return round(float(details.get("retry_after") or 0) * 1_000_000)


def slot_end(job: Job, one: Done) -> SlotEnd:
    """Return how the slot of a job under way was used."""
    assert job.slot is not None  # noqa: S101 (a job under way has one)
    answer = one.answer
    retry_after_us = asked_us(answer) if isinstance(answer, Exception) else 0
    return SlotEnd(job.slot, _says(answer), one.latency_us, one.late_us, retry_after_us)


def _says(answer: Answer) -> Answered:
    """Return what an answer says of its host."""
    if not isinstance(answer, PenstockError):
        return Answered.OK
    status = answer.details.get("status")
    if isinstance(answer, Throttled) or status in _OVERLOADED:
        return Answered.SLOW_DOWN
    if isinstance(answer, HostDown) or (isinstance(answer, FetchTimeout) and status is None):
        return Answered.DOWN
    return Answered.UNUSED if isinstance(answer, Unsafe) and status is None else Answered.OK


def is_rules(job: Job, answer: Answer) -> bool:
    """Tell whether this is what a robots.txt came to, and not where else it is, which the sixth redirect is not."""
    return job.lease is None and not (isinstance(answer, Redirect) and len(job.hops) < REDIRECTS)


def says_of_host(answer: Answer, job: Job) -> TypeGuard[PenstockError]:
    """Tell whether what came of asking an origin for its robots.txt is that the host itself cannot be asked."""
    if not isinstance(answer, Unsafe | HostDown | FetchTimeout) or job.hops:
        return False
    return answer.details.get("status") is None


def moved(job: Job, answer: Redirect) -> Job:
    """Return the job as it goes on where a redirect leads."""
    return Job(job.profile, answer.to, job.lease, job.origin, (*job.hops, job.url))


def lease_of(job: Job) -> ItemLease:
    """Return the lease of a job that has one."""
    assert job.lease is not None  # noqa: S101 (its callers have looked)
    return job.lease


def recrawl_of_lease(lease: ItemLease, profile: SourceProfile) -> Recrawl | None:
    """Return how soon an item is fetched again that brought nothing new; None: it is not, by itself."""
    return recrawl_of(lease.url, profile, list_of=lease.parent if lease.priority == LIST_PRIORITY else None)


def portions(pages: Sequence[tuple[Job, Fetched]]) -> Iterator[list[tuple[Job, Fetched]]]:
    """Yield pages in portions that one push may hold."""
    portion: list[tuple[Job, Fetched]] = []
    size = 0
    for page in pages:
        if portion and size + len(page[1].body) > PUSH_BYTES:
            yield portion
            portion, size = [], 0
        portion.append(page)
        size += len(page[1].body)
    if portion:
        yield portion


def name_of(end: ItemEnd, state: ItemState | None) -> str:
    """Return what an end is counted as, given the state that it came to."""
    if state is None:
        return "lease_lost"
    if isinstance(end, ItemPushed):
        return "fetched"
    if isinstance(end, ItemUnchanged):
        return "not_modified"
    if isinstance(end, ItemPostponed):
        return "postponed"
    return "given_up" if end.failure.retry_at is None else "retry_later"
