"""How a worker's main process ends: in time when it is asked to, and not for good when it is not."""

from __future__ import annotations

import mmap
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import NoReturn

import billiard
import structlog

from tasks.events import Event

STOP_SECONDS = 30.0  # an orchestrator's usual patience, and less than the supervisor's own
IDLE_SECONDS = 5.0  # for the tasks in hand to end before Celery is told to wait for them
STEADY_SECONDS = 60.0  # a worker that lived longer is started again at once
PAUSE_SECONDS = 5.0

log = structlog.get_logger("penstock.worker")

# One byte that the main process shares with its pool: set, it asks them to stop after the batch in hand.
_flag: mmap.mmap | None = None


def share_flag() -> None:
    """Make the flag that asks to stop; processes that are forked from now on share it."""
    global _flag  # noqa: PLW0603
    _flag = mmap.mmap(-1, 1)


def ask_to_stop() -> None:
    """Ask this worker to stop."""
    if _flag is not None:
        _flag[0] = 1


def asked_to_stop() -> bool:
    """Tell whether this worker has been asked to stop."""
    return _flag is not None and _flag[0] == 1


def wait(seconds: float) -> bool:
    """Wait up to ``seconds``, less when the worker is to stop; tell whether it is."""
    ends = time.monotonic() + seconds
    while not asked_to_stop():
        left = ends - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(left, 0.05))
    return True


def stop_when_idle(begin: Callable[[], None], in_hand: Callable[[], int]) -> None:
    """Have SIGTERM ``begin`` the stop, and reach Celery only when no task is in hand any more, or they take too long.

    As long as a task is in hand, Celery sleeps half a second for each process of its pool, one after the other, before
    it looks whether the task has ended.
    """
    told = signal.getsignal(signal.SIGTERM)

    def pass_on() -> None:
        ends = time.monotonic() + IDLE_SECONDS
        while in_hand() and time.monotonic() < ends:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    def first(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, told)
        begin()
        threading.Thread(target=pass_on, name="stop-when-idle", daemon=True).start()

    signal.signal(signal.SIGTERM, first)


def end_in_time(seconds: float = STOP_SECONDS) -> None:
    """End this process after so many seconds, however far Celery's own shutdown is by then.

    Celery waits for its pool without a bound, and a pool whose processes were killed at a bad moment never reports.
    What is in hand then is handed over like that of any process that was killed.
    """

    def end() -> None:
        time.sleep(seconds)
        log.error(Event.WORKER_STOP_FORCED, seconds=seconds)
        _kill_children()
        os._exit(0)

    threading.Thread(target=end, name="end-in-time", daemon=True).start()


def run_again_after(run: Callable[[], int], asked_to_stop: Callable[[], bool]) -> int:
    """Run a worker and return its exit code; if it ended by an error of its own, begin anew in its place.

    Celery gives up on errors that pass, for example when a pool process is killed while it connects. The new one is
    this very process with a new program, so that who started it need not know. Does not return then.
    """
    began = time.monotonic()
    code = run()
    if code != 0 and not asked_to_stop():
        _begin_anew(code, lived=time.monotonic() - began)
    return code


def _begin_anew(code: int, *, lived: float) -> NoReturn:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    _kill_children()
    log.error(Event.WORKER_BEGINS_ANEW, code=code)
    time.sleep(0.0 if lived > STEADY_SECONDS else PAUSE_SECONDS)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 (ourselves, with the same arguments)


def _kill_children() -> None:
    for child in billiard.active_children():
        if child.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)
