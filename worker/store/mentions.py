"""What pages say of items: that one exists, since they name it, or that it is here, since they are it."""

from __future__ import annotations

from typing import Final, NamedTuple

from tasks.steps.dedupe import Identity
from tasks.steps.page import DiscoveredItem, ItemState
from worker.store import clean
from worker.store.batch import Sighting

# How much a state says. A higher one replaces a lower one, whatever came first; states of work in hand stand with DUE.
IN_HAND: Final = 2
FETCHED: Final = 3
RANKS: Final[dict[str, int]] = {ItemState.BOUNDED: 0, ItemState.UNROUTABLE: 1, ItemState.FETCHED: FETCHED}

# Where an item stands in the crawl: its depth, when it was named, and by the page of which item key (of a page that was
# pushed, by none). Of several places the least is kept.
Place = tuple[int, int, str]


class Mention(NamedTuple):
    """What one page says of an item. Texts are cleaned when they are written: few are."""

    rank: int
    place: Place
    state: ItemState
    item: str | None
    url: str | None
    host: str | None
    bound: str | None = None


def naming(item: DiscoveredItem, by: Sighting) -> Mention:
    """Return what a page says of an item that it names."""
    rank = RANKS.get(item.state, IN_HAND)
    place = (item.depth, by.observed_at, by.identity.item_key)
    return Mention(rank, place, item.state, item.item, item.url, item.host, item.bound)


def own(one: Sighting) -> Mention | None:
    """Return what a page says of its own item, if it has one."""
    payload = one.payload
    if one.again or (payload.item is None and payload.url is None):  # the latter: nothing could ever name it
        return None
    place = (payload.depth, one.observed_at, clean.optional_key(payload.parent) or "")
    return Mention(FETCHED, place, ItemState.FETCHED, payload.item, payload.url, None)


def tell(items: dict[Identity, Mention], identity: Identity, one: Mention) -> None:
    """Add a mention of an item to those of others.

    Of several of one item it makes one: the state and URL that say most, at the place nearest to the start.
    """
    other = items.setdefault(identity, one)
    if other is not one:
        items[identity] = _both(other, one)


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
