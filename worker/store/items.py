"""Rows of ``item`` that pages bring about: what they name, and that they themselves are here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from tasks.steps.dedupe import Identity
from tasks.steps.page import ItemState
from worker.store import clean
from worker.store.batch import Broken, Sighting
from worker.store.driver import Row, Transaction, statement

# How much a state says. A higher one replaces a lower one, whatever came first; states of work in hand stand with DUE.
_IN_HAND: Final = 2
_FETCHED: Final = 3
_RANKS: Final[dict[str, int]] = {ItemState.BOUNDED: 0, ItemState.UNROUTABLE: 1, ItemState.FETCHED: _FETCHED}
_RANK_SQL: Final = "CASE item.state WHEN 'bounded' THEN 0 WHEN 'unroutable' THEN 1 WHEN 'fetched' THEN 3 ELSE 2 END"
_RANK_NEW: Final = _RANK_SQL.replace("item.state", "excluded.state")
_CLOSER: Final = """(excluded.depth, excluded.discovered_at, coalesce(excluded.discovered_by, ''))
      < (item.depth, item.discovered_at, coalesce(item.discovered_by, ''))"""

_READ: Final = statement(
    """SELECT item.source, item.item_key, state, depth, discovered_at, discovered_by
    FROM {rows} JOIN item ON item.source = r.source AND item.item_key = r.item_key""",
    source="text",
    item_key="text",
)
_MERGE: Final = statement(
    f"""INSERT INTO item (source, item_key, item, url, host, state, depth, discovered_by, discovered_at,
      next_fetch_at, created_at)
    SELECT source, item_key, item, url, host, state, depth, discovered_by, discovered_at, next_fetch_at, created_at
    FROM {{rows}} WHERE true
    ON CONFLICT (source, item_key) DO UPDATE SET
      item = coalesce(item.item, excluded.item),
      url = CASE WHEN {_RANK_NEW} > {_RANK_SQL} THEN coalesce(excluded.url, item.url) ELSE item.url END,
      host = CASE WHEN {_RANK_NEW} > {_RANK_SQL} THEN coalesce(nullif(excluded.host, ''), item.host) ELSE item.host END,
      state = CASE WHEN {_RANK_NEW} > {_RANK_SQL} THEN excluded.state ELSE item.state END,
      next_fetch_at = CASE WHEN {_RANK_NEW} > {_RANK_SQL} THEN excluded.next_fetch_at ELSE item.next_fetch_at END,
      lease_until = CASE WHEN excluded.state = 'fetched' THEN NULL ELSE item.lease_until END,
      lease_token = CASE WHEN excluded.state = 'fetched' THEN NULL ELSE item.lease_token END,
      attempts = CASE WHEN excluded.state = 'fetched' THEN 0 ELSE item.attempts END,
      last_error = CASE WHEN excluded.state = 'fetched' THEN NULL ELSE item.last_error END,
      depth = CASE WHEN {_CLOSER} THEN excluded.depth ELSE item.depth END,
      discovered_by = CASE WHEN {_CLOSER} THEN excluded.discovered_by ELSE item.discovered_by END,
      discovered_at = CASE WHEN {_CLOSER} THEN excluded.discovered_at ELSE item.discovered_at END
    WHERE {_RANK_NEW} > {_RANK_SQL} OR {_CLOSER}""",  # noqa: S608 (constants)
    source="text",
    item_key="text",
    item="text",
    url="text",
    host="text",
    state="text",
    depth="int",
    discovered_by="text",
    discovered_at="int",
    next_fetch_at="int",
    created_at="int",
)
_FAIL: Final = statement(
    """UPDATE item SET state = 'failed', last_error = r.error_class, lease_until = NULL, lease_token = NULL
    FROM {rows} WHERE item.source = r.source AND item.item_key = r.item_key
      AND item.state IN ('due', 'leased', 'pushed')""",
    source="text",
    item_key="text",
    error_class="text",
)


class Place(NamedTuple):
    """Where an item stands in the crawl; of several places the least is kept."""

    depth: int
    named_at: int
    named_by: str  # item key of the page that names it; empty for one that was pushed by a producer


class Mention(NamedTuple):
    """One page says of an item that it exists, or is it. Texts are cleaned when they are written: few are."""

    rank: int
    place: Place
    state: ItemState
    item: str | None
    url: str | None
    host: str | None


def follow(tx: Transaction, seen: Sequence[Sighting], now: int) -> None:
    """Store the items that pages name, once each, and mark the pages' own items as fetched.

    Rows that would not change are not written: most related items are known, and some are named by every page.
    """
    mentions = merged(mention for one in seen for mention in _mentions(one))
    known = {
        Identity(row[0], row[1]): (_RANKS.get(row[2], _IN_HAND), Place(row[3], row[4], row[5] or ""))
        for row in tx.read(_READ, sorted(mentions))
    }
    rows = [
        _row(identity, mention, now)
        for identity, mention in sorted(mentions.items())
        if identity not in known or mention.rank > known[identity][0] or mention.place < known[identity][1]
    ]
    tx.write(_MERGE, rows)


def fail(tx: Transaction, failed: Iterable[Broken]) -> None:
    """Mark the items of payloads that could not be parsed, unless their page is here already."""
    rows = {one.identity: clean.text(one.result.error_class, 100) for one in failed}
    tx.write(_FAIL, [(*identity, rows[identity]) for identity in sorted(rows)])


def merged(mentions: Iterable[tuple[Identity, Mention]]) -> dict[Identity, Mention]:
    """Make one of the mentions of each item: the state and URL that say most, at the place nearest to the start."""
    items: dict[Identity, Mention] = {}
    for identity, one in mentions:
        other = items.get(identity)
        items[identity] = one if other is None else _both(other, one)
    return items


def _both(left: Mention, right: Mention) -> Mention:
    if right.rank <= left.rank and left.place <= right.place and left.item is not None and left.url:
        return left
    more, less = (right, left) if right.rank > left.rank else (left, right)
    return more._replace(
        place=min(left.place, right.place),
        item=more.item if more.item is not None else less.item,
        url=more.url or less.url,
        host=more.host or less.host,
    )


def _mentions(one: Sighting) -> Iterable[tuple[Identity, Mention]]:
    source, item_key = one.identity
    for item in one.result.discovered:
        place = Place(item.depth, one.observed_at, item_key)
        rank = _RANKS.get(item.state, _IN_HAND)
        mention = Mention(rank, place, item.state, item.item, item.url, item.host)
        yield Identity(source, clean.key(item.item_key)), mention
    payload = one.payload
    if not one.again and (payload.item is not None or payload.url is not None):  # else nothing could ever name it
        place = Place(payload.depth, one.observed_at, clean.optional_key(payload.parent) or "")
        yield one.identity, Mention(_FETCHED, place, ItemState.FETCHED, payload.item, payload.url, None)


def _row(identity: Identity, mention: Mention, now: int) -> Row:
    place, url = mention.place, clean.text(mention.url)
    return (
        *identity,
        clean.text(mention.item),
        url,
        clean.text(mention.host) or clean.host_of(url) or "",
        str(mention.state),
        clean.whole(place.depth),
        place.named_by or None,
        place.named_at,
        now if mention.state is ItemState.DUE else None,
        now,
    )
