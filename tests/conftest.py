"""Servers of the whole test run, started when a test first asks for them, and a fresh crawl on each store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.crawl import Crawl, crawl
from tests.support.servers import Postgres, Redis, folder_for_servers


@pytest.fixture(scope="session")
def servers_folder() -> Iterator[Path]:
    """Where the servers of the run have their data."""
    with folder_for_servers() as made:
        yield made


@pytest.fixture(scope="session")
def shared_redis(servers_folder: Path) -> Iterator[Redis]:
    """A Redis that no test harms; each has a namespace of its own."""
    server = Redis(servers_folder / "redis")
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def shared_postgres(servers_folder: Path) -> Iterator[Postgres]:
    """A PostgreSQL that no test harms; each has a database of its own."""
    server = Postgres(servers_folder, "fsync=off")  # no test pulls its plug
    server.start()
    yield server
    server.kill()


@pytest.fixture(params=["sqlite", "postgresql"])
def either_crawl(request: pytest.FixtureRequest, shared_redis: Redis, tmp_path: Path) -> Iterator[Crawl]:
    """A fresh crawl, on each of the two stores."""
    store_url = f"sqlite:///{tmp_path / 'store.db'}"
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("shared_postgres")
        store_url = server.database()
    with crawl(shared_redis.url, store_url) as opened:
        yield opened
