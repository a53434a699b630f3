"""The site farm: its pages are what penstock reads, its reach is what a walk finds, its rules see what is wrong."""

from __future__ import annotations

import pytest

from tasks.steps.page import Payload, SourceProfile
from tasks.steps.parse import parse
from tests.support.farm import rules
from tests.support.farm.log import CUT, DROPPED, Asked, parsed
from tests.support.farm.sites import NAMED, PLACES, ROOT, Robots, Site, reach

SITE = Site(number=4, seed=9, items=80, delay_seconds=0.5, concurrency=2, gone_every=13, robots=Robots(digit="7"))


def _asked(
    begun_ms: int, path: str = "/news/5000001", *, status: int = 200, under_way: int = 1, after: int = 0
) -> Asked:
    return Asked(begun_ms * 1000, begun_ms * 1000 + 20_000, SITE.number, path, status, under_way, after, "me")


def _wrong(*asked: Asked) -> list[str]:
    return rules.broken([SITE], [_asked(0, "/robots.txt"), *asked])


def test_a_page_is_read_as_it_was_written() -> None:
    item = SITE.item(3)
    body = SITE.page(item)
    page = parse(Payload(source=SITE.name, item=item, body=body), SourceProfile(name=SITE.name))
    assert [one.id for one in page.related] == SITE.named(3)
    assert page.related[0].id == SITE.item(SITE.first + 2 * SITE.fan + 1)  # its first child
    assert len(page.related) <= NAMED
    assert page.published_at is not None
    assert 4_000 < len(body) < 6_500
    assert body == SITE.page(item) != SITE.page(SITE.item(4))


def test_all_of_a_site_is_reached_from_its_root() -> None:
    plain = Site(number=0, seed=1, items=300)
    assert reach(plain).pages == {plain.item(number) for number in range(300)}
    found = reach(SITE)
    assert found.gone == {SITE.item(number) for number in range(13, 80, 13)} - found.disallowed
    assert found.disallowed
    assert all(item.endswith("7") for item in found.disallowed)
    named = {item for page in found.pages for item in SITE.named(int(page) % PLACES)}
    assert named == (found.pages | found.gone | found.disallowed) - {SITE.item(ROOT)}


def test_a_host_without_robots_txt_for_want_of_a_server_has_no_page_but_what_was_given() -> None:
    site = Site(number=0, seed=1, items=300, robots=Robots(status=500))
    assert reach(site).pages == {site.item(ROOT)}


def test_a_line_of_the_log_is_read_back() -> None:
    one = _asked(7, status=503, after=4)
    assert parsed(one.line().strip()) == one


def test_a_crawl_at_its_rate_breaks_no_rule() -> None:
    assert _wrong(*(_asked(at) for at in range(500, 9000, 500))) == []
    assert _wrong(_asked(500), _asked(1000 - 190), _asked(1500 - 190)) == []  # a little jitter, which does not add up


@pytest.mark.parametrize(
    "asked, told",
    [
        ([_asked(500), _asked(790)], "0.210 s too early"),
        ([_asked(at) for at in range(500, 9000, 480)], "too early"),  # each only a little
        ([_asked(500), _asked(9000), _asked(9250)], "too early"),  # a pause is not saved up
        ([_asked(500, under_way=3)], "3 requests under way"),
        ([_asked(500, "/news/5000017")], "is disallowed"),
        ([_asked(500, status=503, after=4), _asked(3000)], "after it had asked for a pause"),
    ],
)
def test_what_is_wrong_is_seen(asked: list[Asked], told: str) -> None:
    wrong = _wrong(*asked)
    assert wrong
    assert all(told in one for one in wrong)


@pytest.mark.parametrize("robots", [[], [_asked(0, "/robots.txt", status=500)], [_asked(600, "/robots.txt")]])
def test_a_page_before_robots_txt_is_seen(robots: list[Asked]) -> None:
    wrong = rules.breaches(rules.against_robots, [SITE], [*robots, _asked(500)])
    assert wrong == ["site-04: /news/5000001 was asked for before robots.txt was known"]


def test_only_what_was_turned_away_does_not_count_as_asked() -> None:
    asked = [_asked(at, status=status) for at, status in enumerate((200, CUT, DROPPED, 503, 404))]
    assert rules.times_asked(asked) == {"5000001": 3}
