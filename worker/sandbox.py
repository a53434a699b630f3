"""Parses suspect pages in a process of their own, so that what a page does to it harms nobody.

The process is started with the first page, answers one page after the other, and is replaced when it ends. A page is
blamed only for what it alone can have done: the crash of a process that had other pages before is tried again in a
fresh one, and what may have come from outside (SIGKILL, a process that stands still) is tried ``TRIALS`` times.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from tasks.errors import MemoryLimit, Permanent, Poison, SandboxAway, TimeLimit, Undecided
from tasks.guard import named
from tasks.steps.page import PageResult, Payload, SourceProfile
from worker import frames
from worker.limits import told

TRIALS: Final = 3
START_SECONDS: Final = 60.0
_PATIENCE_SECONDS: Final = 5.0  # after which the next trial is left to the next delivery
_LOOK_SECONDS: Final = 0.25
_KEPT: Final = 1000  # pages without a verdict that are remembered
_OWN_DOING: Final = frozenset(
    {signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT, signal.SIGSYS, signal.SIGTRAP}
)
_NAMES: Final = {int(one): one.name for one in signal.Signals}


@dataclass(frozen=True, slots=True)
class Ending:
    """How a process ended before it answered; ``code`` None: it did not, and gave no answer in time either."""

    code: int | None

    @property
    def signal(self) -> int:
        """The signal that ended it; 0 for none."""
        return -self.code if self.code is not None and self.code < 0 else 0

    @property
    def by_page(self) -> bool:
        """Whether the process can only have done it by itself."""
        return self.code is not None and (self.code >= 0 or self.signal in _OWN_DOING)

    def __str__(self) -> str:
        if self.code is None:
            return "gave no answer in time"
        if not self.signal:
            return f"ended it with exit code {self.code}"
        return f"was ended by {_NAMES.get(self.signal) or f'signal {self.signal}'}"


class Process:
    """One process that parses. Raises ``SandboxAway`` where it does not start."""

    def __init__(self, page_seconds: float, memory: int) -> None:
        self.pages = 0
        self._pipe, theirs = socket.socketpair()
        arguments = ["-m", "worker.sandbox_process", str(os.getpid()), str(page_seconds), str(memory)]
        with theirs:
            self._child = self._started([sys.executable, "-P", *arguments], theirs)
        self._await_start()

    def _started(self, command: list[str], stdin: socket.socket) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(command, stdin=stdin.fileno())  # noqa: S603 (our own interpreter and arguments)
        except OSError as error:
            self._pipe.close()
            raise SandboxAway(f"the process for suspect pages cannot be started: {error}") from error

    def _await_start(self) -> None:
        try:
            ready = frames.receive(self._pipe, seconds=START_SECONDS)
        except TimeoutError:
            ready = None
        if ready is None:
            raise SandboxAway(f"the process for suspect pages does not start: exit code {self.end()}")

    def ask(self, request: bytes, *, seconds: float, stopping: Callable[[], bool]) -> PageResult | Permanent | Ending:
        """Have a page parsed. Raises ``SandboxAway`` when the worker is to stop meanwhile."""
        self.pages += 1
        ends = time.monotonic() + seconds
        try:
            frames.send(self._pipe, request, seconds=seconds)
            while not self._answers() and time.monotonic() < ends:
                if stopping():
                    raise SandboxAway("the worker stops")
            answer = frames.receive(self._pipe, seconds=max(0.1, ends - time.monotonic()))
        except TimeoutError:
            return Ending(None)
        except OSError:
            answer = None
        if answer is None:
            return Ending(self._ended())
        found: PageResult | Permanent = pickle.loads(answer)  # noqa: S301 (from our own process)
        return found

    def _answers(self) -> bool:
        self._pipe.settimeout(_LOOK_SECONDS)
        try:
            self._pipe.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            return False
        return True

    def _ended(self) -> int | None:
        try:
            return self._child.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            return None

    def end(self) -> int:
        """End the process, if it still runs; return its exit code."""
        self._pipe.close()
        self._child.kill()
        return self._child.wait()


class Sandbox:
    """The ``Sandbox`` of the tasks, for one process."""

    def __init__(self, *, page_seconds: float, memory: int, trial_seconds: float, stopping: Callable[[], bool]) -> None:
        self._page_seconds = page_seconds
        self._memory = memory
        self._trial_seconds = trial_seconds
        self._stopping = stopping
        self._process: Process | None = None
        self._undecided: Counter[bytes] = Counter()

    def understand(self, payload: Payload, profile: SourceProfile) -> PageResult:
        """Parse a page; see ``tasks.ports.Sandbox``."""
        request = pickle.dumps((payload, profile))
        key = blake2b(request, digest_size=16).digest()
        patience = time.monotonic() + _PATIENCE_SECONDS
        while True:
            found = self._tried(request)
            verdict = self._verdict(found, key) if isinstance(found, Ending) else found
            if verdict is not None:
                break
            if time.monotonic() > patience:
                raise Undecided(trials=self._undecided[key])
        self._undecided.pop(key, None)
        if isinstance(verdict, PageResult):
            return verdict
        raise named(verdict, payload, profile)

    def _tried(self, request: bytes) -> PageResult | Permanent | Ending | None:
        """Parse once; None when what happened may be the doing of an earlier page of the process."""
        process = self._process = self._process or Process(self._page_seconds, self._memory)
        fresh = process.pages == 0
        try:
            found = process.ask(request, seconds=self._trial_seconds, stopping=self._stopping)
        except SandboxAway:
            self.close()
            raise
        blamed = found.by_page if isinstance(found, Ending) else _out_of_memory(found)
        if blamed or isinstance(found, Ending):
            self.close()
        return found if fresh or not blamed else None

    def _verdict(self, ending: Ending, key: bytes) -> Permanent | None:
        """Return what the page is to be kept as; None when it is to be tried again."""
        if ending.signal == signal.SIGPROF:
            return TimeLimit(told(self._page_seconds))
        if ending.by_page:
            return Poison(f"the parser {ending} in a process of its own")
        if len(self._undecided) > _KEPT:
            self._undecided.clear()
        self._undecided[key] += 1
        if self._undecided[key] < TRIALS:
            return None
        if ending.code is None:
            return TimeLimit(f"parsing gave no answer within {self._trial_seconds:g} seconds, {TRIALS} times in a row")
        return Poison(f"the parser {ending} in a process of its own, {TRIALS} times in a row")

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.end()
            self._process = None


def _out_of_memory(found: PageResult | Permanent) -> bool:
    return isinstance(found, MemoryLimit) and found.details.get("cause") == "MemoryError"
