"""Servers that a test starts, kills, stops and starts again. It keeps them itself: nothing restarts them behind it."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import redis

from tests.support.processes import children
from worker.embedded import NOBODY
from worker.embedded.places import group_of
from worker.embedded.postgres_kind import PostgresServer
from worker.embedded.redis_kind import find_program

SECONDS = 30.0
_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_numbers = itertools.count()


class Server(ABC):
    """A server process of the test."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def launch(self) -> subprocess.Popen[bytes]:
        """Start the process."""

    @abstractmethod
    def answers(self) -> bool:
        """Tell whether it serves."""

    def start(self) -> None:
        """Start it where it does not run, and wait until it answers."""
        if self._process is None or self._process.poll() is not None:
            self._process = self.launch()
        ends = time.monotonic() + SECONDS
        while not self.answers():
            assert self._process.poll() is None, "the server ended by itself"
            assert time.monotonic() < ends, "the server does not answer"
            time.sleep(0.02)

    def kill(self) -> None:
        """Kill it without a word, and all that it started."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def pause(self) -> None:
        """Stop it in its tracks: connections stay open, and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            for pid in (self._process.pid, *children(self._process.pid)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)


class Redis(Server):
    """A Redis with an append-only file in ``folder``, on a Unix socket."""

    def __init__(self, folder: Path, **options: str) -> None:
        super().__init__()
        self.folder, self._options = folder, options
        self.socket = folder / "redis.sock"
        self.url = f"unix://{self.socket}"

    def launch(self) -> subprocess.Popen[bytes]:
        self.folder.mkdir(parents=True, exist_ok=True)
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "dir": str(self.folder),
            "appendonly": "yes",
            "save": "",
            "maxmemory-policy": "noeviction",
            **self._options,
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        return started([str(find_program((6, 2))), *words], stdout=subprocess.DEVNULL)

    def answers(self) -> bool:
        with self.client() as client:
            try:
                return bool(client.ping())
            except redis.ConnectionError:
                return False

    def client(self) -> redis.Redis:
        """Return a client of its own."""
        return redis.Redis(unix_socket_path=str(self.socket))


class Postgres(Server):
    """A PostgreSQL with its data under ``folder``, on a Unix socket; for root it runs as nobody."""

    def __init__(self, folder: Path, *settings: str) -> None:
        super().__init__()
        self._kind = PostgresServer(home=folder, run_as=NOBODY)
        self._settings = settings
        self._kind.make_directory()
        self._kind.prepare()
        self.socket = self._kind.socket_path
        self.url = self._kind.url()

    def launch(self) -> subprocess.Popen[bytes]:
        self._kind.prepare()
        user = self._kind.user_id()
        words = [word for one in self._settings for word in ("-c", one)]
        group = None if user is None else group_of(user)
        groups: list[int] | None = None if user is None else []
        with self._kind.log.open("ab") as log:
            command = [*self._kind.command(), *words]
            return started(command, cwd="/", stdout=log, stderr=log, user=user, group=group, extra_groups=groups)

    def answers(self) -> bool:
        return self._kind.answers()

    def database(self) -> str:
        """Make a database, and return its URL."""
        name = f"test_{os.getpid()}_{next(_numbers)}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" STRATEGY FILE_COPY'.encode())  # much the quicker one
        head, _, query = self.url.partition("?")
        return f"{head.rpartition('/')[0]}/{name}?{query}"


def started(command: list[str], **how: Any) -> subprocess.Popen[bytes]:
    """Start a process that does not outlive the test run, even when that is killed."""
    return subprocess.Popen(command, preexec_fn=_die_with_us, **how)  # noqa: PLW1509 (one system call, loaded before)


def _die_with_us() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@contextmanager
def folder_for_servers() -> Iterator[Path]:
    """A folder outside pytest's: PostgreSQL's user must reach it, and a socket's path may have 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="penstock-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
