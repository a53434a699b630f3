"""When a failed payload is tried again: the one place that says so."""

from __future__ import annotations

from tasks.steps.backoff import backoff_us
from tasks.steps.canonical import host_of
from tasks.steps.follow import host_allowed
from tasks.steps.page import Payload, SourceProfile

# A page that broke off or came out garbled on the way may be whole the next time.
REFETCHED = frozenset({"Truncated", "Malformed"})


def may_fetch(url: str | None, profile: SourceProfile) -> bool:
    """Tell whether the source's profile allows fetching this URL at all."""
    host = host_of(url) if url else None
    template = host_of(profile.item_url) if profile.item_url else None
    hosts = profile.hosts or ((template,) if template else ())
    return host is not None and bool(hosts) and host_allowed(host, hosts)


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
) -> int | None:
    """Return when to fetch the page anew after its ``attempts``-th failed attempt; None when it is given up.

    Only truncated and malformed pages with a URL that may be fetched get another attempt: the same bytes parse the
    same way every time. (A newer parser version makes every failure due again; that is the store's query.)
    """
    if error_class not in REFETCHED or attempts >= profile.max_attempts or not may_fetch(payload.url, profile):
        return None
    return now + backoff_us(attempts, base_us=base_us, cap_us=cap_us, draw=draw)
