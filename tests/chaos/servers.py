"""The servers of a run, each behind a network that can be broken. The harness itself goes around that network."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from urllib.parse import quote, urlsplit

import psycopg
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.chaos.proxy import Proxy
from tests.support import servers
from tests.support.processes import children, is_running

MAXMEMORY = 256 << 20
CONNECTIONS = 60


class Redis(servers.Redis):
    """A Redis as penstock's manual wants it: an append-only file, and no eviction."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, appendfsync="everysec", maxmemory=str(MAXMEMORY))
        self.proxy = Proxy(self.socket)
        self.public_url = f"redis://127.0.0.1:{self.proxy.port}/0"

    def client(self, timeout: float = 10.0) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self.socket), socket_timeout=timeout, retry=Retry(NoBackoff(), 0))

    def kill(self) -> None:
        _kill_server(self)

    def close(self) -> None:
        self.kill()
        self.proxy.close()


class Postgres(servers.Postgres):
    """A PostgreSQL with a password."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, f"max_connections={CONNECTIONS}", "log_lock_waits=on", "log_min_messages=warning")
        self.proxy = Proxy(self.socket)
        parts = urlsplit(self.url)
        where = f"{parts.username}:{quote(parts.password or '')}@127.0.0.1:{self.proxy.port}{parts.path}"
        self.public_url = f"postgresql://{where}"

    def kill(self) -> None:
        _kill_server(self)

    def close(self) -> None:
        self.kill()
        self.proxy.close()

    def backends(self) -> list[int]:
        """Return the processes that serve the workers, not those of the harness."""
        with psycopg.connect(self.url, autocommit=True, connect_timeout=5) as connection:
            rows = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND application_name <> 'chaos'"
                " AND pid <> pg_backend_pid() ORDER BY pid"
            ).fetchall()
        return [row[0] for row in rows]


def _kill_server(server: servers.Server) -> None:
    if server._process is not None:
        kill_tree(server._process.pid)
        server._process.wait()


def kill_tree(pid: int) -> int:
    """Kill a process and all below it at one instant; return how many there were.

    It is stopped first, so that it starts nothing more: a PostgreSQL whose backends outlive it must not be started.
    """
    if not is_running(pid):
        return 0
    os.kill(pid, signal.SIGSTOP)
    pids = [pid, *below(pid)]
    for one in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)
    ends = time.monotonic() + 10
    while any(is_running(one) for one in pids) and time.monotonic() < ends:
        time.sleep(0.005)
    return len(pids)


def below(pid: int) -> list[int]:
    """Return all processes below one, parents first."""
    try:
        direct = children(pid)
    except OSError:
        return []
    return [found for child in direct for found in (child, *below(child))]


def used_memory(client: redis.Redis) -> int:
    info = client.info("memory")
    assert isinstance(info, dict)
    return int(info["used_memory"])
