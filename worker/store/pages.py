"""Rows of ``page``: the current state of each identity."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tasks.steps.dedupe import Identity, Segment
from worker.store import clean
from worker.store.batch import Sighting
from worker.store.driver import Row, Transaction, statement

_COLUMNS: Final = (
    "item, url, url_key, url_seen, first_seen, last_seen, content_hash, head_first_seen, revisions, depth, parent"
)
_READ: Final = statement(
    f"""SELECT page.id, page.source, page.item_key, {", ".join(f"page.{name}" for name in _COLUMNS.split(", "))}
    FROM {{rows}} JOIN page ON page.source = r.source AND page.item_key = r.item_key""",  # noqa: S608 (constants)
    source="text",
    item_key="text",
)
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


@dataclass(frozen=True, slots=True)
class PageState:
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

    def row(self) -> Row:
        """Return the columns."""
        return (
            self.item,
            self.url,
            self.url_key,
            self.url_seen,
            self.first_seen,
            self.last_seen,
            self.content_hash,
            self.head_first_seen,
            self.revisions,
            self.depth,
            self.parent,
        )


@dataclass(frozen=True, slots=True)
class StoredPage:
    """A page that is stored."""

    id: int
    state: PageState

    def head(self) -> Segment:
        """Return its last revision as a segment."""
        state = self.state
        seen = (state.head_first_seen, state.last_seen)
        return Segment(state.content_hash, seen if seen[0] < seen[1] else seen[:1], row=state.head_first_seen)


def insert(tx: Transaction, fresh: Mapping[Identity, PageState]) -> dict[Identity, int]:
    """Insert the pages that are not stored yet, and keep others from changing those that are; return the new ids.

    This is the first thing that a batch writes, in the order of the keys: batches that share pages pass one after the
    other, and none has to begin anew because another one was faster.
    """
    rows = tx.read(_INSERT, [(*identity, *fresh[identity].row()) for identity in sorted(fresh)])
    return {Identity(source, item_key): page_id for page_id, source, item_key in rows}


def read(tx: Transaction, identities: Iterable[Identity]) -> dict[Identity, StoredPage]:
    """Read the pages of these identities, as far as there are any."""
    rows = tx.read(_READ, sorted(identities))
    return {Identity(row[1], row[2]): StoredPage(row[0], PageState(*row[3:])) for row in rows}


def update(tx: Transaction, stored: Mapping[Identity, StoredPage], states: Mapping[Identity, PageState]) -> None:
    """Write the new states of stored pages, as far as they differ."""
    changed = [identity for identity in sorted(stored) if states[identity] != stored[identity].state]
    tx.write(_UPDATE, [(stored[identity].id, *states[identity].row()) for identity in changed])


def next_state(stored: StoredPage | None, segments: Sequence[Segment], seen: Sequence[Sighting]) -> PageState:
    """Return a page's state after these observations; ``segments`` is its history, or the end of it.

    Every field is the same in whatever order they come: the URL is the last one that was seen (of two at the same
    time the greater), depth and parent are the least pair.
    """
    old = stored.state if stored else None
    head = segments[-1]
    item = next((one.payload.item for one in seen if one.payload.item is not None), None)
    urls = [(one.observed_at, clean.text(one.payload.url)) for one in seen if one.payload.url and not one.again]
    places = [(clean.whole(one.payload.depth), clean.optional_key(one.payload.parent) or "") for one in seen]
    if old is not None:
        urls += [(old.url_seen, old.url)] if old.url is not None and old.url_seen is not None else []
        places.append((old.depth, old.parent or ""))
    url_seen, url = max(urls, default=(None, None))
    depth, parent = min(places)
    return PageState(
        item=old.item if old and old.item is not None else clean.optional_key(item),
        url=url,
        url_key=None if url is None else clean.number_of(url),
        url_seen=url_seen,
        first_seen=min(segments[0].first_seen, old.first_seen if old else segments[0].first_seen),
        last_seen=head.last_seen,
        content_hash=head.content_hash,
        head_first_seen=head.first_seen,
        revisions=(old.revisions if old else 0) + sum(segment.row is None for segment in segments),
        depth=depth,
        parent=parent or None,
    )
