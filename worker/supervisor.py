"""Starts penstock's own processes from a command, watches them, and ends them in order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO

from worker.limits import die_with
from worker.pump import ROLES

GRACE_SECONDS = 45.0
INTERRUPTED = 130  # what a shell reports for a command that Ctrl-C ended


def worker_arguments(roles: Sequence[str], concurrency: int) -> list[str]:
    """Return the arguments of ``celery worker`` for these roles.

    Fetching and retrying get a process each beside the ``concurrency`` ones that ingest; ``worker.pump.shares`` says
    who gets which.
    """
    others = len({"fetch", "retry"} & set(roles))
    processes = concurrency + max(1, others) if "ingest" in roles else others
    queues = [ROLES[role].queue for role in (*roles, "upkeep")]
    if "ingest" in roles:
        queues.append("celery")  # ingest_page of producers that speak Celery
    return [
        "--queues",
        ",".join(queues),
        "--concurrency",
        str(processes),
        "--hostname",
        f"{'+'.join(roles)}-{os.getpid()}@%h",
        "--without-gossip",
        "--without-mingle",
    ]


class Child:
    """A process of ours in a session of its own, that the kernel ends when we die."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        environ: Mapping[str, str] | None = None,
        output: IO[bytes] | None = None,
    ) -> None:
        self.name = name
        parent = os.getpid()
        self.process = subprocess.Popen(  # noqa: S603 (our own interpreter and arguments)
            [sys.executable, "-P", *arguments],
            env={**os.environ, **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output is not None else None,
            start_new_session=True,
            preexec_fn=(lambda: die_with(parent)) if sys.platform == "linux" else None,  # noqa: PLW1509 (no threads yet)
        )

    def ended(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs."""
        return self.process.poll()

    def stop(self, grace_seconds: float = GRACE_SECONDS) -> int:
        """Ask the process to finish what it has in hand; kill it when it does not in time. Returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def penstock(*arguments: str) -> list[str]:
    """Return the interpreter's arguments that run a penstock command."""
    return ["-m", "worker.cli", *arguments]


@contextmanager
def stop_requested() -> Iterator[Callable[[], bool]]:
    """Turn SIGINT and SIGTERM into a flag for the time of the block."""
    asked = False

    def ask(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        asked = True

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_until(child: Child, done: Callable[[], bool], *, every_seconds: float = 0.25) -> int:
    """Watch a child until ``done`` or a signal, then stop it. Looks take no more than half of the time.

    Returns 0 when done, 130 after a signal, else the child's exit code, if it ended by itself.
    """
    with stop_requested() as asked:
        while not asked():
            began = time.monotonic()
            if done():
                break
            code = child.ended()
            if code is not None:
                return code or 1
            time.sleep(max(every_seconds, time.monotonic() - began))
        interrupted = asked()
        child.stop()
    return INTERRUPTED if interrupted else 0


def log_file(home: Path, name: str) -> IO[bytes]:
    """Open a log file of a child for appending."""
    folder = home / "log"
    folder.mkdir(parents=True, exist_ok=True)
    return (folder / f"{name}.log").open("ab")
