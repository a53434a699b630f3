"""The farm's process: HTTP/1.1 for all sites on one event loop, as little of it as a crawler needs.

One request is begun when its head is there, and ended when its answer is written; what is under way when its connection
breaks was cut.
"""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from pydantic import TypeAdapter

from tests.support.farm.log import CUT, DROPPED, Asked, now_us
from tests.support.farm.rules import ROBOTS
from tests.support.farm.sites import Site, Trouble

BACKLOG = 1024
FLUSH_SECONDS = 0.05
AGENT = re.compile(rb"\r\nUser-Agent: *(\S+)", re.IGNORECASE)
REASONS = {200: "OK", 404: "Not Found", 500: "Internal Server Error", 503: "Service Unavailable"}


@dataclass(frozen=True, slots=True)
class Spec:
    """What the process is to serve."""

    sites: Sequence[Site]
    latency_seconds: float
    log: Path


SPEC = TypeAdapter(Spec)


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes = b""
    retry_after: int = 0

    def encoded(self) -> bytes:
        more = f"Retry-After: {self.retry_after}\r\n" if self.retry_after else ""
        head = f"HTTP/1.1 {self.status} {REASONS[self.status]}\r\nContent-Type: text/plain; charset=utf-8\r\n{more}"
        return f"{head}Content-Length: {len(self.body)}\r\n\r\n".encode() + self.body


@dataclass(slots=True)
class Host:
    """A site that is being served."""

    site: Site
    port: int
    latency_seconds: float
    log: TextIO
    under_way: int = 0
    pages_asked: int = 0
    robots_since: int = 0
    busy_since: int = 0
    was_down: bool = False
    is_down: bool = False
    server: asyncio.Server | None = None
    connections: set[Connection] = field(default_factory=set)

    async def listen(self) -> None:
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(
            lambda: Connection(self), self.site.address, self.port, backlog=BACKLOG, reuse_address=True
        )

    def answer(self, path: str) -> Answer:
        """Return the answer, as it is decided when the request has come."""
        if path == ROBOTS:
            return self._robots()
        self.pages_asked += 1
        if left := self._busy_seconds():
            return Answer(503, retry_after=left)
        self._maybe_go_down()
        item = path.removeprefix("/news/")
        return Answer(200, self.site.page(item)) if item.isdigit() and self.site.has(item) else Answer(404)

    def _robots(self) -> Answer:
        robots = self.site.robots
        self.robots_since = self.robots_since or now_us()
        if now_us() - self.robots_since < robots.unavailable_seconds * 1e6:
            return Answer(500)
        return Answer(robots.status, robots.text().encode() if robots.status == 200 else b"")

    def _busy_seconds(self) -> int:
        """Return how many seconds of being busy are left, rounded up."""
        busy = self.site.busy
        if busy is None or self.pages_asked <= busy.after:
            return 0
        self.busy_since = self.busy_since or now_us()
        left = busy.seconds - (now_us() - self.busy_since) / 1e6
        return -int(-left // 1) if left > 0 else 0

    def _maybe_go_down(self) -> None:
        down = self.site.down
        if down is not None and self.pages_asked > down.after and not self.was_down:
            self.was_down = True
            asyncio.get_running_loop().create_task(self._go_down(down)).add_done_callback(_raise)

    async def _go_down(self, down: Trouble) -> None:
        assert self.server is not None
        self.is_down = True
        self.server.close()
        for one in list(self.connections):
            one.transport.abort()
        await asyncio.sleep(down.seconds)
        await self.listen()
        self.is_down = False

    def note(self, asked: Asked) -> None:
        self.log.write(asked.line())


class Connection(asyncio.Protocol):
    """One connection of a crawler, which asks one thing after the other."""

    transport: asyncio.Transport

    def __init__(self, host: Host) -> None:
        self._host, self._received = host, b""
        self._waiting: tuple[Asked, Answer, asyncio.TimerHandle] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._host.connections.add(self)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, rest = self._received.partition(b"\r\n\r\n")
        if found and self._waiting is None:
            self._received = rest
            self._begin(head)

    def _begin(self, head: bytes) -> None:
        host, begun = self._host, now_us()
        path = head.split(b" ", 2)[1].decode("ascii")
        agent = AGENT.search(head)
        host.under_way += 1
        answer = host.answer(path)
        asked = Asked(
            begun, 0, host.site.number, path, answer.status, host.under_way, answer.retry_after,
            agent[1].decode("ascii") if agent else "-",
        )  # fmt: skip
        timer = asyncio.get_running_loop().call_later(host.latency_seconds, self._end)
        self._waiting = asked, answer, timer

    def _end(self) -> None:
        assert self._waiting is not None
        (asked, answer, _), self._waiting = self._waiting, None
        self.transport.write(answer.encoded())
        self._host.under_way -= 1
        self._host.note(asked._replace(ended=now_us()))
        self.data_received(b"")  # what may have come meanwhile

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._host.connections.discard(self)
        if self._waiting is not None:
            asked, _, timer = self._waiting
            timer.cancel()
            self._host.under_way -= 1
            status = DROPPED if self._host.is_down else CUT
            self._host.note(asked._replace(ended=now_us(), status=status, retry_after=0))


async def serve(spec: Spec) -> None:
    """Serve until SIGTERM; say the port on standard output when all hosts listen."""
    loop, ends = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ends.set)
    port = free_port([site.address for site in spec.sites])
    with spec.log.open("w", encoding="utf-8") as log:
        hosts = [Host(site, port, spec.latency_seconds, log) for site in spec.sites]
        for host in hosts:
            await host.listen()
        sys.stdout.write(f"{port}\n")
        sys.stdout.flush()
        while not ends.is_set():
            log.flush()
            await asyncio.wait([waiting := loop.create_task(ends.wait())], timeout=FLUSH_SECONDS)
            waiting.cancel()


def free_port(addresses: Sequence[str]) -> int:
    """Return a port that is free on all of the addresses."""
    while True:
        with socket.socket() as first:
            first.bind((addresses[0], 0))
            port: int = first.getsockname()[1]
        if all(map(_is_free, addresses, [port] * len(addresses))):
            return port


def _is_free(address: str, port: int) -> bool:
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((address, port))
        except OSError:
            return False
    return True


def _raise(task: asyncio.Task[None]) -> None:
    task.result()


if __name__ == "__main__":
    asyncio.run(serve(SPEC.validate_json(sys.stdin.buffer.read())))
