"""One GET request, one answer: the body within its bounds, a redirect as it comes, or one of our errors."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final, cast

import aiohttp
from yarl import URL

from tasks.errors import FetchTimeout, PenstockError, TooLarge, Unsafe
from tasks.fetch_ports import Done, Fetched, NotModified, Redirect, Request
from tasks.steps.canonical import host_of, normal_url
from tasks.steps.hosts import Target, host_named, target
from worker.answers import max_age, readable, status_error, validator, wire_error
from worker.http_connections import Connector, Network, Resolver, Response
from worker.inflate import ACCEPT_ENCODING, Inflater

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_FIELD: Final = 32_768  # bytes of one header; some policies have more than aiohttp's 8,190
_FIELDS: Final = 256
_RESOLVING: Final = 32  # names that are looked up at the same time
_REST_BYTES: Final = 65_536  # of a body that nobody wants, read so that its connection can be used again
_REST_SECONDS: Final = 1.0
_US: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings:
    """How requests are made, and what an answer may cost."""

    user_agent: str
    timeout_seconds: float  # for all of one request
    max_body_bytes: int  # as received, and without its content coding
    min_rate: int = 1024  # bytes a second in which a body must come at least …
    rate_seconds: float = 10.0  # … on the average of so many
    max_open: int = 256  # connections to be used again, of each kind; a process may have some 1,000 files open
    keep_heads: bool = False  # for the archive


@dataclass(slots=True)
class _Exchange:
    """What is known of a request under way."""

    request: Request
    begun: float
    response: Response | None = None

    @property
    def status(self) -> int | None:
        return self.response.status if self.response else None


class HttpClient:
    """Makes requests on the event loop that it is made on.

    Hosts that may be private have a session of their own, so that a connection to one never serves a source that may
    not have it.
    """

    def __init__(self, settings: HttpSettings, network: Network) -> None:
        self.loop = asyncio.get_running_loop()
        self._settings = settings
        self._threads = ThreadPoolExecutor(_RESOLVING, "penstock-dns")
        self._public = self._session(network, public=True)
        self._private = self._session(network, public=False)

    async def get(self, request: Request) -> Done:
        """Make the request. Raises nothing but what is a fault of ours."""
        exchange = _Exchange(request, self.loop.time())
        answer: Fetched | NotModified | Redirect | Exception
        try:
            answer = await self._answer(exchange)
        except PenstockError as error:
            answer = error
        response = exchange.response
        if response is None:
            return Done(request, answer, round((self.loop.time() - exchange.begun) * _US))
        sent_at = time.time_ns() / 1000 - (self.loop.time() - response.sent) * _US
        return Done(request, answer, round(response.latency * _US), max(0, round(sent_at) - request.start))

    async def close(self) -> None:
        """Close all connections. A name that is being looked up is not waited for."""
        await self._public.close()
        await self._private.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _answer(self, exchange: _Exchange) -> Fetched | NotModified | Redirect:
        request = exchange.request
        where = target(request.url, request.hosts)
        session = self._private if host_named(where.host, request.private_hosts) else self._public
        ends = exchange.begun + self._settings.timeout_seconds
        try:
            async with asyncio.timeout_at(ends) as deadline:
                asked = session.get(_url(where), headers=_conditions(request), allow_redirects=False)
                response = exchange.response = cast("Response", await asked)
                if response.status == HTTPStatus.OK:
                    async with response:
                        body = await self._body(response, request, deadline)
                        return self._page(where.url, response, body)
        except TimeoutError as error:
            raise self._late(exchange, where.url, ends) from error
        except (aiohttp.ClientError, OSError, UnicodeError) as error:
            raise wire_error(error, where.url, exchange.status) from error
        except PenstockError as error:
            error.details.update(url=where.url, status=exchange.status)
            raise
        async with response:
            await _read_rest(response)
        return _no_page(request, where.url, response)

    async def _body(self, response: Response, request: Request, deadline: asyncio.Timeout) -> bytes:
        """Read and inflate the body; never holds much more than it may have, and stops where it may not go on."""
        limit = self._settings.max_body_bytes if request.max_bytes is None else request.max_bytes
        if (response.content_length or 0) > limit and not request.robots:
            message = f"the host announces {response.content_length} bytes, the limit is {limit}"
            raise TooLarge(message)
        inflater = Inflater(response.headers.get("Content-Encoding", ""), limit)
        pace = _Pace(deadline, self._settings)
        try:
            async for piece in response.content.iter_any():
                inflater.feed(piece)
                pace.came(len(piece))
        except TooLarge:
            if request.robots:
                return inflater.so_far()
            raise
        return inflater.finish()

    def _page(self, url: str, response: Response, body: bytes) -> Fetched:
        kept = self._settings.keep_heads
        return Fetched(
            url=url,
            status=response.status,
            body=body,
            content_type=readable(response.headers.get("Content-Type")),
            fetched_at=datetime.now(UTC),
            etag=validator(response.headers.get("ETag")),
            last_modified=validator(response.headers.get("Last-Modified")),
            max_age=max_age(response.headers),
            request_head=_request_head(response.request_info) if kept else b"",
            response_head=response.head if kept else b"",
        )

    def _late(self, exchange: _Exchange, url: str, ends: float) -> FetchTimeout:
        message = f"the answer did not arrive within {self._settings.timeout_seconds:g} seconds"
        if self.loop.time() < ends:
            message = f"the body comes at less than {self._settings.min_rate} bytes a second"
        return FetchTimeout(message, url=url, status=exchange.status)

    def _session(self, network: Network, *, public: bool) -> aiohttp.ClientSession:
        settings = self._settings
        resolver = Resolver(network, self._threads, public=public)
        connector = Connector(
            network, resolver, public=public, max_open=settings.max_open, keep_heads=settings.keep_heads
        )
        return aiohttp.ClientSession(
            connector=connector,
            headers={
                "User-Agent": settings.user_agent,
                "Accept": "*/*",
                "Accept-Encoding": ACCEPT_ENCODING,
            },
            response_class=Response,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(),  # none of its own: _answer has the deadline
            auto_decompress=False,  # Inflater bounds what comes out and tells a stream that ends early
            trust_env=False,  # a proxy variable of the environment would connect for us, past the address check
            max_line_size=_FIELD,
            max_field_size=_FIELD,
            max_headers=_FIELDS,
        )


class _Pace:
    """Puts the deadline off, within what there was, from one portion of a body to the next that comes in time."""

    def __init__(self, deadline: asyncio.Timeout, settings: HttpSettings) -> None:
        self._loop = asyncio.get_running_loop()
        self._deadline = deadline
        self._ends = deadline.when()
        self._seconds = settings.rate_seconds
        self._portion = settings.min_rate * settings.rate_seconds
        self._came = 0
        self._due = 0.0
        self.came(0)

    def came(self, size: int) -> None:
        """Take note of ``size`` bytes."""
        self._came += size
        if self._came >= self._due:
            self._due = self._came + self._portion
            within = self._loop.time() + self._seconds
            self._deadline.reschedule(within if self._ends is None else min(self._ends, within))


def _url(where: Target) -> URL:
    """Return the URL for aiohttp, which reads it with a parser of its own; both must see the same host in it."""
    with contextlib.suppress(ValueError):
        url = URL(where.url, encoded=True)
        if url.host_port_subcomponent == where.host:
            return url
    raise Unsafe(f"a URL that is read in two ways is not fetched: {where.url!r}")


def _conditions(request: Request) -> Mapping[str, str]:
    """Return what makes the request a conditional one (RFC 9110, section 13.1)."""
    conditions = {"If-None-Match": validator(request.etag), "If-Modified-Since": validator(request.last_modified)}
    return {name: value for name, value in conditions.items() if value}


def _no_page(request: Request, url: str, response: Response) -> NotModified | Redirect:
    """Tell what an answer says that has no page; raises the error of its status."""
    status, headers = response.status, response.headers
    if status in _REDIRECTS and "Location" in headers:
        return _redirect(request, url, status, headers["Location"])
    if status == HTTPStatus.NOT_MODIFIED and _conditions(request):
        etag, modified = validator(headers.get("ETag")), validator(headers.get("Last-Modified"))
        return NotModified(url=url, fetched_at=datetime.now(UTC), etag=etag, last_modified=modified)
    raise status_error(status, headers, url)


def _redirect(request: Request, url: str, status: int, location: str) -> Redirect:
    hosts = request.hosts
    if request.robots:
        hosts = tuple(filter(None, [host_of(normal_url(location, url) or "")]))
    try:
        to = target(location, hosts, base=url).url
    except Unsafe as error:
        raise Unsafe(f"the redirect may not be followed: {error}", url=url, status=status) from error
    return Redirect(url=url, to=to, status=status)


async def _read_rest(response: Response) -> None:
    """Read a body that nobody wants, when that is soon done; else the connection is closed with the response."""
    size = 0
    with contextlib.suppress(TimeoutError, aiohttp.ClientError, OSError):
        async with asyncio.timeout(_REST_SECONDS):
            async for piece in response.content.iter_any():
                size += len(piece)
                if size > _REST_BYTES:
                    return


def _request_head(asked: aiohttp.RequestInfo) -> bytes:
    """Return the head of a request as aiohttp writes it."""
    fields = [f"{name}: {value}" for name, value in asked.headers.items()]
    return "\r\n".join([f"{asked.method} {asked.url.raw_path_qs} HTTP/1.1", *fields, "", ""]).encode()
