from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from urllib.response import addinfourl

import pytest

from tasks.errors import Gone, HttpError, Throttled
from tasks.fetch_ports import Answer, Fetched, Request
from worker.demo.model import Kind, Site
from worker.demo.plants import SLOW_SECONDS
from worker.demo.server import DemoServer, serve
from worker.demo.site import build_site
from worker.http_client import HttpSettings
from worker.http_fetcher import HttpFetcher


@pytest.fixture(scope="module")
def site() -> Site:
    return build_site(3, 40)


@pytest.fixture
def server(site: Site) -> Iterator[DemoServer]:
    with serve(site) as running:
        yield running


def get(url: str) -> tuple[int, str, str | None, bytes]:
    """Return status, content type, Retry-After and body."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=20) as answer:
            return _told(answer)
    except urllib.error.HTTPError as error:
        with error:
            return _told(error)


def _told(answer: addinfourl) -> tuple[int, str, str | None, bytes]:
    assert answer.status is not None
    return answer.status, answer.headers["Content-Type"], answer.headers["Retry-After"], answer.read()


def test_every_page_is_served_as_the_site_has_it(server: DemoServer, site: Site) -> None:
    for page in site.pages.values():
        for visit in (1, 2):
            expected = page.answer(visit)
            if not expected.delay_seconds:
                status, content_type, retry_after, body = get(server.item_url(page.id))
                assert (status, content_type, body) == (expected.status, expected.content_type, expected.body)
                assert retry_after == (None if expected.retry_after is None else str(expected.retry_after))


def test_the_fetcher_gets_from_each_page_what_is_planted_there(server: DemoServer, site: Site) -> None:
    host = f"127.0.0.1:{server.port}"
    fetcher = HttpFetcher(HttpSettings(user_agent="test", timeout_seconds=20, max_body_bytes=100_000))
    fetcher.start([Request(item, server.item_url(item), (host,), (host,)) for item in site.pages])
    answers: dict[str, Answer] = {}
    while fetcher.under_way():
        answers |= {one.request.token: one.answer for one in fetcher.ended(20)}
    fetcher.close()
    refusals = {Kind.MISSING: Gone, Kind.WITHDRAWN: Gone, Kind.BROKEN: HttpError, Kind.BUSY_ONCE: Throttled}
    for item, answer in answers.items():
        page = site.pages[item]
        assert type(answer) is refusals.get(page.kind, Fetched)
        if isinstance(answer, Fetched):
            assert answer.body == page.answer(1).body


def test_what_the_site_does_not_have_is_not_found(server: DemoServer) -> None:
    assert get(server.item_url("1"))[0] == 404
    assert get(f"{server.url}/nothing")[0] == 404


def test_robots_txt_allows_the_news(server: DemoServer) -> None:
    status, _, _, body = get(f"{server.url}/robots.txt")
    assert status == 200
    assert b"Disallow: /admin/" in body
    assert b"/news" not in body


def test_the_log_has_each_request_with_its_status_and_time(server: DemoServer, site: Site) -> None:
    (slow,) = site.of_kind(Kind.SLOW)
    asked = [site.of_kind(Kind.MISSING)[0], slow, site.start[0]]
    for item in asked:
        get(server.item_url(item))
    assert [(line.id, line.status) for line in server.log] == [(asked[0], 404), (asked[1], 200), (asked[2], 200)]
    assert server.log[2].at - server.log[1].at >= SLOW_SECONDS


def test_after_an_edit_edited_pages_are_other_ones(server: DemoServer, site: Site) -> None:
    changed = site.of_kind(Kind.EDITED, Kind.RESHUFFLED)
    items = (*changed, *site.start)
    before = {item: get(server.item_url(item))[3] for item in items}
    server.edit()
    after = {item: get(server.item_url(item))[3] for item in items}
    assert {item for item in items if before[item] != after[item]} == set(changed)


def test_a_port_that_is_taken_is_an_error_and_leaves_no_thread(server: DemoServer, site: Site) -> None:
    with pytest.raises(OSError, match="address already in use"), serve(site, port=server.port):
        pass


def test_a_server_that_was_closed_listens_no_more(site: Site) -> None:
    with serve(site) as server:
        url = server.item_url(site.start[0])
        assert get(url)[0] == 200
    with pytest.raises(urllib.error.URLError):
        get(url)
