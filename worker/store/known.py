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

MOST: Final = 50_000  # items of a generation; there are two, and an item takes about 150 bytes

_Space = tuple[str, int, int]  # a source; the row's rank is not below this, its place not beyond this depth and
_Times = dict[str, int]  # by item key: this time
_NONE: Final[_Times] = {}
_ANY_TIME: Final = -(2**63)


class KnownItems:
    """The items that were named last, in one session with the database.

    Two generations: when the young one is full it becomes the old one, and what is still named becomes young again.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._forget(None)

    def _forget(self, session: object) -> None:
        self._session = session
        self._young: dict[_Space, _Times] = {}
        self._old: dict[_Space, _Times] = {}
        self._count = 0

    def within(self, session: object) -> KnownItems:
        """Return what is known in a session, which is nothing in a new one."""
        if session is not self._session:
            self._forget(session)
        return self

    def unknown(self, source: str, named: Sequence[DiscoveredItem], at: int) -> list[DiscoveredItem]:
        """Return the items whose rows may change because a page seen at this time names them."""
        if not named:
            return []
        state, depth = named[0].state, named[0].depth
        space = (source, RANKS.get(state, IN_HAND), depth)
        find = self._young.get(space, _NONE).get
        found: list[DiscoveredItem] = []
        others: list[DiscoveredItem] = []
        for item in named:
            if item.state is not state or item.depth != depth:
                others.append(item)
            elif find(item.item_key, at) >= at:
                found.append(item)
        if old := self._old.get(space):
            found = [item for item in found if not self._renewed(space, old, item.item_key, at)]
        return found + self.unknown(source, others, at) if others else found

    def _renewed(self, space: _Space, old: _Times, item_key: str, at: int) -> bool:
        """Keep what is still named; tell whether a page seen at this time cannot change it."""
        time = old.get(item_key)
        if time is not None:
            self._keep(space, item_key, time)
        return time is not None and time < at

    def learn(self, session: object, mentions: Mapping[Identity, Mention]) -> None:
        """Take note of what the rows of items say at least, once a session has committed it."""
        if session is not self._session:
            return
        for (source, item_key), mention in mentions.items():
            depth, named_at, _ = mention.place
            if mention.rank > IN_HAND:  # a page itself, which mostly is named from one that is no deeper
                depth, named_at = depth + 1, _ANY_TIME
            self._keep((source, min(mention.rank, IN_HAND), depth), item_key, named_at)

    def _keep(self, space: _Space, item_key: str, time: int) -> None:
        times = self._young.get(space)
        if times is None or self._count >= self._most:
            times = self._make_room(space)
        earlier = times.get(item_key)
        if earlier is None:
            self._count += 1
        if earlier is None or time < earlier:
            times[item_key] = time

    def _make_room(self, space: _Space) -> _Times:
        if self._count >= self._most:
            self._young, self._old, self._count = {}, self._young, 0
        return self._young.setdefault(space, {})
