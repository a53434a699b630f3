"""What every process of penstock begins with: settings, profiles, where its servers are; stream and store on them.

Celery is not loaded here, nor a parser: a command that looks at something must be quick.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.errors import UsageError

if TYPE_CHECKING:
    from worker.config import Settings
    from worker.embedded.users import Embedded
    from worker.host_gate import HostGate
    from worker.sources import SourceProfiles
    from worker.store import NewProfile, SqlStore
    from worker.stream import PageStream


class Runtime:
    """The settings and profiles of this process, and where its servers are.

    An embedded server is started when its URL is first asked for, and lives as long as one process that asked.
    """

    def __init__(self, settings: Settings, profiles: SourceProfiles) -> None:
        self.settings = settings
        self.profiles = profiles
        # The crawl run that fetch budgets are counted under.
        self.run = settings.run or time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._servers: list[Embedded] = []

    @cached_property
    def redis_url(self) -> str:
        """The URL of Redis, as redis-py takes it."""
        from worker.embedded import redis_server

        if self.settings.redis_url is not None:
            return self.settings.redis_url
        return self._joined(redis_server(self.settings.home, maxmemory=self.settings.embedded_redis_maxmemory))

    @cached_property
    def store_url(self) -> str:
        """The URL of the store."""
        from worker.embedded import postgres_server

        settings = self.settings
        if settings.store_url is None:
            settings.home.mkdir(parents=True, exist_ok=True)
            return f"sqlite:///{settings.home / 'penstock.db'}"
        if settings.store_url != "embedded-postgres":
            self._require_folder(settings.store_url)
            return settings.store_url
        return self._joined(postgres_server(settings.home))

    @staticmethod
    def _require_folder(store_url: str) -> None:
        """Tell a mistyped path at the start; a folder that goes away later may come back."""
        path = _sqlite_path(store_url)
        if path is not None and not path.parent.is_dir():
            message = f"PENSTOCK_STORE_URL: there is no folder {path.parent}"
            raise UsageError(message)

    def _joined(self, server: Embedded) -> str:
        self._servers.append(server)
        for notice in server.notices:
            sys.stderr.write(f"penstock: {notice}\n")
        return server.url

    def ensure_servers(self) -> None:
        """Start an embedded server again whose keeper was killed."""
        for server in self._servers:
            server.ensure()

    @property
    def database_file(self) -> Path | None:
        """The SQLite file; None for a server."""
        return _sqlite_path(self.store_url)


def _sqlite_path(store_url: str) -> Path | None:
    prefix = "sqlite:///"
    return Path(store_url.removeprefix(prefix)) if store_url.startswith(prefix) else None


@cache
def runtime() -> Runtime:
    """Read settings and source profiles. Raises ``UsageError`` for a wrong one. Starts and connects nothing."""
    from worker.config import load_settings
    from worker.sources import load_profiles

    settings = load_settings()
    return Runtime(settings, load_profiles(settings.sources_path()))


def open_stream(rt: Runtime) -> PageStream:
    """Build the page stream on a connection of its own."""
    from worker.stream import PageStream, connect

    settings = rt.settings
    return PageStream(
        connect(rt.redis_url),
        namespace=settings.namespace,
        high_water=settings.high_water,
        lease_ms=round(settings.lease_seconds * 1000),
        max_body=settings.max_body_bytes,
    )


def open_gate(rt: Runtime, now_us: Callable[[], int]) -> HostGate:
    """Build the gate that spaces the requests to each host over all workers."""
    from worker.host_gate import HostGate
    from worker.stream import connect

    return HostGate(
        connect(rt.redis_url),
        rt.settings.namespace,
        lease_us=round(2_000_000 * rt.settings.fetch_timeout_seconds),
        now_us=now_us,
        draw=random.random,
    )


def open_store(rt: Runtime) -> SqlStore:
    """Build the store on a connection of its own, its tables brought up to date."""
    from worker.store import open_store as open_url

    return open_url(rt.store_url, near=rt.settings.near_duplicates == "on")


def note_profiles(rt: Runtime, store: SqlStore, parser_versions: Mapping[str, int]) -> list[NewProfile]:
    """Have what failed with the profiles of before tried again where one is another now: it may have been mended."""
    now = time.time_ns() // 1000
    return store.note_profiles(rt.profiles.versions(), parser_versions=parser_versions, now=now)
