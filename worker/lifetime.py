"""How a worker's main process ends: in time when it is asked to, and not for good when it is not."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

import billiard
import structlog

from tasks.events import Event

STOP_SECONDS = 30.0  # an orchestrator's usual patience, and less than the supervisor's own
STEADY_SECONDS = 60.0  # a worker that lived longer is started again at once
PAUSE_SECONDS = 5.0

log = structlog.get_logger("penstock.worker")


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
