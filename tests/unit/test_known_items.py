from __future__ import annotations

import pytest

from tasks.steps.dedupe import Identity
from tasks.steps.page import DiscoveredItem, ItemState
from worker.store.known import KnownItems
from worker.store.mentions import RANKS, Mention

SESSION = object()


def named(key: str, state: ItemState = ItemState.DUE, *, depth: int = 1) -> DiscoveredItem:
    return DiscoveredItem(item_key=key, item=key, url=None, host=None, depth=depth, state=state)


def learn(
    known: KnownItems,
    *keys: str,
    state: ItemState = ItemState.DUE,
    depth: int = 1,
    at: int = 10,
    session: object = SESSION,
) -> None:
    mention = Mention(RANKS.get(state, 2), (depth, at, "p"), state, None, None, None)
    known.learn(session, {Identity("s", key): mention for key in keys})


def unknown(known: KnownItems, *items: DiscoveredItem, at: int = 20, source: str = "s") -> list[str]:
    return [one.item_key for one in known.within(SESSION).unknown(source, items, at)]


@pytest.fixture
def known() -> KnownItems:
    return KnownItems().within(SESSION)


def test_what_was_learned_is_left_out_for_its_source(known: KnownItems) -> None:
    learn(known, "1", "2")
    assert unknown(known, named("1"), named("3"), named("2")) == ["3"]
    assert unknown(known, named("1"), source="t") == ["1"]


@pytest.mark.parametrize("depth, at", [(0, 20), (1, 9), (1, 10)])
def test_what_may_be_nearer_to_the_start_is_not_left_out(known: KnownItems, depth: int, at: int) -> None:
    learn(known, "1", depth=1, at=10)
    assert unknown(known, named("1", depth=depth), at=at) == ["1"]


def test_what_says_more_is_not_left_out(known: KnownItems) -> None:
    learn(known, "1", state=ItemState.BOUNDED)
    assert unknown(known, named("1", ItemState.BOUNDED)) == []
    assert unknown(known, named("1", ItemState.UNROUTABLE)) == ["1"]
    assert unknown(known, named("1", ItemState.DUE)) == ["1"]


def test_a_fetched_item_may_become_due_again_but_not_less(known: KnownItems) -> None:
    learn(known, "1", state=ItemState.FETCHED, depth=0)
    assert unknown(known, named("1", ItemState.DUE), at=5) == []
    assert unknown(known, named("1", ItemState.DUE)) == []
    assert unknown(known, named("1", ItemState.FETCHED)) == ["1"]


def test_another_session_knows_nothing_and_teaches_nothing(known: KnownItems) -> None:
    learn(known, "1")
    assert known.within(other := object()).unknown("s", [named("1")], 20) == [named("1")]
    learn(known, "1", session=SESSION)
    assert known.within(other).unknown("s", [named("1")], 20) == [named("1")]


def test_it_forgets_what_was_not_named_for_long_and_keeps_what_was() -> None:
    known = KnownItems(most=10).within(SESSION)
    learn(known, "often", "once")
    for number in range(100):
        learn(known, str(number))
        assert unknown(known, named("often")) == []
    assert unknown(known, named("once")) == ["once"]
    assert len(unknown(known, *(named(str(number)) for number in range(100)))) >= 80
