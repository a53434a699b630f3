"""HTTP for the fetch task: many requests at a time on one event loop, politely, and to public addresses only."""

from __future__ import annotations

import asyncio
import functools
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Protocol
from weakref import WeakValueDictionary

import aiohttp
from aiohttp.abc import ResolveResult
from yarl import URL

from tasks.errors import HostBusy, HttpError, Transient, Unsafe
from tasks.ports import Fetched, ItemLease
from tasks.steps.address import is_public
from tasks.steps.canonical import normal_url
from tasks.steps.page import SourceProfile
from worker.answers import UnsafeAddress, read_body, status_error, wire_error
from worker.inflate import ACCEPT_ENCODING
from worker.loop_thread import LoopThread

_MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_GATE_PAUSE = 5.0  # seconds until an item comes again when the gate does not answer
_US = 1_000_000  # microseconds in a second


class Gate(Protocol):
    """Says when the next request to a host may start. Called from a thread of its own, so it may block shortly."""

    def reserve(self, host: str, *, delay_us: int, max_wait_us: int) -> int:
        """Book the host's next slot and return its distance in microseconds; above ``max_wait_us`` none is booked."""


class LocalGate:
    """A gate for one process, for when there is no shared one."""

    def __init__(self) -> None:
        self._free: dict[str, int] = {}

    def reserve(self, host: str, *, delay_us: int, max_wait_us: int) -> int:
        """Book the next slot; see ``Gate``."""
        now = time.monotonic_ns() // 1000
        start = max(now, self._free.get(host, 0))
        if start - now <= max_wait_us:
            self._free = {other: free for other, free in self._free.items() if free > now}
            self._free[host] = start + delay_us
        return start - now


@dataclass(frozen=True, slots=True)
class _Clients:
    """The two sessions of one event loop; they share no connection, so an allowance never leaks to another source."""

    loop: asyncio.AbstractEventLoop
    public: aiohttp.ClientSession
    private: aiohttp.ClientSession  # for hosts that a profile allows by name


@dataclass(slots=True)
class _Job:
    """One lease on its way through its redirects."""

    lease: ItemLease
    profile: SourceProfile
    seconds_left: float  # of the total deadline, which counts while we talk to a host, not while we wait for our turn

    def hosts(self) -> tuple[str, ...]:
        """Return the hosts that may be asked; raises ``Unsafe`` when the URL that tells them is none."""
        return self.profile.hosts or (host_of(_url(self.profile.item_url or self.lease.url)),)


class HttpFetcher:
    """Fetches leases over HTTP; implements ``tasks.ports.Fetcher``.

    Between two requests to one host lies the profile's delay, over all workers when they share a ``gate``. The
    profile's concurrency is a bound within this process. An item whose turn is more than ``max_wait_seconds`` away is
    answered with ``HostBusy`` instead of being waited for. Nothing starts before the first ``fetch_all``.
    """

    def __init__(
        self,
        *,
        user_agent: str,
        timeout_seconds: float,
        max_body_bytes: int,
        gate: Gate | None = None,
        max_wait_seconds: float = 5.0,
    ) -> None:
        self._headers = {"User-Agent": user_agent, "Accept-Encoding": ACCEPT_ENCODING, "Accept": "*/*"}
        self._timeout_seconds = timeout_seconds
        self._max_body_bytes = max_body_bytes
        self._max_wait_seconds = max_wait_seconds
        self._gate = gate or LocalGate()
        self._thread = LoopThread("penstock-fetcher")
        self._gate_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="penstock-gate")
        self._clients: _Clients | None = None
        self._lanes: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    def fetch_all(
        self, leases: Sequence[ItemLease], profile_of: Callable[[str], SourceProfile]
    ) -> Mapping[str, Fetched | Exception]:
        """Fetch each lease's URL; the answer or the error, by lease token. Blocks until all have ended.

        That takes at most six times ``max_wait_seconds`` plus the timeout, when every hop of a redirect chain waits.
        Our own errors carry ``url`` and ``status`` (None when there was no answer) in their details; ``Throttled``
        has ``retry_after`` (seconds or None), ``HostBusy`` has ``until_us``.
        """
        jobs = [_Job(lease, profile_of(lease.source), self._timeout_seconds) for lease in leases]
        answers = self._thread.run(self._fetch_each(jobs))
        return {job.lease.token: answer for job, answer in zip(jobs, answers, strict=True)}

    def close(self) -> None:
        """Cancel what is under way, close the connections and end the thread. May be called twice.

        A ``fetch_all`` that another thread is waiting in raises ``concurrent.futures.CancelledError``.
        """
        if self._clients is not None:
            self._thread.run(_close(self._clients))
            self._clients = None
        self._thread.stop()
        self._gate_thread.shutdown()

    async def _fetch_each(self, jobs: Sequence[_Job]) -> list[Fetched | Exception]:
        ended = await asyncio.gather(*map(self._fetch, jobs), return_exceptions=True)
        return [_plain(end) for end in ended]

    async def _fetch(self, job: _Job) -> Fetched:
        url, hosts = _url(job.lease.url), job.hosts()
        for _ in range(_MAX_REDIRECTS + 1):
            _check(url, hosts)
            async with self._turn(host_of(url), job):
                answer = await self._request(url, job)
            if isinstance(answer, Fetched):
                return answer
            url = answer
        message = f"more than {_MAX_REDIRECTS} redirects"
        raise HttpError(message, status=None, url=str(url))

    @asynccontextmanager
    async def _turn(self, host: str, job: _Job) -> AsyncIterator[None]:
        """Hold one of the host's lanes, and enter when the host's next slot begins; else raise ``HostBusy``."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + self._max_wait_seconds
        lane = self._lanes.setdefault(host, asyncio.Semaphore(job.profile.concurrency))
        try:
            async with asyncio.timeout_at(give_up):
                await lane.acquire()
        except TimeoutError:
            raise _busy(job, max(job.profile.delay_seconds, 1.0)) from None
        try:
            await self._slot(host, job, give_up - loop.time())
            yield
        finally:
            lane.release()

    async def _slot(self, host: str, job: _Job, patience: float) -> None:
        if not job.profile.delay_seconds:
            return
        delay_us, max_wait_us = round(job.profile.delay_seconds * _US), max(0, round(patience * _US))
        reserve = functools.partial(self._gate.reserve, host, delay_us=delay_us, max_wait_us=max_wait_us)
        try:
            wait_us = await asyncio.get_running_loop().run_in_executor(self._gate_thread, reserve)
        except Transient as error:  # the gate's fault, not the item's: it goes back untouched
            raise _busy(job, _GATE_PAUSE, f"the host gate does not answer: {error}") from error
        if wait_us > max_wait_us:
            raise _busy(job, wait_us / _US)
        await asyncio.sleep(wait_us / _US)

    async def _request(self, url: URL, job: _Job) -> Fetched | URL:
        """Make one request; an URL is where it redirects to."""
        loop = asyncio.get_running_loop()
        begun, status = loop.time(), None
        client = self._client(private=_names(job.profile.allow_private_hosts, url))
        try:
            async with asyncio.timeout(job.seconds_left), client.get(url, allow_redirects=False) as response:
                status = response.status
                return await self._answer(response)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            raise wire_error(error, str(url), status) from error
        finally:
            job.seconds_left -= loop.time() - begun

    async def _answer(self, response: aiohttp.ClientResponse) -> Fetched | URL:
        status, url = response.status, str(response.url)
        if status in _REDIRECTS and "Location" in response.headers:
            return _url(response.headers["Location"], url)
        if status != HTTPStatus.OK:
            raise status_error(status, response.headers, url)
        body = await read_body(response, self._max_body_bytes)
        content_type = response.headers.get("Content-Type")
        return Fetched(url=url, status=status, body=body, content_type=content_type, fetched_at=datetime.now(UTC))

    def _client(self, *, private: bool) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        if self._clients is None or self._clients.loop is not loop:
            public = aiohttp.TCPConnector(limit=0, resolver=_PublicResolver(), socket_factory=_public_socket)
            self._clients = _Clients(loop, self._session(public), self._session(aiohttp.TCPConnector(limit=0)))
        return self._clients.private if private else self._clients.public

    def _session(self, connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=connector,
            headers=self._headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(),  # none of its own: asyncio.timeout in _request is the total deadline
            auto_decompress=False,  # Inflater bounds the output and tells a stream that ends early
            trust_env=False,  # a proxy variable of the environment would connect for us, past the address check
        )


class _PublicResolver(aiohttp.ThreadedResolver):
    """Refuses a name when any of its addresses is not public, so that a mixed answer cannot be retried into one."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await super().resolve(host, port, family)
        for result in found:
            _require_public(result["host"])
        return found


def _public_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """Make the socket that connects to ``address``: the last word, after any name was resolved."""
    family, kind, protocol, _, where = address
    _require_public(str(where[0]))
    return socket.socket(family, kind, protocol)


def _require_public(address: str) -> None:
    if not is_public(address):
        message = f"{address} is not a public address"
        raise UnsafeAddress(message)


def host_of(url: URL) -> str:
    """Return the lower-case ``host[:port]``, without a port that is the scheme's default."""
    return url.host_port_subcomponent or ""


def _url(text: str, base: str | None = None) -> URL:
    """Return the URL as the frontier writes it, for yarl to take as it is; raises ``Unsafe`` for any but http(s)."""
    normal = normal_url(text, base)
    try:
        url = URL(normal or "", encoded=True)
        host_of(url)  # yarl reads host and port only when asked, and raises then
    except ValueError as error:
        message = f"not a URL: {error}"
        raise Unsafe(message, status=None, url=text) from error
    if normal is None:
        message = f"only http and https are fetched: {text}"
        raise Unsafe(message, status=None, url=text)
    return url


def _check(url: URL, hosts: tuple[str, ...]) -> None:
    """Raise ``Unsafe`` unless ``url`` is without a user name and on one of ``hosts``."""
    details = {"status": None, "url": str(url)}
    if "@" in url.raw_authority:
        raise Unsafe("a URL with a user name is not fetched", **details)
    if not _names(hosts, url):
        message = f"the host {host_of(url)} is not among the source's hosts ({', '.join(hosts)})"
        raise Unsafe(message, **details)


def _names(hosts: tuple[str, ...], url: URL) -> bool:
    """Tell whether one of ``hosts`` is the URL's; an entry without port stands for every port, as in ``follow``."""
    names = {host_of(url), url.host_subcomponent}
    return any(entry.lower() in names for entry in hosts)


def _busy(job: _Job, seconds: float, message: str = "") -> HostBusy:
    message = message or f"the next free slot of {job.lease.host} is too far away"
    until_us = time.time_ns() // 1000 + round(seconds * _US)
    return HostBusy(message, until_us=until_us, url=job.lease.url, status=None)


def _plain(end: Fetched | BaseException) -> Fetched | Exception:
    """Narrow what ``gather`` returns; what is not an error of one URL (a cancellation) ends the whole call."""
    if isinstance(end, Fetched | Exception):
        return end
    raise end


async def _close(clients: _Clients) -> None:
    await clients.public.close()
    await clients.private.close()
