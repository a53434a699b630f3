"""What came around a page's bytes, kept with each revision so that a second parse sees what the first one saw."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import orjson

from tasks.steps.page import Payload
from worker.store import clean

_EMPTY: Final[tuple[Any, ...]] = (None, 0, {})


def written(payload: Payload) -> str:
    """Return the envelope as JSON, without source and bytes, and without the fields that it has not."""
    fields = {
        "item": payload.item,
        "url": payload.url,
        "fetched_at": payload.fetched_at,
        "content_type": payload.content_type,
        "status": None if payload.status is None else clean.whole(payload.status),
        "depth": clean.whole(payload.depth),
        "parent": payload.parent,
        "extra": dict(payload.extra),
    }
    return clean.to_json({name: value for name, value in fields.items() if value not in _EMPTY})


def read(source: str, text: str, body: bytes) -> Payload:
    """Return the payload as it arrived."""
    fields: dict[str, Any] = orjson.loads(text)
    fetched_at = fields.pop("fetched_at", None)
    return Payload(source=source, body=body, fetched_at=fetched_at and datetime.fromisoformat(fetched_at), **fields)


def of_page(item: str | None, url: str | None, depth: int, parent: str | None) -> str:
    """Return what a page tells of the envelope of its present revision, where that was not kept yet (before r0002)."""
    return written(Payload(source="", body=b"", item=item, url=url, depth=depth, parent=parent))
