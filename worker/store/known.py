"""Related items that are known to be stored: a cache that may forget, never one that decides.

It only leaves out what could not change a row. That holds because of what an item's row never does: it is not deleted,
its place only comes nearer to the start, and its state never says less again than that there is work in hand. It
learns what was committed, and forgets all when the connection to the database is another one: a standby that took over
may lack the last commits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from tasks.steps.dedupe import Identity
from tasks.steps.page import DiscoveredItem
from worker.store.mentions import IN_HAND, RANKS, Mention

MOST: Final = 50_000  # items of a generation; there are two, and an item takes about 200 bytes

_Bound = tuple[int, int, int]  # the row's rank is not below, its place (depth, time) not beyond this
_NONE: Final[dict[str, _Bound]] = {}


class KnownItems:
    """The items that were named last, in one session with the database.

    Two generations: when the young one is full it becomes the old one, and what is still named becomes young again.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._forget(None)

    def _forget(self, session: object) -> None:
        self._session = session
        self._young: dict[str, dict[str, _Bound]] = {}
        self._old: dict[str, dict[str, _Bound]] = {}
        self._count = 0

    def within(self, session: object) -> KnownItems:
        """Return what is known in a session, which is nothing in a new one."""
        if session is not self._session:
            self._forget(session)
        return self

    def unknown(self, source: str, named: Sequence[DiscoveredItem], at: int) -> list[DiscoveredItem]:
        """Return the items whose rows may change because a page seen at this time names them."""
        young, old = self._young.get(source, _NONE), self._old.get(source, _NONE)
        found: list[DiscoveredItem] = []
        for item in named:
            bound = young.get(item.item_key)
            if bound is None and (bound := old.get(item.item_key)) is not None:
                self._keep(source, item.item_key, bound)
            if bound is None or bound[0] < RANKS.get(item.state, IN_HAND) or bound[1:] >= (item.depth, at):
                found.append(item)
        return found

    def learn(self, session: object, mentions: Mapping[Identity, Mention]) -> None:
        """Take note of what the rows of items say at least, once a session has committed it."""
        if session is not self._session:
            return
        for (source, item_key), (rank, (depth, named_at, _), *_) in mentions.items():
            self._keep(source, item_key, (min(rank, IN_HAND), depth, named_at))

    def _keep(self, source: str, item_key: str, bound: _Bound) -> None:
        if self._count >= self._most:
            self._young, self._old, self._count = {}, self._young, 0
        items = self._young.setdefault(source, {})
        self._count += item_key not in items
        items[item_key] = bound
