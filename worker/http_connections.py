"""Connections for fetching: to public addresses only, one answer for each request, and no endless heads."""

from __future__ import annotations

import asyncio
import functools
import re
import socket
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import BadHttpMessage

from tasks.steps.address import is_public
from worker.answers import Unanswered, UnsafeAddress

_MAX_HEAD: Final = 131_072  # bytes until the end of an answer's head, interim answers included
_DNS_SECONDS: Final = 60  # that addresses of a name are remembered
_HEAD: Final = re.compile(rb"[^\r\n].*?\r?\n\r?\n", re.DOTALL)  # empty lines before it are no part of it


@dataclass(frozen=True, slots=True)
class Network:
    """What the system gives: addresses of names, sockets, and whom TLS trusts (None: the authorities it knows)."""

    lookup: Callable[..., list[Any]] = socket.getaddrinfo
    open_socket: Callable[[int, int, int], socket.socket] = socket.socket
    tls: ssl.SSLContext | None = None


class Connection(ResponseHandler):
    """aiohttp's side of one connection, with bounds that it does not have.

    A head may be so long and no longer. What comes after an answer ends the connection: aiohttp would collect answers
    that nobody asked for without end, and take the first for the answer to the next request.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, opened: set[Connection], *, max_open: int, keep_heads: bool
    ) -> None:
        super().__init__(loop)
        self._opened = opened
        self._max_open = max_open
        self._keep_heads = keep_heads
        self._answered = False
        self.head_bytes = 0  # that have come since the last request, until its answer's head ended
        self._raw: bytearray | None = None  # what came, until the head's end is found in it
        self.head = b""  # of the last answer, as it was on the wire, when heads are kept
        self.requests = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count this one."""
        self._opened.add(self)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Count it no more."""
        self._opened.discard(self)
        super().connection_lost(exc)

    def set_response_params(self, **params: Any) -> None:
        """Make ready for the next answer; called before each request."""
        self.requests += 1
        self._answered = False
        self.head_bytes = 0
        self._raw = bytearray() if self._keep_heads else None
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        """Take bytes from the host."""
        if self._answered and data and (self._payload is None or self._payload.is_eof()):
            self.abort()
            return
        if not self._answered:
            self.head_bytes += len(data)
            if self._raw is not None:
                self._raw += data
        super().data_received(data)
        if not self._answered and self.head_bytes > _MAX_HEAD:
            self._refuse(f"more than {_MAX_HEAD} bytes without the end of a head")

    def feed_data(self, data: Any, size: int = 0) -> None:
        """Take the head of an answer from the parser."""
        if self._answered:
            self.abort()
            return
        status = data[0].code
        self._answered = status >= HTTPStatus.OK or status == HTTPStatus.SWITCHING_PROTOCOLS  # else it is interim
        if self._raw is not None:
            self._cut_head(self._raw)
        super().feed_data(data, size)

    @property
    def should_close(self) -> bool:
        """Tell after an answer whether the connection is not to be used again."""
        return super().should_close or len(self._opened) > self._max_open

    def close(self) -> None:
        """Close at once: the polite end of TLS goes on reading for up to 30 seconds whatever the host still sends."""
        self._opened.discard(self)
        self.abort()

    def _cut_head(self, raw: bytearray) -> None:
        found = _HEAD.search(raw)
        if found:
            self.head = found[0]
            del raw[: found.end()]
        if self._answered:
            self._raw = None

    def _refuse(self, message: str) -> None:
        if self.transport is not None:
            self.transport.abort()
        self.set_exception(BadHttpMessage(message))


class Response(aiohttp.ClientResponse):
    """An answer that knows how long it was waited for, and its head."""

    sent = 0.0  # when the request was made, on the loop's clock
    latency = 0.0  # seconds from then to the head
    head = b""

    async def start(self, connection: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
        """Wait for the head.

        aiohttp asks once more where a connection ends before that. It is right only without a byte of an answer and on
        one that was used before: the host may have closed it meanwhile (RFC 9112, section 9.3.1).
        """
        protocol = connection.protocol
        self.sent = self._loop.time()
        try:
            await super().start(connection)
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
            if isinstance(protocol, Connection) and (protocol.requests == 1 or protocol.head_bytes):
                raise Unanswered from error
            raise
        self.latency = self._loop.time() - self.sent
        if isinstance(protocol, Connection):
            self.head = protocol.head
        return self


class Resolver(AbstractResolver):
    """Asks the system for the addresses of a name, in threads, since that blocks.

    With ``public``, a name is refused when any of its addresses is not public, so that a mixed answer cannot be
    retried into one that is not.
    """

    def __init__(self, network: Network, threads: ThreadPoolExecutor, *, public: bool) -> None:
        self._lookup = network.lookup
        self._threads = threads
        self._public = public

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a name."""
        ask = functools.partial(
            self._lookup, host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
        )
        found = await asyncio.get_running_loop().run_in_executor(self._threads, ask)
        results = [_result(host, info) for info in found]
        if self._public:
            for result in results:
                require_public(result["host"])
        return results

    async def close(self) -> None:
        """Do nothing; the threads are the client's."""


class Connector(aiohttp.TCPConnector):
    """Makes connections: with ``public`` to public addresses only, else to any.

    A name's addresses are looked up once, all of them are checked, and the connection is made to one of these. When
    more than ``max_open`` are open, they are closed after their answers.
    """

    def __init__(
        self, network: Network, resolver: Resolver, *, public: bool, max_open: int, keep_heads: bool = False
    ) -> None:
        super().__init__(
            limit=0,  # the gate bounds requests to each host, and the fetch task all of them
            resolver=resolver,
            ttl_dns_cache=_DNS_SECONDS,
            socket_factory=functools.partial(_public_socket if public else _any_socket, network.open_socket),
            ssl=network.tls or True,
        )
        made: Callable[..., ResponseHandler] = Connection
        self._factory = functools.partial(made, loop=self._loop, opened=set(), max_open=max_open, keep_heads=keep_heads)


def require_public(address: str) -> None:
    """Raise ``UnsafeAddress`` unless ``address`` is public."""
    if not is_public(address):
        message = f"{address} is not a public address"
        raise UnsafeAddress(message)


def _public_socket(
    open_socket: Callable[[int, int, int], socket.socket], address: aiohttp.AddrInfoType
) -> socket.socket:
    """Make the socket that connects to ``address``: the last word, whatever was resolved before, or nothing was."""
    require_public(str(address[4][0]))
    return _any_socket(open_socket, address)


def _any_socket(open_socket: Callable[[int, int, int], socket.socket], address: aiohttp.AddrInfoType) -> socket.socket:
    family, kind, protocol, _, _ = address
    return open_socket(family, kind, protocol)


def _result(host: str, info: Any) -> ResolveResult:
    family, _, protocol, _, where = info
    return ResolveResult(
        hostname=host,
        host=str(where[0]),
        port=int(where[1]),
        family=family,
        proto=protocol,
        flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    )
