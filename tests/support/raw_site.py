"""A web server that writes what a test says, byte for byte, and notes what it was asked and by how many connections."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

import trustme

from worker.loop_thread import LoopThread

_TLS = b"\x16\x03"  # how a client begins that takes this for a server of https


class _Line(asyncio.Protocol):
    """One connection. What answers it ends with it, as soon as the other side closes."""

    transport: asyncio.Transport

    def __init__(self, site: RawSite) -> None:
        self.site = site
        self.received = b""
        self.requests = 0
        self.writable = asyncio.Event()
        self.writable.set()
        self.answering: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.site.connections += 1
        self.site.lines.add(self)

    def connection_lost(self, _: Exception | None) -> None:
        self.site.lines.discard(self)
        if self.answering:
            self.answering.cancel()

    def data_received(self, data: bytes) -> None:
        self.received += data
        if self.received.startswith(_TLS):
            self.transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            self.transport.close()
        head, end, self.received = self.received.partition(b"\r\n\r\n")
        if end:
            self.requests += 1
            self.answering = asyncio.create_task(self.site.answer(Asked(head + end, self)))
        else:
            self.received = head

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()


@dataclass
class Asked:
    """One request, and the connection that it came on."""

    head: bytes
    line: _Line

    @property
    def target(self) -> str:
        return self.head.split(b" ", 2)[1].decode()

    @property
    def fields(self) -> dict[str, str]:
        lines = self.head.decode().split("\r\n")[1:-2]
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}

    def query(self, name: str) -> str:
        return parse_qs(urlsplit(self.target).query)[name][0]

    async def send(self, data: bytes) -> None:
        await self.line.writable.wait()
        self.line.transport.write(data)
        await asyncio.sleep(0)  # the other side may have closed, and then nothing is written any more


Answer = bytes | Callable[[Asked], Awaitable[bytes | None]]


def page(body: bytes = b"<p>Bonjour</p>", *lines: str, status: str = "200 OK") -> bytes:
    """Return a whole answer; ``lines`` are header lines."""
    head = [f"HTTP/1.1 {status}", *lines, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(head).encode() + body


@dataclass
class RawSite:
    """Answers by the first segment of the path. An answer that is a function returns what is to be sent, if it has
    not sent it, or None to have the connection closed.
    """

    answers: Mapping[str, Answer]
    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    begun: list[float] = field(default_factory=list)
    connections: int = 0
    lines: set[_Line] = field(default_factory=set)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, path: str, scheme: str = "http") -> str:
        return f"{scheme}://{self.host}{path}"

    def targets(self) -> list[str]:
        return [asked.target for asked in self.asked]

    def wait_until_left(self, seconds: float = 10.0) -> bool:
        """Wait until no connection is open, as the server sees it."""
        ends = time.monotonic() + seconds
        while self.lines and time.monotonic() < ends:
            time.sleep(0.01)
        return not self.lines

    def untouched(self) -> bool:
        """Tell whether nobody connected before; connections are accepted in their order."""
        with socket.create_connection(("127.0.0.1", self.port)) as probe:
            probe.sendall(b"GET /probe HTTP/1.1\r\n\r\n")
            probe.recv(1)
        return self.connections == 1

    async def start(self, tls: ssl.SSLContext | None) -> asyncio.Server:
        make = asyncio.get_running_loop().create_server
        server = await make(lambda: _Line(self), "127.0.0.1", 0, ssl=tls, backlog=1000)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def answer(self, asked: Asked) -> None:
        self.asked.append(asked)
        self.begun.append(time.time())
        answer = {"probe": page(), **self.answers}[urlsplit(asked.target).path.split("/")[1]]
        data = answer if isinstance(answer, bytes) else await answer(asked)
        if data is None:
            asked.line.transport.close()
        else:
            await asked.send(data)

    async def stop(self, server: asyncio.Server) -> None:
        server.close()
        for line in list(self.lines):
            line.transport.abort()


async def drip(asked: Asked) -> None:
    """Begin a body, and go on with it for ever at 100 bytes a second."""
    await asked.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        await asked.send(b".")
        await asyncio.sleep(0.01)


@contextmanager
def raw_site(answers: Mapping[str, Answer], tls: ssl.SSLContext | None = None) -> Iterator[RawSite]:
    """Serve on loopback until the block ends."""
    thread = LoopThread("test-site")
    site = RawSite(answers)
    server = thread.run(site.start(tls))
    yield site
    thread.run(site.stop(server))
    thread.stop()


def serving(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    """Return how a site speaks TLS that has the names which an authority of the test's own proves."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context
