from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.steps.backoff import backoff_us
from tasks.steps.canonical import MAX_KEY, bounded_key, canonical_url
from tasks.steps.follow import discover, item_location
from tasks.steps.page import Bound, DiscoveredItem, ItemState, ParsedPage, Payload, Related, SourceProfile

PROFILE = SourceProfile(name="a", item_url="https://Quay.example/news/{id}?full=1", max_depth=2, max_items_per_page=3)
DUE, BOUNDED, UNROUTABLE = ItemState.DUE, ItemState.BOUNDED, ItemState.UNROUTABLE


def found(
    ids: list[str], profile: SourceProfile = PROFILE, *, depth: int = 0, item: str | None = None, url: str | None = None
) -> tuple[DiscoveredItem, ...]:
    page = ParsedPage(parser="json", parser_version=1, related=tuple(Related(id=one) for one in ids))
    return discover(page, Payload(source="a", body=b"", depth=depth, item=item, url=url), profile)


def test_each_item_is_named_once_in_the_order_of_the_page() -> None:
    items = found(["3", "1", "3", "2", "1"])
    assert [one.item_key for one in items] == ["3", "1", "2"]
    assert items[0] == DiscoveredItem(
        item_key="3", item="3", url="https://quay.example/news/3?full=1", host="quay.example", depth=1, state=DUE
    )


def test_a_page_does_not_lead_to_itself() -> None:
    assert [one.item for one in found(["1", "2"], item="2")] == ["1"]
    assert [one.item for one in found(["1", "2"], url="HTTPS://quay.example/news/2?full=1&utm_source=x#top")] == ["1"]


@pytest.mark.parametrize(
    "changes, depth, states",
    [
        ({}, 0, [DUE, DUE, DUE, BOUNDED]),
        ({}, 1, [DUE, DUE, DUE, BOUNDED]),
        ({}, 2, [BOUNDED] * 4),
        ({"max_depth": 0}, 0, [BOUNDED] * 4),
        ({"item_url": None}, 0, [UNROUTABLE] * 4),
        ({"item_url": None}, 9, [UNROUTABLE] * 4),
        ({"item_url": "ftp://quay.example/{id}"}, 0, [UNROUTABLE] * 4),
        ({"hosts": ("other.example",)}, 0, [UNROUTABLE] * 4),
        ({"hosts": ("QUAY.example",), "max_items_per_page": 9}, 0, [DUE] * 4),
        ({"hosts": ("quay.example",), "item_url": "http://quay.example:81/{id}"}, 0, [UNROUTABLE] * 4),
        ({"hosts": ("quay.example:81",), "item_url": "http://quay.example:81/{id}"}, 0, [DUE, DUE, DUE, BOUNDED]),
        (
            {"hosts": ("1.example", "3.example"), "item_url": "http://{id}.example/"},
            0,
            [DUE, UNROUTABLE, DUE, UNROUTABLE],
        ),
    ],
)
def test_bounds_and_routes_decide_the_state(changes: dict[str, object], depth: int, states: list[ItemState]) -> None:
    items = found(["1", "2", "3", "4"], replace(PROFILE, **changes), depth=depth)  # type: ignore[arg-type]
    assert [one.state for one in items] == states
    assert {one.depth for one in items} == {depth + 1}


@pytest.mark.parametrize(
    "item, url",
    [
        ("a b/c?d#e", "https://quay.example/news/a%20b%2Fc%3Fd%23e?full=1"),
        ("é", "https://quay.example/news/%C3%A9?full=1"),
        ("{id}", "https://quay.example/news/%7Bid%7D?full=1"),
        ("utm_source", "https://quay.example/news/utm_source?full=1"),
        ("..", None),
        (".", None),
        (" ", None),
    ],
)
def test_an_id_stays_one_segment_of_the_url(item: str, url: str | None) -> None:
    assert item_location(item, PROFILE.item_url)[0] == url


def test_a_template_that_carries_the_id_where_trackers_stand_keeps_it() -> None:
    assert item_location("7", "https://quay.example/?fbclid={id}")[0] == "https://quay.example/?fbclid=7"


@given(ids=st.lists(st.text(max_size=12) | st.text(st.characters(), min_size=600, max_size=900), max_size=6))
def test_no_id_raises_or_leaves_the_host(ids: list[str]) -> None:
    try:
        "".join(ids).encode()
    except UnicodeEncodeError:
        return
    items = found(ids)
    assert all(one.host == "quay.example" and (one.url or "").startswith("https://quay.example/news/")
               for one in items if one.state is not UNROUTABLE)  # fmt: skip
    assert all(len(one.item_key.encode()) <= MAX_KEY for one in items)


@given(
    ids=st.lists(st.sampled_from(["1", "2", "a b", "é", "..", "{id}", "x" * 100, "x" * 101, "é" * 600]), max_size=6),
    item_url=st.sampled_from([None, "http://{id}.example/", "https://quay.example/n/{id}?a=1", "ftp://a/{id}"]),
    hosts=st.sampled_from([(), ("quay.example",), ("1.example",)]),
    bounds=st.tuples(st.integers(0, 3), st.integers(0, 4)),
    own=st.none() | st.sampled_from(["1", "a b"]),
)
def test_what_is_found_depends_on_nothing_that_was_found_before(
    ids: list[str], item_url: str | None, hosts: tuple[str, ...], bounds: tuple[int, int], own: str | None
) -> None:
    depth, most = bounds
    profile = SourceProfile(name="a", item_url=item_url, hosts=hosts, max_depth=2, max_items_per_page=most)
    own_url = (item_url or "http://h/{id}").replace("{id}", own) if own else None
    items = found(ids, profile, depth=depth, url=own_url)
    expected: list[DiscoveredItem] = []
    for one in dict.fromkeys(ids):
        url, host = item_location(one, item_url, hosts)
        if url and own_url and canonical_url(url) == canonical_url(own_url):
            continue
        routed = DUE if len(expected) < most and depth < 2 else BOUNDED
        state = routed if url else UNROUTABLE
        beyond: Bound = "page" if depth < 2 else "depth"
        bound = beyond if state is BOUNDED else None
        key = bounded_key(one)
        expected.append(
            DiscoveredItem(item_key=key, item=one, url=url, host=host, depth=depth + 1, state=state, bound=bound)
        )
    assert items == tuple(expected)


@given(
    attempt=st.integers(-1, 10_000),
    base=st.integers(0, 10**9),
    cap=st.integers(0, 10**13),
    draw=st.floats(0, 1, exclude_max=True),
)
def test_a_delay_is_within_its_jitter_and_cap(attempt: int, base: int, cap: int, draw: float) -> None:
    delay = backoff_us(attempt, base_us=base, cap_us=cap, draw=draw)
    assert 0 <= delay <= min(cap, base << min(max(attempt, 0), 40))


def test_delays_double_until_the_cap() -> None:
    delays = [backoff_us(attempt, base_us=1_000, cap_us=6_000, draw=0.5) for attempt in range(5)]
    assert delays == [500, 1_000, 2_000, 3_000, 3_000]


def test_a_url_of_endlessly_many_is_bounded_and_says_why() -> None:
    site = "https://quay.example"
    profile = SourceProfile(name="s", hosts=("quay.example",), max_depth=1)
    named = [f"{site}/a", f"{site}/x/y/x/y/x/y/x/y", f"{site}/calendar/2040/01"]
    at = datetime(2024, 5, 6, tzinfo=UTC)
    payload = Payload(source="s", body=b"", url=f"{site}/", fetched_at=at)
    page = ParsedPage(parser="p", parser_version=1, related=[Related(id=one) for one in named])
    assert [(one.state, one.bound) for one in discover(page, payload, profile)] == [
        (ItemState.DUE, None),
        (ItemState.BOUNDED, "trap"),
        (ItemState.BOUNDED, "trap"),
    ]
