"""When a failed payload is tried again, and when too many fail: the one place that says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tasks.steps.backoff import backoff_us
from tasks.steps.canonical import host_of
from tasks.steps.hosts import host_allowed
from tasks.steps.page import Payload, SourceProfile

LONG_STEPS: Final = 4  # doublings that the back-off of a stored page's next attempt has ahead of a fetched one's


@dataclass(frozen=True, slots=True)
class Budget:
    """How often a page is tried again, and from what."""

    retries: int
    refetch: bool  # fetched anew; else parsed again from the stored bytes


# A page that broke off or came out garbled on the way may be whole the next time. A limit or a crash may have been the
# machine's, short of memory or time, so the same bytes get a second and a third try, much later. All else is in the
# bytes: they parse the same way every time.
BUDGETS: Final[Mapping[str, Budget]] = {
    "Truncated": Budget(5, refetch=True),
    "Malformed": Budget(3, refetch=True),
    "TimeLimit": Budget(2, refetch=False),
    "MemoryLimit": Budget(2, refetch=False),
    "Poison": Budget(2, refetch=False),
    "ParserCrash": Budget(2, refetch=False),
    "UnknownFormat": Budget(0, refetch=False),
    "TooLarge": Budget(0, refetch=False),
    "Undecodable": Budget(0, refetch=False),
}
_NONE: Final = Budget(0, refetch=False)


@dataclass(frozen=True, slots=True)
class Attempt:
    """The next attempt of a failure: when, and whether the page is to be fetched anew for it."""

    at: int
    refetch: bool


def may_fetch(url: str | None, profile: SourceProfile) -> bool:
    """Tell whether the source's profile allows fetching this URL at all."""
    host = host_of(url) if url else None
    template = host_of(profile.item_url) if profile.item_url else None
    hosts = profile.hosts or ((template,) if template else ())
    return host is not None and host_allowed(host, hosts)


def retries(error_class: str, profile: SourceProfile) -> int:
    """Return how often a failure of this class is tried again: what the profile says of it, else within its bound."""
    budget = BUDGETS.get(error_class, _NONE).retries
    return profile.retries.get(error_class, min(budget, profile.max_attempts))


def next_attempt(
    error_class: str,
    payload: Payload,
    profile: SourceProfile,
    *,
    attempts: int,
    now: int,
    base_us: int,
    cap_us: int,
    draw: float,
) -> Attempt | None:
    """Return the next attempt after ``attempts`` of them failed, the first delivery not counted; None: given up.

    (A newer parser version makes every failure due again; that is the store's query.)
    """
    if attempts >= retries(error_class, profile):
        return None
    refetch = BUDGETS.get(error_class, _NONE).refetch
    if refetch and not may_fetch(payload.url, profile):
        return None
    steps = attempts if refetch else attempts + LONG_STEPS
    return Attempt(now + backoff_us(steps, base_us=base_us, cap_us=cap_us, draw=draw), refetch)


def reached(total: int, failed: int, *, share: float, least: int) -> bool:
    """Tell whether so many of a source's pages failed that the fault is ours, and no more of them may be buried."""
    return failed >= least and failed > 0 and failed >= share * total
