"""A page as a message of plain text, as it is sent through queues that carry JSON: the workload is UTF-8."""

from __future__ import annotations

from datetime import datetime
from typing import TypedDict

from benchmarks.pages import SOURCE
from tasks.steps.page import Payload


class Message(TypedDict):
    """The fields of a page, each a string."""

    item: str
    url: str
    fetched_at: str  # RFC 3339
    body: str


def message_of(payload: Payload) -> Message:
    """Return the message that carries a page of the workload. Raises ``ValueError`` where a field is missing."""
    if payload.item is None or payload.url is None or payload.fetched_at is None:
        raise ValueError(f"a page of the workload has an item, a URL and a time, and this one not: {payload}")
    return Message(
        item=payload.item,
        url=payload.url,
        fetched_at=payload.fetched_at.isoformat(),
        body=payload.body.decode(),
    )


def payload_of(*, item: str, url: str, fetched_at: str, body: str) -> Payload:
    """Return the page of a message."""
    return Payload(
        source=SOURCE,
        body=body.encode(),
        item=item,
        url=url,
        fetched_at=datetime.fromisoformat(fetched_at),
    )
