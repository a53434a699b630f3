from __future__ import annotations

import asyncio
import gzip
import socket
import zlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import brotli
import pytest
import zstandard

from tasks.errors import FetchTimeout, Gone, HostDown, HttpError, PenstockError, Throttled, TooLarge
from tasks.fetch_ports import Fetched, NotModified, Redirect
from tests.support.fetching import AGENT, LIMIT, answer, fetched, fetching, refused, request
from tests.support.raw_site import Answer, Asked, RawSite, drip, page, raw_site
from worker.http_client import HttpSettings, _Pace
from worker.http_connections import Network
from worker.http_fetcher import HttpFetcher

TEXT = "Très bien. ".encode() * 50


async def status(asked: Asked) -> bytes:
    code = asked.target.split("/")[2].partition("?")[0]
    lines = [f"Retry-After: {asked.query('after')}"] if "after" in asked.target else []
    return page(b"some words", *lines, status=f"{code} Words")


async def redirect(asked: Asked) -> bytes:
    return page(b"over there", f"Location: {asked.query('to')}", status=f"{asked.query('status')} Moved")


async def conditional(asked: Asked) -> bytes:
    known = asked.fields.get("if-none-match") == '"v1"' or "if-modified-since" in asked.fields
    lines = ('ETag: "v1"', "Last-Modified: Sun, 01 Mar 2026 11:00:00 GMT", "Cache-Control: public, max-age=300")
    if known:
        return ("\r\n".join(["HTTP/1.1 304 Not Modified", *lines, "", ""])).encode()
    return page(TEXT, *lines)


async def silent(_: Asked) -> None:
    return None


async def late_body(asked: Asked) -> None:
    whole = page(b"nothing here", status="404 Not Found")
    await asked.send(whole[:-5])
    await asyncio.sleep(0.05)
    asked.line.transport.write(whole[-5:])
    await asyncio.sleep(60)


async def steady(asked: Asked) -> bytes:
    await asked.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1200\r\n\r\n")
    for _ in range(11):
        await asked.send(b"x" * 100)
        await asyncio.sleep(0.06)
    return b"x" * 100


async def never(_: Asked) -> None:
    await asyncio.sleep(60)


async def once(asked: Asked) -> bytes | None:
    """Answer a connection's first request and end it at the second, as a host that closes it in the same moment."""
    return page(b"once") if asked.line.requests == 1 else None


async def half_once(asked: Asked) -> bytes | None:
    if asked.line.requests == 1:
        return page(b"once")
    await half_head(asked)
    return None


async def half_head(asked: Asked) -> None:
    await asked.send(b"HTTP/1.1 200 OK\r\nContent-")


async def until_close(asked: Asked) -> None:
    await asked.send(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n" + TEXT)


async def cut(asked: Asked) -> None:
    await asked.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this")


async def cut_chunks(asked: Asked) -> None:
    await asked.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nTr\xc3\xa8s\r\n")


async def large(asked: Asked) -> bytes:
    return page(bytes(int(asked.query("size"))))


async def chunked(asked: Asked) -> None:
    await asked.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    await asked.send(b"%x\r\n%b\r\n0\r\n\r\n" % (int(asked.query("size")), bytes(int(asked.query("size")))))


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-End\r\n\r\n3\r\nTr\xc3\r\n3\r\n\xa8s \r\n"
ODD_HEAD = (
    b"HTTP/1.1 200 Fine\r\ncontent-TYPE:text/html\r\nX-Odd:   two  words \r\nX-Odd: again\r\nContent-Length: 2\r\n\r\n"
)

ANSWERS: Mapping[str, Answer] = {
    "plain": page(b"<p>Bonjour</p>", "Content-Type: text/html; charset=utf-8"),
    "empty": page(b""),
    "status": status,
    "redirect": redirect,
    "nowhere": page(b"", status="302 Found"),
    "conditional": conditional,
    "not-modified": b"HTTP/1.1 304 Not Modified\r\n\r\n",
    "silent": silent,
    "steady": steady,
    "late-body": late_body,
    "never": never,
    "once": once,
    "half-once": half_once,
    "half-head": half_head,
    "until-close": until_close,
    "cut": cut,
    "cut-chunks": cut_chunks,
    "cut-gzip": page(gzip.compress(TEXT)[:-9], "Content-Encoding: gzip"),
    "cut-br": page(brotli.compress(TEXT)[:-2], "Content-Encoding: br"),
    "cut-zstd": page(zstandard.compress(TEXT)[:-2], "Content-Encoding: zstd"),
    "large": large,
    "chunked": chunked,
    "drip": drip,
    "gzip": page(gzip.compress(TEXT), "Content-Encoding: gzip"),
    "deflate": page(zlib.compress(TEXT), "Content-Encoding: deflate"),
    "br": page(brotli.compress(TEXT), "Content-Encoding: br"),
    "zstd": page(zstandard.compress(TEXT), "Content-Encoding: zstd"),
    "sdch": page(TEXT, "Content-Encoding: sdch"),
    "no-gzip": page(TEXT, "Content-Encoding: gzip"),
    "trailers": CHUNKED + b"0\r\nX-End: yes\r\nX-More: yes\r\n\r\n",
    "interim": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + ODD_HEAD + b"ok",
    "odd-head": b"\r\n" + ODD_HEAD + b"ok",
    "raw-type": b'HTTP/1.1 200 OK\r\nContent-Type: text/\xe9\r\nETag: "\xe9"\r\nContent-Length: 0\r\n\r\n',
    "no-http": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
}


@pytest.fixture(scope="module")
def shared_site() -> Iterator[RawSite]:
    with raw_site(ANSWERS) as served:
        yield served


def test_a_page_comes_with_its_bytes_type_url_and_time(site: RawSite, fetcher: HttpFetcher) -> None:
    before = datetime.now(UTC)
    got = fetched(fetcher, request(site, "/plain/a%2Fb?Q=1"))
    assert (got.status, got.body, got.content_type) == (200, b"<p>Bonjour</p>", "text/html; charset=utf-8")
    assert got.url == site.url("/plain/a%2Fb?Q=1")
    assert before <= got.fetched_at <= datetime.now(UTC)
    assert (got.etag, got.last_modified, got.max_age) == (None, None, None)
    assert (got.request_head, got.response_head) == (b"", b"")


def test_a_request_says_who_asks_and_what_may_come_and_nothing_else(site: RawSite, fetcher: HttpFetcher) -> None:
    fetched(fetcher, request(site, "/plain/a%2Fb?Q=1"))
    assert site.asked[0].head.startswith(b"GET /plain/a%2Fb?Q=1 HTTP/1.1\r\n")
    assert site.asked[0].fields == {
        "host": site.host,
        "user-agent": AGENT,
        "accept": "*/*",
        "accept-encoding": "gzip, deflate, br, zstd",
    }


def test_validators_come_with_a_page_and_make_the_next_request_conditional(site: RawSite, fetcher: HttpFetcher) -> None:
    got = fetched(fetcher, request(site, "/conditional"))
    assert (got.etag, got.last_modified, got.max_age) == ('"v1"', "Sun, 01 Mar 2026 11:00:00 GMT", 300)
    for known in ({"etag": got.etag}, {"last_modified": got.last_modified}):
        again = answer(fetcher, request(site, "/conditional", **known))
        assert isinstance(again, NotModified)
        assert (again.url, again.etag, again.last_modified) == (got.url, got.etag, got.last_modified)
    assert [asked.fields.get("if-none-match") for asked in site.asked] == [None, '"v1"', None]
    assert [asked.fields.get("if-modified-since") for asked in site.asked] == [None, None, got.last_modified]
    assert isinstance(answer(fetcher, request(site, "/conditional", etag='"v0"')), Fetched)
    assert site.connections == 1


def test_a_page_that_is_not_modified_although_nobody_asked_is_an_error(site: RawSite, fetcher: HttpFetcher) -> None:
    error = refused(fetcher, request(site, "/not-modified"))
    assert (type(error), error.details["status"]) == (HttpError, 304)
    assert isinstance(answer(fetcher, request(site, "/not-modified", etag='"v1"')), NotModified)


@pytest.mark.parametrize("value", ['"a"\r\nCookie: x', "é", "x" * 501, ""])
def test_a_validator_that_is_no_header_is_not_sent(site: RawSite, fetcher: HttpFetcher, value: str) -> None:
    fetched(fetcher, request(site, "/plain", etag=value, last_modified=value))
    assert not {"if-none-match", "if-modified-since", "cookie"} & set(site.asked[0].fields)


def test_header_bytes_that_are_no_utf_8_harm_nobody(site: RawSite, fetcher: HttpFetcher) -> None:
    got = fetched(fetcher, request(site, "/raw-type"))
    assert got.content_type == "text/\ufffd"
    assert got.etag is None


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_comes_back_and_is_not_followed(site: RawSite, fetcher: HttpFetcher, code: int) -> None:
    path = f"/redirect/1?status={code}&to=/plain"
    assert answer(fetcher, request(site, path)) == Redirect(url=site.url(path), to=site.url("/plain"), status=code)
    assert site.targets() == [path]


@pytest.mark.parametrize(
    "to, expected",
    [("2", "/redirect/2"), ("?a=%C3%A9#top", "/redirect/1?a=%C3%A9"), ("//{host}/b", "/b"), ("../x y", "/x%20y")],
)
def test_where_a_redirect_leads_is_told_as_the_frontier_writes_it(
    site: RawSite, fetcher: HttpFetcher, to: str, expected: str
) -> None:
    got = answer(fetcher, request(site, f"/redirect/1?status=302&to={quote(to.format(host=site.host))}"))
    assert isinstance(got, Redirect)
    assert got.to == site.url(expected)


def test_of_endless_redirects_each_hop_comes_back(site: RawSite, fetcher: HttpFetcher) -> None:
    path = "/redirect?status=302&to=/redirect?status=302%26to=/redirect"
    for hop in range(1, 8):
        got = answer(fetcher, request(site, path))
        assert isinstance(got, Redirect)
        assert len(site.asked) == hop
    assert site.connections == 1


@pytest.mark.parametrize(
    "path, expected, code",
    [
        ("/status/404", Gone, 404),
        ("/status/410", Gone, 410),
        ("/status/500", HttpError, 500),
        ("/status/503", HttpError, 503),
        ("/status/403", HttpError, 403),
        ("/status/206", HttpError, 206),
        ("/status/300", HttpError, 300),
        ("/nowhere", HttpError, 302),
        ("/status/503?after=7", Throttled, 503),
        ("/status/429", Throttled, 429),
        ("/cut", HttpError, 200),
        ("/cut-chunks", HttpError, 200),
        ("/cut-gzip", HttpError, 200),
        ("/cut-br", HttpError, 200),
        ("/cut-zstd", HttpError, 200),
        ("/no-gzip", HttpError, 200),
        ("/sdch", HttpError, 200),
        ("/silent", HttpError, None),
        ("/half-head", HttpError, None),
        ("/no-http", HttpError, None),
    ],
)
def test_each_answer_that_is_no_page_has_its_error_and_its_status(
    site: RawSite, fetcher: HttpFetcher, path: str, expected: type[PenstockError], code: int | None
) -> None:
    error = refused(fetcher, request(site, path))
    assert (type(error), error.details["status"], error.details["url"]) == (expected, code, site.url(path))
    assert len(site.asked) == 1


def test_a_pause_that_a_host_asks_for_is_told_in_seconds(site: RawSite, fetcher: HttpFetcher) -> None:
    assert refused(fetcher, request(site, "/status/503?after=7")).details["retry_after"] == 7
    assert refused(fetcher, request(site, "/status/429?after=9")).details["retry_after"] == 9
    assert refused(fetcher, request(site, "/status/429")).details["retry_after"] is None


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_a_compressed_answer_arrives_inflated(site: RawSite, fetcher: HttpFetcher, coding: str) -> None:
    assert fetched(fetcher, request(site, f"/{coding}")).body == TEXT


@pytest.mark.parametrize(
    "path, body",
    [
        ("/trailers", "Très ".encode()),
        ("/interim", b"ok"),
        ("/until-close", TEXT),
        ("/odd-head", b"ok"),
        ("/empty", b""),
    ],
)
def test_a_page_is_read_in_each_form_that_http_has(site: RawSite, fetcher: HttpFetcher, path: str, body: bytes) -> None:
    assert [fetched(fetcher, request(site, path)).body for _ in range(2)] == [body, body]


@pytest.mark.parametrize("path", ["/large", "/chunked"])
def test_a_body_has_the_limit_and_not_a_byte_more(site: RawSite, fetcher: HttpFetcher, path: str) -> None:
    assert len(fetched(fetcher, request(site, f"{path}?size={LIMIT}")).body) == LIMIT
    error = refused(fetcher, request(site, f"{path}?size={LIMIT + 1}"))
    assert (type(error), error.details["status"]) == (TooLarge, 200)
    assert len(fetched(fetcher, request(site, f"{path}?size=10", max_bytes=10)).body) == 10
    assert type(refused(fetcher, request(site, f"{path}?size=11", max_bytes=10))) is TooLarge
    assert len(fetched(fetcher, request(site, f"{path}?size={LIMIT + 1}", max_bytes=LIMIT * 2)).body) == LIMIT + 1


def test_the_heads_are_kept_as_they_were_on_the_wire(site: RawSite) -> None:
    with fetching(keep_heads=True) as fetcher:
        for path in ("/odd-head", "/interim", "/odd-head"):
            got = fetched(fetcher, request(site, path, etag='"v1"'))
            assert got.request_head == site.asked[-1].head
            assert got.response_head == ODD_HEAD
    assert site.connections == 1


def test_a_connection_is_used_again_after_every_answer_that_was_read(site: RawSite, fetcher: HttpFetcher) -> None:
    for path in ("/plain", "/status/404", "/redirect?status=302&to=/x", "/zstd", "/trailers", "/late-body", "/plain"):
        answer(fetcher, request(site, path))
    assert (len(site.asked), site.connections) == (7, 1)


def test_a_connection_that_ends_as_it_is_used_again_is_no_error(site: RawSite, fetcher: HttpFetcher) -> None:
    for _ in range(2):
        assert fetched(fetcher, request(site, "/once")).body == b"once"
    assert site.connections == 2


def test_a_connection_that_ends_within_an_answer_is_one_however_often_it_was_used(
    site: RawSite, fetcher: HttpFetcher
) -> None:
    fetched(fetcher, request(site, "/half-once"))
    assert type(refused(fetcher, request(site, "/half-once"))) is HttpError
    assert (len(site.asked), site.connections) == (2, 1)


@pytest.mark.parametrize("path, code", [("/drip", 200), ("/never", None)])
def test_a_request_ends_at_its_total_deadline(site: RawSite, path: str, code: int | None) -> None:
    with fetching(timeout_seconds=0.3) as fetcher:
        error = refused(fetcher, request(site, path))
    assert (type(error), error.details["status"]) == (FetchTimeout, code)
    assert "within 0.3 seconds" in str(error)


def test_a_body_below_the_least_rate_is_given_up(site: RawSite) -> None:
    with fetching(min_rate=1024, rate_seconds=0.3) as fetcher:
        error = refused(fetcher, request(site, "/drip"))
    assert (type(error), error.details["status"]) == (FetchTimeout, 200)
    assert "less than 1024 bytes a second" in str(error)
    assert site.wait_until_left()


def test_a_body_above_the_least_rate_may_take_its_time(site: RawSite) -> None:
    with fetching(min_rate=100, rate_seconds=0.5) as fetcher:
        assert len(fetched(fetcher, request(site, "/steady")).body) == 1200


def test_the_time_of_a_body_grows_with_what_came_of_it_and_ends_at_the_deadline() -> None:
    settings = HttpSettings(user_agent="x", timeout_seconds=1, max_body_bytes=1, min_rate=100, rate_seconds=2.0)

    async def watched() -> list[float]:
        now = asyncio.get_running_loop().time()
        async with asyncio.timeout_at(now + 2.5) as deadline:
            pace = _Pace(deadline, settings)
            seen = []
            for size in (0, 199, 1, 500):
                await asyncio.sleep(0.01)
                pace.came(size)
                seen.append((deadline.when() or 0) - now)
            await asyncio.sleep(0.5)
            pace.came(1000)
            return [*seen, (deadline.when() or 0) - now]

    first, short, enough, more, last = asyncio.run(watched())
    assert 2.0 <= first == short < enough < more <= last == 2.5


def test_a_port_that_nobody_listens_on_is_a_host_that_is_down(fetcher: HttpFetcher, site: RawSite) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{reserved.getsockname()[1]}"
        asked = request(site, "/", url=f"http://{host}/", hosts=(host,), private_hosts=(host,))
        error = refused(fetcher, asked)
    assert (type(error), error.details["status"]) == (HostDown, None)


def test_a_name_that_does_not_exist_is_a_host_that_is_down(site: RawSite) -> None:
    def lookup(*_: object, **__: object) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with fetching(Network(lookup=lookup)) as fetcher:
        error = refused(fetcher, request(site, "/", url="http://no.example/", hosts=("no.example",)))
    assert type(error) is HostDown
