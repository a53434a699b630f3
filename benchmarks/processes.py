"""Other processes, as ``/proc`` tells of them: CPU time and memory of whole trees; and the workers of a run."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from tasks.errors import PenstockError
from worker.limits import die_with

_TICK: Final = 1 / os.sysconf("SC_CLK_TCK")
_PSS: Final = re.compile(rb"^Pss: +([0-9]+) kB", re.MULTILINE)
_GRACE_SECONDS: Final = 15.0
_LAST_LINES: Final = 20
_CHECKOUT: Final = Path(__file__).resolve().parents[1]


class Seen(NamedTuple):
    """A process at one instant."""

    parent: int
    cpu: float  # seconds, user and system, its own and those of its children that have ended


def every_process() -> dict[int, Seen]:
    """Look at all processes. Format: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):  # it has ended
                found[int(folder.name)] = _parsed((folder / "stat").read_bytes())
    return found


def _parsed(stat: bytes) -> Seen:
    fields = stat.rpartition(b")")[2].split()
    return Seen(int(fields[1]), sum(map(int, fields[11:15])) * _TICK)


def tree(processes: Mapping[int, Seen], roots: Iterable[int]) -> list[int]:
    """Return the roots and all that descend from them, as far as they are alive."""
    children: dict[int, list[int]] = {}
    for pid, seen in processes.items():
        children.setdefault(seen.parent, []).append(pid)
    found: list[int] = []
    left = [pid for pid in roots if pid in processes]
    while left:
        pid = left.pop()
        found.append(pid)
        left += children.get(pid, ())
    return found


def cpu_seconds(processes: Mapping[int, Seen], roots: Iterable[int]) -> float:
    """Return the CPU time of these trees, with that of their members that have ended and were waited for."""
    return sum(processes[pid].cpu for pid in tree(processes, roots))


def memory_bytes(pids: Iterable[int]) -> int:
    """Return the memory of processes: what several share counts once, in shares (PSS)."""
    total = 0
    for pid in pids:
        with suppress(OSError):  # it has ended
            found = _PSS.search(Path(f"/proc/{pid}/smaps_rollup").read_bytes())
            total += int(found[1]) * 1024 if found else 0
    return total


class Workers:
    """The worker processes of a run, and their log. They end with the block, or with this process."""

    def __init__(self, commands: Sequence[Sequence[str]], *, environ: Mapping[str, str], home: Path) -> None:
        self._log = home / "workers.log"
        self._started: list[subprocess.Popen[bytes]] = []
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PENSTOCK_", "CELERY_"))}
        self._environ = {**kept, "PYTHONPATH": str(_CHECKOUT), **environ}
        self._commands, self._home = commands, home

    def __enter__(self) -> Self:
        parent = os.getpid()
        with self._log.open("ab") as log:
            for command in self._commands:
                self._started.append(
                    subprocess.Popen(
                        command,
                        cwd=self._home,
                        env=self._environ,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                        preexec_fn=lambda: die_with(parent),  # noqa: PLW1509 (one thread here)
                    )
                )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for one in self._started:
            with suppress(ProcessLookupError):
                one.send_signal(signal.SIGTERM)
        ends = time.monotonic() + _GRACE_SECONDS
        for one in self._started:
            with suppress(subprocess.TimeoutExpired):
                one.wait(max(0.0, ends - time.monotonic()))
            with suppress(ProcessLookupError):  # whatever of its session did not end with it
                os.killpg(one.pid, signal.SIGKILL)
            one.wait()

    @property
    def roots(self) -> list[int]:
        """The processes that were started."""
        return [one.pid for one in self._started]

    def require_running(self) -> None:
        """Raise ``PenstockError`` with the end of the log when one has ended."""
        for one, command in zip(self._started, self._commands, strict=True):
            if one.poll() is not None:
                raise PenstockError(f"{' '.join(command)} ended with {one.returncode}:\n{self.last_lines()}")

    def last_lines(self) -> str:
        """Return the end of the log."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-_LAST_LINES:])
