"""``python -m worker.relief``: takes pages off a Redis that is full, for as long as it refuses all else.

A worker that starts, or reconnects, while Redis is at its memory limit cannot join Celery: that wants to write first,
and is refused. What makes room are acknowledged pages. So a process of its own, without Celery, handles pages until
Redis takes writes again. It runs beside the worker and not in it, since a page may end the process that parses it.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import structlog

from tasks.base import Context
from tasks.errors import PenstockError, Transient
from tasks.events import Event
from tasks.ingest import pull
from worker.app import build_context
from worker.limits import die_with, limit_memory
from worker.runtime import open_stream, runtime
from worker.stream import PageStream
from worker.telemetry import configure_logging

LONGEST_SECONDS = 300.0  # then the worker looks anew whether this is still needed
TURN_SECONDS = 2.0

log = structlog.get_logger("penstock.worker")


def relieve(ctx: Context, stream: PageStream) -> Mapping[str, int]:
    """Handle pages until Redis takes writes, the stream is empty, or five minutes have passed; return the outcomes."""
    done: Counter[str] = Counter()
    short = replace(ctx, limits=replace(ctx.limits, pull_seconds=TURN_SECONDS))
    ends = time.monotonic() + LONGEST_SECONDS
    while time.monotonic() < ends and stream.is_out_of_memory() and _has_pages(stream):
        try:
            done += pull(short)
        except Transient as error:
            log.warning(Event.TASK_GAVE_UP, error_class=error.error_class, message=error.message)
            ctx.wait(1.0)
    return done


def _has_pages(stream: PageStream) -> bool:
    state = stream.snapshot()
    return state.length > state.parked


def main() -> None:
    """Run the command."""
    die_with(os.getppid())
    settings = runtime().settings
    configure_logging(level=settings.log_level, fmt=settings.log_format)
    limit_memory(settings.process_memory)
    try:
        done = relieve(build_context(), open_stream(runtime()))
    except PenstockError as error:
        sys.stderr.write(f"penstock: {error}\n")
        sys.exit(1)
    log.info(Event.STREAM_RELIEVED, **done)


if __name__ == "__main__":
    main()
