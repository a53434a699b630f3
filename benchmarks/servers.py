"""The Redis and the PostgreSQL of the benchmarks: penstock's embedded ones, in a folder that goes away with them."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import psycopg
import redis
from psycopg import sql

from worker.embedded import postgres_server, redis_server

MAXMEMORY: Final = "8gb"
_STOP_SECONDS: Final = 60.0
_SETTLE_SECONDS: Final = 0.02


@dataclass(frozen=True)
class Servers:
    """Both servers, with what stands in neither of their URLs."""

    redis_url: str
    store_url: str = field(repr=False)  # of the database from which others are made
    redis_pid: int
    postgres_pid: int
    versions: dict[str, str]
    client: redis.Redis = field(repr=False)
    admin: psycopg.Connection[Any] = field(repr=False)

    def settled_memory(self) -> int:
        """Return what Redis has allocated, in bytes, when it is done with what was asked of it."""
        self._settle_redis()
        return int(self._info("memory")["used_memory"])

    @contextmanager
    def database(self, name: str) -> Iterator[str]:
        """Make an empty database, empty Redis, write both to disk, and yield the URL of the database; drop it after."""
        self.admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        self.admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        self.client.flushall()
        self.client.bgrewriteaof()
        self._settle_redis()
        try:
            yield urlsplit(self.store_url)._replace(path=f"/{name}").geturl()
        finally:
            self.admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def checkpoint(self) -> None:
        """Have PostgreSQL write what it holds, so that no run pays for what went before; and Redis too."""
        self.admin.execute("CHECKPOINT")
        self._settle_redis()

    def _settle_redis(self) -> None:
        while any(self._info("persistence")[name] for name in ("aof_rewrite_in_progress", "aof_rewrite_scheduled")):
            time.sleep(_SETTLE_SECONDS)

    def _info(self, section: str) -> dict[str, Any]:
        told: dict[str, Any] = self.client.info(section)
        return told


@contextmanager
def running() -> Iterator[tuple[Servers, Path]]:
    """Start both servers; yield them and a folder; stop them and remove the folder in the end."""
    base = Path(tempfile.mkdtemp(prefix="penstock-bench-"))
    base.chmod(0o755)  # the user that PostgreSQL runs under must be able to pass
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, base, ignore_errors=True)
        queue = redis_server(base, maxmemory=MAXMEMORY)
        stack.callback(queue.close, wait_seconds=_STOP_SECONDS)
        store = postgres_server(base)
        stack.callback(store.close, wait_seconds=_STOP_SECONDS)
        client = stack.enter_context(redis.Redis.from_url(queue.url))
        admin = stack.enter_context(psycopg.connect(store.url, autocommit=True))
        yield _servers(queue.url, store.url, client, admin), base


def _servers(redis_url: str, store_url: str, client: redis.Redis, admin: psycopg.Connection[Any]) -> Servers:
    info: dict[str, Any] = client.info("server")
    version = admin.info.parameter_status("server_version") or ""
    return Servers(
        redis_url=redis_url,
        store_url=store_url,
        redis_pid=int(info["process_id"]),
        postgres_pid=_parent(admin.info.backend_pid),
        versions={"Redis": str(info["redis_version"]), "PostgreSQL": version.split()[0]},
        client=client,
        admin=admin,
    )


def _parent(pid: int) -> int:
    """Return the postmaster, whose child each backend is."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
