"""What came around a page's bytes, kept with each revision so that a second parse sees what the first one saw."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson

from tasks.steps.page import Payload
from worker.store import clean


def written(payload: Payload) -> str:
    """Return the envelope as JSON, without source and bytes, and without the fields that it has not."""
    fields: dict[str, Any] = {}
    if payload.item is not None:
        fields["item"] = payload.item
    if payload.url is not None:
        fields["url"] = payload.url
    if payload.fetched_at is not None:
        fields["fetched_at"] = payload.fetched_at
    if payload.content_type is not None:
        fields["content_type"] = payload.content_type
    if payload.status:
        fields["status"] = clean.whole(payload.status)
    if payload.depth:
        fields["depth"] = clean.whole(payload.depth)
    if payload.parent is not None:
        fields["parent"] = payload.parent
    if payload.extra:
        fields["extra"] = dict(payload.extra)
    return clean.to_json(fields)


def read(source: str, text: str, body: bytes) -> Payload:
    """Return the payload as it arrived."""
    fields: dict[str, Any] = orjson.loads(text)
    fetched_at = fields.pop("fetched_at", None)
    return Payload(source=source, body=body, fetched_at=fetched_at and datetime.fromisoformat(fetched_at), **fields)


def of_page(item: str | None, url: str | None, depth: int, parent: str | None) -> str:
    """Return what a page tells of the envelope of its present revision, where that was not kept yet (before r0002)."""
    return written(Payload(source="", body=b"", item=item, url=url, depth=depth, parent=parent))
