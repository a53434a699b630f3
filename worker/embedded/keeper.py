"""The keeper of one server: starts it, restarts it when it dies, and stops it when no user is left."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tasks.errors import PenstockError
from worker.embedded.locks import open_lock, try_exclusive, wait_exclusive
from worker.embedded.places import group_of
from worker.embedded.server import Server

_POLL_SECONDS = 0.25
_READY_POLL_SECONDS = 0.01
_OLD_SERVER_SECONDS = 60.0  # for the last one to be gone, whose keeper was killed
_STOP_SECONDS = 60.0  # then it is killed; both servers survive that without loss
_SETTLED_SECONDS = 10.0  # a server that lived longer is restarted at once
_SLOWEST_RESTART_SECONDS = 5.0
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_PR_SET_NO_NEW_PRIVS = 38
_LIBC = ctypes.CDLL(None)


def note(text: str) -> None:
    """Write a line to the keeper's log."""
    sys.stderr.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {text}\n")
    sys.stderr.flush()


@dataclass(slots=True)
class Keeper:
    """Keeps ``server`` until nobody uses it; ``users`` is the descriptor of the users' lock."""

    server: Server
    users: int
    _lock: int = -1
    _child: subprocess.Popen[bytes] | None = None
    _started: float = field(default=0.0)
    _deaths: int = 0  # in a row, each soon after the start

    def start(self) -> None:
        """Start the server and return when it answers. Raises ``PenstockError``, ``OSError``."""
        self._lock = open_lock(self.server.server_lock)
        if not wait_exclusive(self._lock, _OLD_SERVER_SECONDS):
            raise self.server.failed(f"is still running without its keeper after {_OLD_SERVER_SECONDS:.0f} s")
        self.server.prepare()
        child = self._spawn()
        while not self.server.answers():
            if child.poll() is not None:
                raise self.server.failed(f"ended at its start with status {child.returncode}")
            if self._nobody_left():
                return
            time.sleep(_READY_POLL_SECONDS)
        note(f"{self.server.kind} answers, process {child.pid}")

    def keep(self) -> None:
        """Return when no user is left; holds their lock alone from then on."""
        while not self._nobody_left():
            if self._child is None or self._child.poll() is not None:
                self._restart_when_due()
            time.sleep(_POLL_SECONDS)
        note("nobody is left")

    def stop(self) -> None:
        """Stop the server, cleanly if it lets itself be stopped."""
        child = self._child
        if child is None or child.poll() is not None:
            return
        child.send_signal(self.server.stop_signal)
        child.send_signal(signal.SIGCONT)  # a paused one would never see it
        try:
            child.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            note(f"{self.server.kind} did not stop within {_STOP_SECONDS:.0f} s and is killed")
            child.kill()
            child.wait()
        note(f"{self.server.kind} stopped with status {child.returncode}")
        self.server.tidy()

    def _nobody_left(self) -> bool:
        return try_exclusive(self.users)

    def _restart_when_due(self) -> None:
        if self._child is not None:
            lived = time.monotonic() - self._started
            self._deaths = 0 if lived > _SETTLED_SECONDS else self._deaths + 1
            note(f"{self.server.kind} ended with status {self._child.returncode} after {lived:.1f} s")
            self._child = None
        wait = min(_SLOWEST_RESTART_SECONDS, self._deaths * _POLL_SECONDS * 2)
        if time.monotonic() - self._started < wait:
            return
        try:
            self._spawn()
        except (OSError, PenstockError) as error:
            note(f"{self.server.kind} cannot be started: {error}")
            self._started = time.monotonic()
            self._deaths += 1

    def _spawn(self) -> subprocess.Popen[bytes]:
        user = self.server.user_id()
        with self.server.log.open("ab") as log:
            self._child = subprocess.Popen(  # noqa: S603
                self.server.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=clean_environment(),
                user=user,
                group=None if user is None else group_of(user),
                extra_groups=None if user is None else [],
                pass_fds=[self._lock],
                start_new_session=True,
                preexec_fn=_die_with(os.getpid(), self.server.stop_signal),  # noqa: PLW1509 (one thread here)
            )
        self._started = time.monotonic()
        return self._child


def clean_environment() -> dict[str, str]:
    """Return the environment of a server: no settings of the user's, plain messages."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def _die_with(parent: int, stop_signal: signal.Signals) -> Callable[[], None]:
    """Return what a child does between fork and exec: the kernel is to stop it when the keeper dies."""

    def hook() -> None:
        if sys.platform == "linux":
            _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            _LIBC.prctl(_PR_SET_PDEATHSIG, int(stop_signal))
            if os.getppid() != parent:
                os._exit(1)

    return hook
