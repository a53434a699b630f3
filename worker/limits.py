"""What bounds a process that parses pages: CPU time for one page, and memory. Linux; elsewhere only the time.

CPU time and not the wall clock: a process that was paused, or a busy machine, must not fail a page.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from types import FrameType, TracebackType
from typing import Final

from tasks.errors import TimeLimit

HARD: Final = 1.5  # times the limit, after which the process is ended
_AGAIN: Final = 0.1  # of the limit, after which a parser that swallowed the first interruption is interrupted again
_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h


class Limited:
    """Bounds the CPU time of what runs inside of ``with``; always used on the main thread, never nested.

    Python code that takes longer is interrupted with ``TimeLimit``. Native code cannot be, so after one and a half
    times as long the kernel ends the process by SIGPROF. Both timers count all threads of the process.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._on = False
        self._fired = False
        self._pid = 0

    def __enter__(self) -> None:
        if self._pid != os.getpid():
            self._prepare()
        self._on, self._fired = True, False
        signal.setitimer(signal.ITIMER_PROF, self._seconds * HARD)
        signal.setitimer(signal.ITIMER_VIRTUAL, self._seconds, self._seconds * _AGAIN)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._on = False
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.setitimer(signal.ITIMER_PROF, 0)
        if self._fired and kind is not TimeLimit:  # a parser swallowed it: what it then came to is worth nothing
            raise TimeLimit(told(self._seconds)) from error

    def _prepare(self) -> None:
        """Set the handlers in this process: timers do not survive a fork, and Celery sets its own after one."""
        signal.signal(signal.SIGVTALRM, self._interrupt)
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        self._pid = os.getpid()

    def _interrupt(self, _number: int, frame: FrameType | None) -> None:
        if self._on:
            self._fired = True
            if frame is None or frame.f_code is not Limited.__exit__.__code__:  # that takes the timers off, and raises
                raise TimeLimit(told(self._seconds))


def told(seconds: float) -> str:
    """Return the sentence about a page that took too long."""
    return f"parsing took more than {seconds:g} seconds of CPU time"


def limit_memory(size: int) -> None:
    """Bound the private memory of this process; what asks for more gets a ``MemoryError``.

    Only the soft bound is set, so that a child of this process may have another one.
    """
    if sys.platform == "linux":  # elsewhere RLIMIT_DATA does not count mapped memory, or refuses to be lowered
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        soft = size if hard == resource.RLIM_INFINITY else min(size, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def die_with(parent: int) -> None:
    """Have the kernel end this process when ``parent`` ends, or the thread of it that started this one."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)
