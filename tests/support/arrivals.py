"""Arrivals as the tasks would make them, in as few words as a test needs."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tasks.ports import Settled
from tasks.steps.fingerprint import payload_hash
from tasks.steps.page import (
    Arrival,
    Bound,
    DiscoveredItem,
    FailureResult,
    ItemState,
    PageResult,
    ParsedPage,
    Payload,
    Related,
    RetryArrival,
)
from worker.store import SqlStore

NOW = 1_700_000_000_000_000
SECOND = 1_000_000
EPOCH = "e1"

_entries = itertools.count(1)


def page(key: str, text: str, at: int = 0, **other: Any) -> Arrival:
    """Return the arrival of a parsed page; its content is its text. ``at`` is in seconds after ``NOW``.

    ``declared`` is the key of the URL that the page declares as its own, ``recrawl`` how soon it is fetched again.
    """
    source = other.pop("source", "s")
    discovered = other.pop("discovered", ())
    recrawl, declared = other.pop("recrawl", None), other.pop("declared", None)
    related = tuple(Related(id=one.item_key, title=f"about {one.item_key}") for one in discovered)
    envelope = {"depth": 0, "url": f"http://h/{key}", "item": key, **other}
    body = envelope.pop("body", f"{key}|{text}".encode(errors="replace"))
    parsed = ParsedPage(parser="vardump", parser_version=1, title=f"T {text}", paragraphs=(text,), related=related)
    result = PageResult(
        page=parsed,
        item_key=declared or key,
        content_hash=f"01{text}",
        envelope_key=key if declared else None,
        discovered=tuple(discovered),
        recrawl=recrawl,
    )
    return arrival(Payload(source=source, body=body, **envelope), result, at)


def broken(key: str, body: bytes = b"broken", at: int = 0, *, retry_at: int | None = None, **other: Any) -> Arrival:
    """Return the arrival of a payload that could not be parsed."""
    result = failure(key, error_class=other.pop("error_class", "Truncated"), retry_at=retry_at)
    envelope = {"source": "s", "url": f"http://h/{key}", "item": key, **other}
    return arrival(Payload(body=body, **envelope), result, at)


def failure(
    item: str, error_class: str = "Truncated", *, retry_at: int | None = None, version: int = 1
) -> FailureResult:
    return FailureResult(
        error_class=error_class,
        message=f"{error_class} of {item}",
        fingerprint=f"fp-{error_class}",
        item_key=item,
        parser="vardump",
        parser_version=version,
        traceback="Traceback …",
        retry_at=retry_at,
    )


def arrival(payload: Payload, result: PageResult | FailureResult, at: int = 0) -> Arrival:
    return Arrival(
        epoch=EPOCH,
        entry_id=f"{1_000_000 + next(_entries)}-0",
        attempt=1,
        observed_at=NOW + at * SECOND,
        payload=payload,
        payload_hash=payload_hash(payload.body),
        result=result,
    )


def item(
    key: str, state: ItemState = ItemState.DUE, *, depth: int = 1, host: str = "h", bound: Bound | None = None
) -> DiscoveredItem:
    url = None if state is ItemState.UNROUTABLE else f"http://{host}/{key}"
    return DiscoveredItem(item_key=key, item=key, url=url, host=url and host, depth=depth, state=state, bound=bound)


def commit(store: SqlStore, *arrivals: Arrival, worker: str = "w", now: int = NOW) -> list[str]:
    """Commit a batch and return the outcomes."""
    return [str(one.outcome) for one in settle(store, arrivals, worker=worker, now=now)]


def settle(store: SqlStore, arrivals: Sequence[Arrival], *, worker: str = "w", now: int = NOW) -> list[Settled]:
    return store.commit(arrivals, worker=worker, now=now)


def moved(arrival: Arrival, **changes: Any) -> Arrival:
    return replace(arrival, **changes)


def retry_of(
    store: SqlStore, *, now: int, result: PageResult | FailureResult | None = None, **more: Any
) -> RetryArrival:
    """Claim the one failure that is due, and return what a retry makes of it."""
    (lease,) = store.claim_failures(limit=5, lease_us=SECOND, now=now, parser_versions=more.pop("versions", {}))
    return RetryArrival(
        failure_id=lease.id,
        lease_token=lease.token,
        observed_at=lease.observed_at,
        payload=lease.payload,
        payload_hash=lease.payload_hash,
        result=result or failure(lease.payload.item or ""),
        **more,
    )
