"""Start URLs: how their pages are read, what they lead to, and when they are looked at again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tasks.steps.page import DiscoveredItem, ItemState, Payload, Recrawl, SourceProfile, Start
from tasks.steps.parse import choose
from tasks.steps.recrawl import MOST_US, recrawl_of
from tasks.steps.understand import understand

MINUTE = 60_000_000
DAY = 1440 * MINUTE
SITE = "https://quay.example"
INDEX, FRONT, ODD = f"{SITE}/sitemap.xml", f"{SITE}/", f"{SITE}/latest"
PROFILE = SourceProfile(
    name="quay",
    hosts=("quay.example",),
    parser="vardump",
    item_url=SITE + "/news/{id}",
    start=(
        Start(url=INDEX, every=15 * MINUTE),
        Start(url=FRONT, every=5 * MINUTE),
        Start(url=ODD, every=MINUTE, parser="json"),
    ),
)
HTML = b"<!doctype html><html><title>Quay</title><body><a href='/news/7'>Seven</a> <a href='/about'>About</a></body>"


def sitemap(*urls: str, root: str = "urlset", entry: str = "url") -> bytes:
    entries = "".join(f"<{entry}><loc>{url}</loc></{entry}>" for url in urls)
    return f'<?xml version="1.0"?><{root}>{entries}</{root}>'.encode()


def index(*urls: str) -> bytes:
    return sitemap(*urls, root="sitemapindex", entry="sitemap")


def found(body: bytes, profile: SourceProfile = PROFILE, **more: object) -> tuple[DiscoveredItem, ...]:
    return understand(Payload(source="quay", body=body, **more), profile).discovered  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "url,body,parser",
    [
        (INDEX, index(f"{SITE}/1.xml"), "sitemap"),
        (INDEX + "#top", sitemap(f"{SITE}/1"), "sitemap"),
        (FRONT, HTML, "links"),
        (FRONT + "?utm_source=x", HTML, "links"),
        (FRONT, b"<rss><channel><title>Quay</title></channel></rss>", "feed"),
        (FRONT, b"Thu Feb 24, 2022 07:41:09\n", "vardump"),  # as the source's pages are
        (ODD, HTML, "json"),
        (f"{SITE}/other", HTML, "vardump"),
        (f"{SITE}/other", sitemap(f"{SITE}/1"), "vardump"),
    ],
)
def test_a_start_url_is_read_as_a_list_whatever_the_sources_pages_are(url: str, body: bytes, parser: str) -> None:
    assert choose(Payload(source="quay", body=body, url=url), PROFILE) == parser


def test_a_sitemap_of_an_index_is_read_as_one_and_its_pages_are_not() -> None:
    named = {"url": f"{SITE}/1.xml", "parent": INDEX}
    assert choose(Payload(source="quay", body=sitemap(f"{SITE}/1"), **named), PROFILE) == "sitemap"  # type: ignore[arg-type]
    assert choose(Payload(source="quay", body=HTML, **named), PROFILE) == "vardump"  # type: ignore[arg-type]


def test_what_comes_under_an_id_is_no_start_url() -> None:
    assert choose(Payload(source="quay", body=HTML, url=FRONT, item="1"), PROFILE) == "vardump"


def test_what_a_list_names_is_as_deep_as_the_list_and_known_by_its_id() -> None:
    body = sitemap(f"{SITE}/news/7", f"{SITE}/about", "https://elsewhere.example/1", INDEX)
    assert [(one.item_key, one.item, one.url, one.depth, one.state) for one in found(body, url=INDEX)] == [
        ("7", "7", f"{SITE}/news/7", 0, ItemState.DUE),
        (f"{SITE}/about", f"{SITE}/about", f"{SITE}/about", 0, ItemState.DUE),
        ("https://elsewhere.example/1", "https://elsewhere.example/1", None, 0, ItemState.UNROUTABLE),
    ]


def test_links_of_a_front_page_are_followed() -> None:
    assert [one.item_key for one in found(HTML, url=FRONT)] == ["7", f"{SITE}/about"]


def test_the_one_entry_of_a_feed_at_a_start_url_is_followed() -> None:
    entry = "<item><title>One</title><link>https://quay.example/news/1</link><description>Text.</description></item>"
    feed = f"<rss><channel><title>Quay</title>{entry}</channel></rss>".encode()
    assert [one.item_key for one in found(feed, url=FRONT)] == ["1"]


def test_only_the_sitemaps_of_a_start_url_are_lists_so_that_none_goes_on_without_end() -> None:
    child = index(f"{SITE}/2.xml")
    (named,) = found(child, url=f"{SITE}/1.xml", parent=INDEX)
    assert (named.depth, named.state) == (0, ItemState.DUE)
    profile = replace(PROFILE, parser=None, item_url=None)
    (further,) = found(index(f"{SITE}/3.xml"), profile, url=f"{SITE}/2.xml", parent=f"{SITE}/1.xml")
    assert (further.depth, further.state, further.bound) == (1, ItemState.BOUNDED, "depth")


def test_a_list_has_a_bound_of_its_own() -> None:
    body = sitemap(*(f"{SITE}/news/{one}" for one in range(60)))
    assert {one.state for one in found(body, url=INDEX)} == {ItemState.DUE}
    cut = found(body, replace(PROFILE, max_items_per_list=2), url=INDEX)
    assert [one.bound for one in cut] == [None, None, *["page"] * 58]


def test_a_start_url_is_looked_at_at_its_own_interval() -> None:
    assert recrawl_of(FRONT, PROFILE) == Recrawl(5 * MINUTE, 5 * MINUTE, is_list=True)
    assert recrawl_of(f"{SITE}/news/1", PROFILE) is None
    again = replace(PROFILE, recrawl_min=60 * MINUTE)
    assert recrawl_of(FRONT, again) == Recrawl(5 * MINUTE, 5 * MINUTE, is_list=True)
    assert recrawl_of(f"{SITE}/news/1", again) == Recrawl(60 * MINUTE, MOST_US)


def test_a_sitemap_is_looked_at_the_less_it_changes_once_a_day_at_least() -> None:
    payload = Payload(source="quay", body=sitemap(f"{SITE}/news/1"), url=f"{SITE}/1.xml", parent=INDEX)
    assert understand(payload, PROFILE).recrawl == Recrawl(15 * MINUTE, DAY, is_list=True)
    other = replace(payload, body=sitemap(f"{SITE}/news/1", f"{SITE}/news/2"))
    assert understand(other, PROFILE).content_hash != understand(payload, PROFILE).content_hash


def test_relative_links_of_a_list_are_relative_to_where_redirects_led() -> None:
    html = b"<!doctype html><title>Quay</title><a href='7'>Seven</a> <a href='../about'>About</a> <a href=''>Here</a>"
    moved = {"location": f"{SITE}/news/index/"}
    profile = replace(PROFILE, item_url=None)
    assert [one.url for one in found(html, profile, url=FRONT, extra=moved)] == [
        f"{SITE}/news/index/7",
        f"{SITE}/news/about",
    ]
