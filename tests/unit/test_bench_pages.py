"""The benchmarks' workload is what its description says."""

from __future__ import annotations

from collections import Counter
from itertools import islice, pairwise
from statistics import mean

import pytest
import zstandard

from benchmarks.pages import RELATED, pages
from benchmarks.work import PROFILE, understood
from tasks.errors import Truncated
from tasks.steps.page import PageResult, Payload
from tasks.steps.parse import parse

COUNT = 4000


@pytest.fixture(scope="module")
def made() -> list[Payload]:
    return list(pages(COUNT, seed=11))


@pytest.fixture(scope="module")
def results(made: list[Payload]) -> list[PageResult | None]:
    """What penstock's steps make of each page; None where they fail."""
    done = (understood(one).result for one in made)
    return [one if isinstance(one, PageResult) else None for one in done]


def test_the_same_seed_makes_the_same_pages_and_another_one_others(made: list[Payload]) -> None:
    assert list(pages(300, seed=11)) == made[:300]
    assert not {one.body for one in pages(300, seed=12)} & {one.body for one in made}


def test_a_shorter_workload_is_the_beginning_of_a_longer_one(made: list[Payload]) -> None:
    assert list(pages(50, seed=11)) == list(islice(pages(10_000_000, seed=11), 50)) == made[:50]


def test_each_page_is_fetched_later_than_the_one_before(made: list[Payload]) -> None:
    times = [one.fetched_at for one in made if one.fetched_at is not None]
    assert len(times) == COUNT
    assert all(before < after for before, after in pairwise(times))


def test_pages_have_the_size_of_the_sample_and_can_be_packed_like_it(made: list[Payload]) -> None:
    compress = zstandard.ZstdCompressor(level=3).compress
    assert 4300 < mean(len(one.body) for one in made) < 4700  # the sample has 4,527 bytes
    assert 1800 < mean(len(compress(one.body)) for one in made) < 2050  # the sample 1,934


def test_every_page_is_text(made: list[Payload]) -> None:
    for one in made:
        one.body.decode()


def test_shares_are_as_the_description_says(made: list[Payload], results: list[PageResult | None]) -> None:
    kinds: Counter[str] = Counter()
    bodies: set[bytes] = set()
    texts: dict[str, set[str]] = {}
    for payload, result in zip(made, results, strict=True):
        if result is None:
            kinds["broken"] += 1
            continue
        known = texts.setdefault(result.item_key, set())
        if payload.body in bodies:
            kinds["repeat"] += 1
        else:
            kinds["revision" if known else "fresh"] += 1
        bodies.add(payload.body)
        known.add(result.content_hash)
    share = {kind: count / COUNT for kind, count in kinds.items()}
    assert share["repeat"] == pytest.approx(0.20, abs=0.025)
    assert share["revision"] == pytest.approx(0.05, abs=0.015)
    assert share["broken"] == pytest.approx(0.01, abs=0.006)


def test_near_duplicates_have_another_item_and_most_of_an_earlier_text(results: list[PageResult | None]) -> None:
    owner: dict[str, str] = {}  # a paragraph → the item that first had it
    near = set()
    for result in filter(None, results):
        paragraphs = result.page.paragraphs
        before = Counter(owner.setdefault(one, result.item_key) for one in paragraphs)
        other, same = before.most_common(1)[0]
        if other != result.item_key:
            assert same >= len(paragraphs) - 3
            near.add(result.item_key)
    assert len(near) / COUNT == pytest.approx(0.05, abs=0.015)


def test_a_page_names_fourteen_items_and_not_itself(results: list[PageResult | None]) -> None:
    assert {len(one.discovered) for one in results if one is not None} == {RELATED}


def test_few_items_are_named_often_and_many_seldom(results: list[PageResult | None]) -> None:
    named = Counter(item.item_key for one in results if one is not None for item in one.discovered)
    by_count = [count for _, count in named.most_common()]
    assert by_count[0] > COUNT / 2
    assert sum(by_count[:100]) > sum(by_count) / 3
    assert sum(count == 1 for count in by_count) > len(by_count) / 2


def test_broken_pages_were_cut(made: list[Payload], results: list[PageResult | None]) -> None:
    broken = [payload for payload, result in zip(made, results, strict=True) if result is None]
    assert broken
    for payload in broken:
        with pytest.raises(Truncated):
            parse(payload, PROFILE)


def test_related_items_have_all_that_the_sample_has(results: list[PageResult | None]) -> None:
    kinds: Counter[str | None] = Counter()
    for result in islice(filter(None, results), 100):
        for related in result.page.related:
            assert related.title
            assert related.media_path
            assert related.uploaded_at is not None
            kinds[related.media_kind] += 1
    assert set(kinds) == {"image", "video"}
    assert all(result.page.published_at and result.page.wire_service for result in results if result is not None)
    assert all(result.page.desk_code for result in results if result is not None)
