"""Rows of ``content``: which identity had a content first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from tasks.errors import StoreConflict
from tasks.steps.dedupe import FirstOf, Identity
from worker.store.driver import Row, Transaction, statement

_READ: Final = statement(
    """SELECT content.content_hash, observed_at, source, item_key
    FROM {rows} JOIN content ON content.content_hash = r.content_hash""",
    content_hash="text",
)
_INSERT: Final = statement(
    """INSERT INTO content (content_hash, observed_at, source, item_key)
    SELECT content_hash, observed_at, source, item_key FROM {rows} WHERE true ON CONFLICT DO NOTHING""",
    content_hash="text",
    observed_at="int",
    source="text",
    item_key="text",
)
_EARLIER: Final = statement(
    """UPDATE content SET observed_at = r.observed_at, source = r.source, item_key = r.item_key FROM {rows}
    WHERE content.content_hash = r.content_hash
      AND (r.observed_at, r.source {collate}, r.item_key {collate})
        < (content.observed_at, content.source, content.item_key)""",
    content_hash="text",
    observed_at="int",
    source="text",
    item_key="text",
)


def read(tx: Transaction, hashes: Iterable[str]) -> dict[str, FirstOf]:
    """Return the first observation of each of these contents, as far as there is one."""
    rows = tx.read(_READ, [(one,) for one in sorted(hashes)])
    return {content: FirstOf(time, Identity(source, item_key)) for content, time, source, item_key in rows}


def write(tx: Transaction, stored: Mapping[str, FirstOf], changed: Mapping[str, FirstOf]) -> None:
    """Store new contents and earlier first observations. Raises ``StoreConflict``."""
    fresh = [_row(one, changed[one]) for one in sorted(changed) if one not in stored]
    if tx.write(_INSERT, fresh) < len(fresh):
        raise StoreConflict("another worker stored one of the same contents first")
    tx.write(_EARLIER, [_row(one, changed[one]) for one in sorted(changed) if one in stored])


def _row(content: str, first: FirstOf) -> Row:
    return (content, first.observed_at, *first.identity)
