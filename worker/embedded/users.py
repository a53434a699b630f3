"""A process that uses an embedded server: takes its lock, and has a keeper started where none is."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from tasks.errors import UsageError
from worker.embedded.locks import held_by_others, open_lock, try_exclusive, wait_free, wait_shared
from worker.embedded.places import roll
from worker.embedded.server import Server

# As long as the keeper may need to stop a server that is busy writing.
_LEAVING_SECONDS = 90.0
# A database is made in two seconds; the data of a large Redis is read in minutes.
_STARTING_SECONDS = 300.0
_POLL_SECONDS = 0.03
_USAGE = 2  # the keeper's exit code for a UsageError
_PACKAGES = Path(__file__).resolve().parents[2]  # where the keeper finds this package, installed or not


@dataclass(slots=True)
class Embedded:
    """A user's hold on a server: it runs until the last of them is closed, or its process is gone."""

    server: Server
    url: str = field(repr=False)  # PostgreSQL's has the password
    notices: tuple[str, ...]  # what a person should know, for example that data is not under the home
    _lock: int | None = field(repr=False)

    def ensure(self) -> None:
        """Start the server again where its keeper was killed; cheap when all is well. Raises as the start does."""
        ensure(self.server)

    def close(self, *, wait_seconds: float = 0.0) -> bool:
        """Let go; returns whether the server has stopped, for which it waits up to ``wait_seconds``.

        Returns False at once while others use it. In a forked child this closes the child's share only. A handle that
        is dropped without this holds on until its process is gone.
        """
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        if held_by_others(self.server.users_lock):
            return False
        return wait_free(self.server.keeper_lock, wait_seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def join(server: Server) -> Embedded:
    """Become a user of ``server``; blocks until it answers. Raises ``UsageError`` or the server's ``unavailable``."""
    server.make_directory()
    lock = _become_user(server)
    try:
        ensure(server)
        return Embedded(server=server, url=server.url(), notices=server.notices(), _lock=lock)
    except BaseException:
        os.close(lock)
        raise


def _become_user(server: Server) -> int:
    try:
        lock = open_lock(server.users_lock)
    except OSError as error:
        raise UsageError(f"{server.users_lock} cannot be opened: {error.strerror}.") from error
    if not wait_shared(lock, _LEAVING_SECONDS):
        os.close(lock)
        raise server.failed(f"has been stopping for {_LEAVING_SECONDS:.0f} s")
    return lock


def ensure(server: Server) -> None:
    """Start a keeper where there is none, and wait until the server answers; the caller holds the users' lock."""
    ends = time.monotonic() + _STARTING_SECONDS
    while True:
        lock = open_lock(server.keeper_lock)
        try:
            if try_exclusive(lock):
                return _start_keeper(server, lock)
        finally:
            os.close(lock)
        if server.answers():
            return None
        if time.monotonic() > ends:
            raise server.failed(f"did not answer within {_STARTING_SECONDS:.0f} s")
        time.sleep(_POLL_SECONDS)


def _start_keeper(server: Server, lock: int) -> None:
    """Start a keeper that inherits the lock, so that there is no moment without it; returns when the server answers."""
    command = [sys.executable, "-m", "worker.embedded", server.kind, str(server.home), "--lock", str(lock)]
    try:
        with roll(server.keeper_log).open("ab") as log:
            started = subprocess.run(  # noqa: S603 (our own module)
                [*command, *server.arguments()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                pass_fds=[lock],
                cwd=_PACKAGES,
                env=_environment(),
                start_new_session=True,
                timeout=_STARTING_SECONDS,
                check=False,
            )
    except subprocess.TimeoutExpired:
        raise server.failed(f"did not start within {_STARTING_SECONDS:.0f} s") from None
    said = started.stdout.decode("utf-8", "replace").strip()
    if started.returncode == _USAGE:
        raise UsageError(said or f"{server.title} cannot be started (log: {server.keeper_log}).")
    if started.returncode:
        raise server.failed(said or f"could not be started by its keeper (log: {server.keeper_log})")


def _environment() -> dict[str, str]:
    """Return our environment without what may be secret: the keeper may outlive us."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PENSTOCK_", "SENTRY_", "PG"))}
