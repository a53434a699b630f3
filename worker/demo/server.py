"""Serve the demo site over HTTP on loopback, and keep a log of who asked for what, and when."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from aiohttp import web

from worker.demo.formats import TIMEZONE
from worker.demo.model import SOURCE, Answer, Site
from worker.loop_thread import LoopThread

_ROBOTS = "User-agent: *\nDisallow: /admin/\n"


@dataclass(frozen=True, slots=True)
class Request:
    """One line of the request log."""

    id: str  # "robots.txt" for that
    at: float  # seconds of the monotonic clock, when the request was read
    status: int


@dataclass(slots=True)
class DemoServer:
    """A running demo site."""

    site: Site
    host: str
    port: int = 0
    log: list[Request] = field(default_factory=list, repr=False)
    visits: Counter[str] = field(default_factory=Counter, repr=False)
    edited: bool = False

    @property
    def url(self) -> str:
        """The site's address, without a slash at the end."""
        return f"http://{self.host}:{self.port}"

    def item_url(self, item: str) -> str:
        """Return the address of an item's page."""
        return f"{self.url}/news/{item}"

    def edit(self) -> None:
        """Edit the site: from now on some pages have another paragraph, others another related block."""
        self.edited = True

    async def news(self, request: web.Request) -> web.StreamResponse:
        """Answer a request for a page."""
        item = request.match_info["id"]
        page = self.site.pages.get(item)
        self.visits[item] += 1
        answer = page.answer(self.visits[item], edited=self.edited) if page else Answer(status=404)
        self.log.append(Request(item, time.monotonic(), answer.status))
        await asyncio.sleep(answer.delay_seconds)
        headers = {"Content-Type": answer.content_type}
        if answer.retry_after is not None:
            headers["Retry-After"] = str(answer.retry_after)
        return web.Response(status=answer.status, body=answer.body, headers=headers)

    async def robots(self, _: web.Request) -> web.StreamResponse:
        """Answer a request for robots.txt."""
        self.log.append(Request("robots.txt", time.monotonic(), 200))
        return web.Response(text=_ROBOTS)

    async def start(self) -> web.AppRunner:
        """Listen, and note the port."""
        app = web.Application()
        app.router.add_get("/news/{id}", self.news)
        app.router.add_get("/robots.txt", self.robots)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        await web.TCPSite(runner, self.host, self.port).start()
        self.port = runner.addresses[0][1]
        return runner


@contextmanager
def serve(site: Site, host: str = "127.0.0.1", port: int = 0) -> Iterator[DemoServer]:
    """Run the site's server in a thread of its own while the block runs; port 0 takes a free one.

    Raises ``OSError`` when the port is taken.
    """
    thread = LoopThread("penstock-demo-site")
    server = DemoServer(site, host, port)
    try:
        runner = thread.run(server.start())
        try:
            yield server
        finally:
            thread.run(runner.cleanup())
    finally:
        thread.stop()


def demo_profile(port: int, host: str = "127.0.0.1") -> str:
    """Return the demo source's entry for ``sources.toml``."""
    return f"""[sources.{SOURCE}]
hosts = ["{host}:{port}"]
allow_private_hosts = ["{host}:{port}"]
timezone = "{TIMEZONE}"
item_url = "http://{host}:{port}/news/{{id}}"
max_depth = 50
delay_seconds = 0.002
concurrency = 8
max_attempts = 3
"""
