"""What a parser understood of a page, as columns of ``revision``.

Paragraphs and related items are most of a row. They are packed here and not by the database: SQLite would not, and
PostgreSQL takes several times as long. Before r0003 they stood in ``fields`` and ``related`` as JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson

from tasks.steps.page import ParsedPage, Related
from tasks.steps.related import RelatedItems
from worker.store import clean
from worker.store.driver import Kind, Row
from worker.store.zstd import Packer, unpack

LEVEL: Final = -3  # 4.4 KB to 3.2 in 7 µs; level 1 makes 2.2 of them, in 20 µs
COLUMNS: Final[dict[str, Kind]] = {
    "parser": "text",
    "parser_version": "int",
    "title": "text",
    "published_at": "text",
    "published_raw": "text",
    "packed": "blob",
    "fields": "text",
    "related": "text",
}
# Fields of later releases, and what a page has that lacks them; only those that are not empty are packed.
LATER: Final[dict[str, Any]] = {
    "canonical_url": None,
    "modified_at": None,
    "section": None,
    "tags": [],
    "image": None,
    "outlinks": [],
    "tier": None,
    "repaired": 0,
}
_RELATED: Final = ("id", "title", "tags", "media_kind", "media_path", "uploaded_at")
_packer: Final = Packer(LEVEL)


def columns(page: ParsedPage) -> Row:
    """Return the columns of a page."""
    packed = {
        "paragraphs": page.paragraphs,
        "wire_service": page.wire_service,
        "desk_code": page.desk_code,
        "language": page.language,
        "authors": page.authors,
        **_related(page.related),
        **{name: value for name in LATER if (value := getattr(page, name))},
    }
    return (
        clean.text(page.parser),
        clean.whole(page.parser_version),
        clean.text(page.title),
        page.published_at.isoformat() if page.published_at else None,
        clean.text(page.published_raw),
        _packer.pack(clean.json_bytes(packed)),
        "",
        "",
    )


def _related(items: Sequence[Related]) -> dict[str, Any]:
    """Return the items by column, the three texts that the rest is read out of; what a plug-in made by value.

    So what is read out of them, tags, kind and time of upload, is as today's code reads it, of old revisions too.
    """
    if isinstance(items, RelatedItems):
        return {"listed": (items.ids, items.titles, items.paths)}
    return {
        "related": [(one.id, one.title, one.tags, one.media_kind, one.media_path, one.uploaded_at) for one in items]
    }


def values(row: Row) -> dict[str, Any]:
    """Return what the columns hold, by field, without the version."""
    parser, _, title, published_at, published_raw, *packed = row
    head = {"parser": parser, "title": title, "published_at": published_at, "published_raw": published_raw}
    return head | unpacked(*packed)


def unpacked(packed: bytes | None, fields: str, related: str) -> dict[str, Any]:
    """Return what is in the last three columns, by field."""
    if packed is None:
        return {**LATER, **orjson.loads(fields), "related": orjson.loads(related)}
    found: dict[str, Any] = {**LATER, **orjson.loads(unpack(packed))}
    listed = found.pop("listed", None)
    if listed is None:
        found["related"] = [dict(zip(_RELATED, one, strict=False)) for one in found["related"]]
    else:
        found["related"] = orjson.loads(orjson.dumps(list(RelatedItems(*listed))))
    return found
