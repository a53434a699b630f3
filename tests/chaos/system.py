"""The workers of a run: groups of processes, each started again when it ends, as an init system would."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.chaos.servers import kill_tree
from tests.support.processes import children, is_running

RESTART_SECONDS = 1.0
GRACE_SECONDS = 45.0


class Group:
    """A worker with its pool."""

    def __init__(self, name: str, command: Sequence[str], environ: Mapping[str, str], log: Path) -> None:
        self.name, self.log = name, log
        self._command, self._environ = command, environ
        self._process: subprocess.Popen[bytes] | None = None
        self._start_at = 0.0
        self._asked_at: float | None = None
        self.expected = False  # whether the harness ended it
        self.kept = True
        self.ended_by_itself: list[int] = []
        self.stop_seconds: list[float] = []

    @property
    def pid(self) -> int | None:
        """The main process; None while there is none, or it has been asked to stop."""
        running = self._process is not None and self._process.poll() is None
        return self._process.pid if self._process is not None and running and self._asked_at is None else None

    @property
    def gone(self) -> bool:
        return self._process is None

    def children(self) -> list[int]:
        """Return the pool processes: those right below the main one that run the same command."""
        return [one for one in _children(self.pid) if _is_pool(one)]

    def sandboxes(self) -> list[int]:
        """Return what the pool processes started."""
        return [one for child in self.children() for one in _children(child)]

    def tend(self) -> None:
        """Start it when it is time to; bury it when it has ended."""
        now = time.monotonic()
        if self._process is not None:
            self._bury(self._process, now)
        if self._process is None and self.kept and now >= self._start_at:
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    self._command, env=self._environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    start_new_session=True,
                )  # fmt: skip

    def _bury(self, process: subprocess.Popen[bytes], now: float) -> None:
        if self._asked_at is not None and process.poll() is None and now - self._asked_at > 2 * GRACE_SECONDS:
            kill_tree(process.pid)
        code = process.poll()
        if code is None:
            return
        if self._asked_at is not None:
            self.stop_seconds.append(now - self._asked_at)
        elif not self.expected:
            self.ended_by_itself.append(code)
        self._process, self._asked_at, self.expected = None, None, False
        self._start_at = now + RESTART_SECONDS

    def kill(self, *, tree: bool) -> int:
        """Kill all of it at one instant, or only its main process; return how many processes that were."""
        if self.pid is None:
            return 0
        self.expected = True
        if tree:
            return kill_tree(self.pid)
        os.kill(self.pid, signal.SIGKILL)
        return 1

    def terminate(self) -> bool:
        """Ask it to stop."""
        if self.pid is None:
            return False
        os.kill(self.pid, signal.SIGTERM)
        self._asked_at = time.monotonic()
        return True


def _children(pid: int | None) -> list[int]:
    try:
        return [one for one in children(pid) if is_running(one)] if pid else []
    except OSError:
        return []


def _is_pool(pid: int) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return bool(command) and not any(other in command for other in (b"resource_tracker", b"worker.relief"))


class Workers:
    """All groups, and what was done to them."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self.groups = groups
        self.kills: Counter[str] = Counter()

    def tend(self) -> None:
        for group in self.groups:
            group.tend()

    def pick(self, draw: float) -> Group | None:
        """Return one of the groups that run."""
        running = [group for group in self.groups if group.pid is not None]
        return running[int(draw * len(running))] if running else None

    def children(self) -> list[int]:
        return [child for group in self.groups for child in group.children()]

    def pick_child(self, draw: float) -> int | None:
        return _one_of(self.children(), draw)

    def pick_sandbox(self, draw: float) -> int | None:
        return _one_of([child for group in self.groups for child in group.sandboxes()], draw)

    def stop(self) -> None:
        """End all of them in order; those that take too long are killed."""
        for group in self.groups:
            group.kept = False
            group.terminate()
        ends = time.monotonic() + 3 * GRACE_SECONDS
        while not all(group.gone for group in self.groups) and time.monotonic() < ends:
            self.tend()
            time.sleep(0.05)

    def kill(self) -> None:
        """End all of them at once, however they are."""
        for group in self.groups:
            group.kept = False
            if group._process is not None and group._process.poll() is None:
                kill_tree(group._process.pid)
                group._process.wait(10)


def _one_of(processes: Sequence[int], draw: float) -> int | None:
    return processes[int(draw * len(processes))] if processes else None
