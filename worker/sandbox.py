"""Parses suspect pages in a process of their own, so that what a page does to it harms nobody.

The process is forked with the first page, answers one page after the other, and is replaced when it ends. A page is
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
_CONTROL_SECONDS: Final = 20.0
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
    """One ``worker.sandbox_process`` and its present fork. Raises ``SandboxAway`` where they do not start."""

    def __init__(self, page_seconds: float, memory: int) -> None:
        self.pages = 0  # that the present fork was given
        self.pid = 0  # of the present fork
        self._pipe: socket.socket | None = None  # to the present fork
        self._control, theirs = socket.socketpair()
        arguments = ["-m", "worker.sandbox_process", str(os.getpid()), str(page_seconds), str(memory)]
        with theirs:
            self._child = self._started([sys.executable, "-P", *arguments], theirs)
        self._await_start()

    def _started(self, command: list[str], stdin: socket.socket) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(command, stdin=stdin.fileno())  # noqa: S603 (our own interpreter and arguments)
        except OSError as error:
            self._control.close()
            raise SandboxAway(f"the process for suspect pages cannot be started: {error}") from error

    def _await_start(self) -> None:
        try:
            ready = frames.receive(self._control, seconds=START_SECONDS)
        except TimeoutError:
            ready = None
        if ready is None:
            self.close()
            raise SandboxAway("the process for suspect pages does not start; it says why on standard error")

    def ask(self, request: bytes, *, seconds: float, stopping: Callable[[], bool]) -> PageResult | Permanent | Ending:
        """Have a page parsed. Raises ``SandboxAway`` when the worker is to stop meanwhile."""
        pipe = self._pipe or self._forked()
        self.pages += 1
        ends = time.monotonic() + seconds
        try:
            frames.send(pipe, request, seconds=seconds)
            while not _answers(pipe) and time.monotonic() < ends:
                if stopping():
                    raise SandboxAway("the worker stops")
            answer = frames.receive(pipe, seconds=max(0.1, ends - time.monotonic()))
        except TimeoutError:
            self.end()
            return Ending(None)
        except OSError:
            answer = None
        if answer is None:
            return Ending(self.end())
        found: PageResult | Permanent = pickle.loads(answer)  # noqa: S301 (from our own process)
        return found

    def _forked(self) -> socket.socket:
        try:
            frames.send(self._control, b"fork", seconds=_CONTROL_SECONDS)
            told, files, *_ = socket.recv_fds(self._control, 32, 1)
        except OSError as error:
            raise SandboxAway(f"the process for suspect pages is gone: {error}") from error
        if not files:
            raise SandboxAway("the process for suspect pages is gone")
        self.pages, self.pid = 0, int(told)
        self._pipe = socket.socket(fileno=files[0])
        return self._pipe

    def end(self) -> int:
        """End the present fork, if it still runs; return its exit code, negative for a signal."""
        if self._pipe is not None:
            self._pipe.close()
            self._pipe, self.pages = None, 0
        try:
            frames.send(self._control, b"end", seconds=_CONTROL_SECONDS)
            code = frames.receive(self._control, seconds=_CONTROL_SECONDS)
        except OSError:
            code = None
        return -signal.SIGKILL if code is None else int(code)  # whoever killed the process killed its fork with it

    def close(self) -> None:
        """End the process and with it its fork."""
        if self._pipe is not None:
            self._pipe.close()
        self._control.close()
        self._child.kill()
        self._child.wait()


def _answers(pipe: socket.socket) -> bool:
    pipe.settimeout(_LOOK_SECONDS)
    try:
        pipe.recv(1, socket.MSG_PEEK)
    except TimeoutError:
        return False
    return True


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
        except BaseException:  # an answer that still comes would be taken for the next page's
            self.close()
            raise
        if isinstance(found, Ending):
            return found if fresh or not found.by_page else None
        if _out_of_memory(found):
            process.end()
            return found if fresh else None
        return found

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
            self._process.close()
            self._process = None


def _out_of_memory(found: PageResult | Permanent) -> bool:
    return isinstance(found, MemoryLimit) and found.details.get("cause") == "MemoryError"
