"""Penstock's own Celery app, whose processes call themselves those of another machine.

Nobody here can tell whether such a process lives: what it holds and does not give back waits for the lease.
"""

from __future__ import annotations

import os

import tasks.base
from worker.app import app, build_context

__all__ = ["app"]


def _context() -> tasks.base.Context:
    ctx = build_context()
    ctx.stream.consumer = f"elsewhere|1|{os.getpid()}|1"  # type: ignore[attr-defined]
    return ctx


tasks.base.provide(_context)
