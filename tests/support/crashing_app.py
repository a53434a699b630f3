"""Penstock's own Celery app (``celery -A tests.support.crashing_app worker``), one of whose processes dies at a point.

Its environment: ``CRASH_AT`` names the point, ``CRASH_MARKER`` the file that says that it happened, and to whom.
"""

from __future__ import annotations

import os
from pathlib import Path

import tasks.base
from tests.support.crashing import Crash, crashing
from worker.app import app, build_context

__all__ = ["app"]

TIMES = 3  # a process dies when it gets to the point for the third time: in the middle of its work


def _context() -> tasks.base.Context:
    crash = Crash(os.environ["CRASH_AT"], Path(os.environ["CRASH_MARKER"]), times=TIMES)
    return crashing(build_context(), crash)


tasks.base.provide(_context)
