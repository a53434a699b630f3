"""Rows of ``page``: the current state of each identity."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from tasks.ports import ItemLease
from tasks.steps.dedupe import Identity, Segment
from worker.store import clean
from worker.store.batch import Broken, Sighting
from worker.store.driver import Row, Transaction, statement

_COLUMNS: Final = (
    "item, url, url_key, url_seen, first_seen, last_seen, content_hash, head_first_seen, revisions, depth, parent"
)
IS_HEAD: Final = "revision.first_seen = page.head_first_seen AND revision.content_hash = page.content_hash"
_READ: Final = statement(
    f"""SELECT page.id, page.source, page.item_key, {", ".join(f"page.{name}" for name in _COLUMNS.split(", "))}
    FROM {{rows}} JOIN page ON page.source = r.source AND page.item_key = r.item_key""",  # noqa: S608 (constants)
    source="text",
    item_key="text",
)
_AT_URLS: Final = statement(
    """SELECT r.n, page.source, page.item_key FROM {rows} JOIN page ON page.url_key = r.url_key AND page.url = r.url
    WHERE page.source = r.source ORDER BY url_seen""",
    n="int",
    url_key="int",
    url="text",
    source="text",
)
_SEEN_AT: Final = "SELECT max(url_seen) FROM page WHERE url_key = ? AND url = ? AND source = ?"
_LOCK: Final = statement(f"{_READ.sql} ORDER BY page.source, page.item_key {{lock page}}", **dict(_READ.columns))
# Where the page is there already, DO UPDATE … WHERE false waits for who is writing it, locks it, and changes nothing:
# https://www.postgresql.org/docs/current/sql-insert.html#SQL-ON-CONFLICT
_INSERT: Final = statement(
    f"""INSERT INTO page (source, item_key, {_COLUMNS}) SELECT source, item_key, {_COLUMNS} FROM {{rows}} WHERE true
    ON CONFLICT (source, item_key) DO UPDATE SET first_seen = page.first_seen WHERE false
    RETURNING id, source, item_key""",  # noqa: S608 (constants)
    source="text",
    item_key="text",
    item="text",
    url="text",
    url_key="int",
    url_seen="int",
    first_seen="int",
    last_seen="int",
    content_hash="text",
    head_first_seen="int",
    revisions="int",
    depth="int",
    parent="text",
)
_UPDATE: Final = statement(
    f"""UPDATE page SET {", ".join(f"{name} = r.{name}" for name in _COLUMNS.split(", "))}
    FROM {{rows}} WHERE page.id = r.id""",  # noqa: S608 (constants)
    id="int",
    item="text",
    url="text",
    url_key="int",
    url_seen="int",
    first_seen="int",
    last_seen="int",
    content_hash="text",
    head_first_seen="int",
    revisions="int",
    depth="int",
    parent="text",
)


class PageState(NamedTuple):
    """All of a page row but its id and identity, in the order of the columns."""

    item: str | None
    url: str | None
    url_key: int | None
    url_seen: int | None
    first_seen: int
    last_seen: int
    content_hash: str
    head_first_seen: int
    revisions: int
    depth: int
    parent: str | None


class StoredPage(NamedTuple):
    """A page that is stored."""

    id: int
    state: PageState

    def head(self) -> Segment:
        """Return its last revision as a segment."""
        state = self.state
        seen = (state.head_first_seen, state.last_seen)
        return Segment(state.content_hash, seen if seen[0] < seen[1] else seen[:1], row=state.head_first_seen)

    def had(self, content_hash: str, at: int) -> bool:
        """Tell whether it had a content by a time, as far as its last revision tells."""
        return self.state.content_hash == content_hash and self.state.head_first_seen <= at


def lock(tx: Transaction, identities: Iterable[Identity]) -> dict[Identity, StoredPage]:
    """Read the pages of these identities, as far as there are any, and keep others from changing them.

    This is the first thing that a batch does, in the order of the keys: batches that share pages pass one after the
    other, and none has to begin anew because another one was faster.
    """
    return _pages(tx.read(_LOCK, sorted(identities)))


def read(tx: Transaction, identities: Iterable[Identity]) -> dict[Identity, StoredPage]:
    """Read the pages of these identities, as far as there are any."""
    return _pages(tx.read(_READ, sorted(identities)))


def last_seen_at_url(tx: Transaction, failed: Iterable[Broken]) -> dict[Identity, int]:
    """Return when a page was last seen at the URL of a payload without an item, whatever URL it declares."""
    found: dict[Identity, int] = {}
    for one in failed:
        url = clean.text(one.payload.url)
        if url is not None and one.payload.item is None:
            rows = tx.run(_SEEN_AT, clean.number_of(url), url, one.identity.source)
            if rows[0][0] is not None:
                found[one.identity] = rows[0][0]
    return found


def of_items(tx: Transaction, leases: Iterable[ItemLease]) -> dict[str, Identity]:
    """Return which page each item leads to, by the lease's token: without an ID the last that was seen at its URL."""
    every = list(leases)
    stored = read(tx, {Identity(one.source, one.item_key) for one in every})
    found = {one.token: Identity(one.source, one.item_key) for one in every}
    found = {token: identity for token, identity in found.items() if identity in stored}
    at_url = [(n, clean.number_of(one.url), one.url, one.source) for n, one in enumerate(every) if one.item is None]
    return found | {every[n].token: Identity(*identity) for n, *identity in tx.read(_AT_URLS, at_url)}


def _pages(rows: Iterable[Row]) -> dict[Identity, StoredPage]:
    return {Identity(row[1], row[2]): StoredPage(row[0], PageState(*row[3:])) for row in rows}


def insert(tx: Transaction, fresh: Mapping[Identity, PageState]) -> dict[Identity, int]:
    """Insert pages, and lock those that are there already; return the ids of the new ones."""
    rows = tx.read(_INSERT, [(*identity, *fresh[identity]) for identity in sorted(fresh)])
    return {Identity(source, item_key): page_id for page_id, source, item_key in rows}


def update(tx: Transaction, stored: Mapping[Identity, StoredPage], states: Mapping[Identity, PageState]) -> None:
    """Write the new states of stored pages, as far as they differ."""
    changed = [identity for identity in sorted(stored) if states[identity] != stored[identity].state]
    tx.send(_UPDATE, [(stored[identity].id, *states[identity]) for identity in changed])


def next_state(stored: StoredPage | None, segments: Sequence[Segment], seen: Sequence[Sighting]) -> PageState:
    """Return a page's state after these observations; ``segments`` is its history, or the end of it.

    Every field is the same in whatever order they come: the URL is the last one that was seen (of two at the same
    time the greater), depth and parent are the least pair.
    """
    old = stored.state if stored else None
    head, since = segments[-1], segments[0].first_seen
    item = old.item if old else None
    url_seen, url, url_key = (old.url_seen, old.url, old.url_key) if old else (None, None, None)
    places = [(old.depth, old.parent or "")] if old else []
    for one in seen:
        payload = one.payload
        item = clean.optional_key(payload.item) if item is None else item
        places.append((clean.whole(payload.depth), clean.optional_key(payload.parent) or ""))
        if payload.url and not one.again:
            told = clean.text(payload.url)
            if url_seen is None or url is None or (one.observed_at, told) > (url_seen, url):
                url_seen, url, url_key = one.observed_at, told, url_key if told == url else None
    depth, parent = min(places)
    return PageState(
        item,
        url,
        clean.number_of(url) if url is not None and url_key is None else url_key,
        url_seen,
        min(since, old.first_seen) if old else since,
        head.last_seen,
        head.content_hash,
        head.first_seen,
        (old.revisions if old else 0) + sum(segment.row is None for segment in segments),
        depth,
        parent or None,
    )
