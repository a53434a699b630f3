"""Which items a page leads to, and what the source's bounds say of each."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from typing import ClassVar, Final, TypeAlias
from urllib.parse import quote

from tasks.steps.canonical import bounded_key, canonical_url, host_of, normal_url
from tasks.steps.hosts import host_allowed
from tasks.steps.lists import is_list
from tasks.steps.page import Bound, DiscoveredItem, ItemState, ParsedPage, Payload, SourceProfile
from tasks.steps.related import ids_of
from tasks.steps.trap import trap

_Routes: TypeAlias = tuple[str | None, tuple[str, ...]]  # the source's template, and its hosts

_SLOT: Final = "{id}"
_PLAIN_ID: Final = re.compile(r"[A-Za-z0-9_-]+")  # stands in any URL as it is
_PROBE: Final = "penstock-probe-id"
_MEMO: Final = 65_536  # items that all memos hold together before they are emptied; some 30 MB
_MEMOS: Final = 1024  # sources, depths and bounds that have one
_MEMO_LENGTH: Final = 100  # characters of an ID that is kept


def discover(page: ParsedPage, payload: Payload, profile: SourceProfile) -> tuple[DiscoveredItem, ...]:
    """Return every related item once, in the order of the page, without the page itself.

    ``UNROUTABLE``: the source has no template and the item is no URL, or it leads to no http(s) URL or to a host that
    the source does not allow. ``BOUNDED``: beyond the source's depth or per-page bound, or a URL that looks like one of
    endlessly many (see ``trap``). Else ``DUE``.
    """
    items = dict.fromkeys(ids_of(page.related))
    if is_list(page.parser, payload, profile):
        return tuple(_listed(items, payload, profile))
    if payload.item is not None:
        items.pop(payload.item, None)
    template, hosts = profile.item_url, tuple(profile.hosts)
    if (template or hosts) and payload.url and not payload.item and (own_url := canonical_url(payload.url)):
        place = _place if max(map(len, items), default=0) > _MEMO_LENGTH else _known_place
        items = dict.fromkeys(item for item in items if place(item, template, hosts) != own_url)
    depth = payload.depth + 1
    too_deep = depth > profile.max_depth
    allowed = 0 if too_deep else profile.max_items_per_page
    beyond: Bound = "depth" if too_deep else "page"
    year = payload.fetched_at.year if payload.fetched_at else None
    due, bounded = (_descriptions((template, hosts), depth, bound, year) for bound in (None, beyond))
    if len(items) <= allowed:
        return tuple(map(due.__getitem__, items))
    named = list(items)
    return (*map(due.__getitem__, named[:allowed]), *map(bounded.__getitem__, named[allowed:]))


def _listed(items: Iterable[str], payload: Payload, profile: SourceProfile) -> Iterator[DiscoveredItem]:
    """Yield what a list names: URLs, of which those that the template leads to are known by their IDs."""
    template = profile.item_url
    hosts = tuple(profile.hosts) or ((host_of(template) or "",) if template else ())
    own = canonical_url(payload.url) if payload.url else None
    year = payload.fetched_at.year if payload.fetched_at else None
    too_deep = payload.depth > profile.max_depth
    left = 0 if too_deep else profile.max_items_per_list
    for url in items:
        if url == own:
            continue
        bound: Bound | None = None if left else "depth" if too_deep else "page"
        item = _id_of(url, template, hosts) if template else None
        routes = (template, hosts) if item else (None, hosts)
        found = _descriptions(routes, payload.depth, bound, year)[item or url]
        left -= found.state is ItemState.DUE
        yield found


def _id_of(url: str, template: str, hosts: tuple[str, ...]) -> str | None:
    """Return the ID of which the template makes this URL; None where it makes it of none."""
    route = _route(template, hosts)
    if route is None or not url.startswith(route[0]) or not url.endswith(route[1]):
        return None
    item = url[len(route[0]) : len(url) - len(route[1])]
    return item if _PLAIN_ID.fullmatch(item) else None


def _place(item: str, item_url: str | None, hosts: tuple[str, ...]) -> str | None:
    """Return the canonical URL of an item; None when it leads nowhere."""
    url, _ = item_location(item, item_url, hosts)
    return canonical_url(url) if url else None


_known_place = functools.lru_cache(maxsize=_MEMO // 4)(_place)


class _Descriptions(dict[str, DiscoveredItem]):
    """Items by ID, described alike; neighbouring pages name the same ones. What is not in it is made and kept."""

    kept: ClassVar[int] = 0  # by all of them

    def __init__(self, routes: _Routes, depth: int, bound: Bound | None, year: int | None) -> None:
        super().__init__()
        self._template, self._hosts = routes
        self._depth, self._bound, self._year = depth, bound, year

    def __missing__(self, item: str) -> DiscoveredItem:
        url, host = item_location(item, self._template, self._hosts)
        bound = self._bound if url else None
        if url and self._template is None and trap(url, self._year):
            bound = "trap"
        state = ItemState.UNROUTABLE if url is None else ItemState.BOUNDED if bound else ItemState.DUE
        made = DiscoveredItem(
            item_key=bounded_key(item), item=item, url=url, host=host, depth=self._depth, state=state, bound=bound
        )
        if len(item) <= _MEMO_LENGTH:
            if _Descriptions.kept >= _MEMO:
                _descriptions.cache_clear()
                _Descriptions.kept = 0
            _Descriptions.kept += 1
            self[item] = made
        return made


@functools.lru_cache(maxsize=_MEMOS)
def _descriptions(routes: _Routes, depth: int, bound: Bound | None, year: int | None) -> _Descriptions:
    return _Descriptions(routes, depth, bound, year)


def item_location(item: str, item_url: str | None, hosts: Iterable[str] = ()) -> tuple[str | None, str | None]:
    """Return URL and host of an item by the source's template, or two Nones when it leads nowhere that is allowed.

    Without a template, an item that is a URL leads there, within the hosts that the source names.
    """
    hosts = tuple(hosts)
    if item_url is None:
        return _checked(normal_url(item), hosts) if hosts else (None, None)
    if _PLAIN_ID.fullmatch(item):
        route = _route(item_url, hosts)
        if route is not None:
            before, after, host = route
            return before + item + after, host
    return _build(item, item_url, hosts)


@functools.lru_cache(maxsize=256)
def _route(item_url: str, hosts: tuple[str, ...]) -> tuple[str, str, str] | None:
    """Return what stands before and after a plain ID, and the host; None where the ID is part of the host."""
    url, host = _build(_PROBE, item_url, hosts)
    if url is None or host is None or _PROBE in host:
        return None
    before, found, after = url.partition(_PROBE)
    return (before, after, host) if found and _PROBE not in after else None


def _build(item: str, item_url: str, hosts: tuple[str, ...]) -> tuple[str | None, str | None]:
    if item.strip() in {"", ".", ".."}:  # a dot segment would lead to another page, also when percent-encoded
        return None, None
    return _checked(normal_url(item_url.replace(_SLOT, quote(item, safe="", errors="replace"))), hosts)


def _checked(url: str | None, hosts: tuple[str, ...]) -> tuple[str | None, str | None]:
    host = host_of(url) if url else None
    if url is None or host is None or (hosts and not host_allowed(host, hosts)):
        return None, None
    return url, host
