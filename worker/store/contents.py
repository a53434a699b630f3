"""Rows of ``content``: which identity had a content first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from tasks.steps.dedupe import FirstOf, Identity, Observation
from worker.store.driver import Row, Transaction, statement
from worker.store.pages import StoredPage

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


def unknown(observations: Iterable[Observation], stored: Mapping[Identity, StoredPage]) -> dict[str, FirstOf]:
    """Return the first observation of each content, but of one that its page is known to have had before."""
    found: dict[str, FirstOf] = {}
    for one in observations:
        page = stored.get(one.identity)
        if page is not None and page.had(one.content_hash, one.observed_at):
            continue
        first, other = FirstOf(one.observed_at, one.identity), found.get(one.content_hash)
        if other is None or first < other:
            found[one.content_hash] = first
    return found


def take(tx: Transaction, fresh: Mapping[str, FirstOf]) -> dict[str, FirstOf]:
    """Insert the contents that are not stored yet; return what is stored then, unless all of it is what was given.

    What is stored is not locked: some contents (an empty page, an error message) are in every batch. It can only be
    replaced by an earlier observation, and never goes away, so a decision by it stays right.
    """
    hashes = sorted(fresh)
    if tx.write(_INSERT, [_row(one, fresh[one]) for one in hashes]) == len(hashes):
        return {}
    return _read(tx, hashes)


def earlier(tx: Transaction, first: Mapping[str, FirstOf]) -> None:
    """Note earlier first observations of stored contents."""
    tx.send(_EARLIER, [_row(one, first[one]) for one in sorted(first)])


def _read(tx: Transaction, hashes: Iterable[str]) -> dict[str, FirstOf]:
    rows = tx.read(_READ, [(one,) for one in hashes])
    return {content: FirstOf(time, Identity(source, item_key)) for content, time, source, item_key in rows}


def _row(content: str, first: FirstOf) -> Row:
    return (content, first.observed_at, *first.identity)
