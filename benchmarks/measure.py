"""One run of one peer: its queue is filled, then its workers start, and the clock runs from the first page handled.

The clock and the CPU times stop with the last commit. What was handled when the first look found anything does not
count, so that neither the start of the workers nor the first batch makes a difference. Only where that look found that
all was done, in runs of a few pages, does the clock run from the start of the workers.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.peers import Peer, Room
from benchmarks.processes import Workers, cpu_seconds, every_process, memory_bytes, tree
from benchmarks.reference import Rows, differences
from benchmarks.servers import Servers
from tasks.errors import PenstockError
from tasks.steps.page import Payload

POLL_SECONDS: Final = 0.01  # near the two ends of the measured time
SELDOM_SECONDS: Final = 0.1  # between them: what we do is taken from the workers' time
_NEARLY: Final = 0.95
SAMPLE_SECONDS: Final = 2.0  # between two looks at the memory, for which the kernel goes through all of its pages
STALL_SECONDS: Final = 120.0  # without any page handled


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The pages that a peer gets, and what must be stored of them."""

    payloads: Sequence[Payload] = field(repr=False)
    wanted: Rows = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one run came to. CPU is in milliseconds a page."""

    pages: int
    pushed_per_s: float
    pages_per_s: float
    workers_ms: float
    redis_ms: float
    database_ms: float
    peak_mb: float  # of the workers
    redis_bytes_per_page: float
    wrong: tuple[str, ...]  # what is stored and should not be, or the other way round

    @property
    def cpu_ms(self) -> float:
        """CPU in all."""
        return self.workers_ms + self.redis_ms + self.database_ms


@dataclass(frozen=True, slots=True)
class _Mark:
    """A point in time: the clock, and the CPU seconds of workers, Redis and database."""

    handled: int
    clock: float
    cpu: tuple[float, float, float]


def run(peer: Peer, servers: Servers, load: Load, home: Path) -> Run:
    """Run a peer once. Raises ``PenstockError`` when its workers end or stand still."""
    home.mkdir()
    with servers.database("bench") as store_url:
        room = Room(redis_url=servers.redis_url, store_url=store_url, home=home, pages=len(load.payloads))
        peer.prepare(room)
        before, began = servers.settled_memory(), time.monotonic()
        peer.push(room, load.payloads)
        pushed = time.monotonic() - began
        queued = servers.settled_memory() - before
        servers.checkpoint()
        with Workers(peer.commands(room), environ=peer.environ(room), home=home) as workers:
            first, last, peak = _Watch(peer, room, servers, workers).until_done()
        wrong = differences(load.wanted, peer.rows(room))
    pages, seconds = last.handled - first.handled, last.clock - first.clock
    cpu = [(end - start) * 1000 / pages for start, end in zip(first.cpu, last.cpu, strict=True)]
    return Run(
        pages=room.pages,
        pushed_per_s=room.pages / pushed,
        pages_per_s=pages / seconds,
        workers_ms=cpu[0],
        redis_ms=cpu[1],
        database_ms=cpu[2],
        peak_mb=peak / 1e6,
        redis_bytes_per_page=queued / room.pages,
        wrong=tuple(wrong),
    )


@dataclass(slots=True)
class _Watch:
    """Looks at a run until all of its pages are handled."""

    peer: Peer
    room: Room
    servers: Servers
    workers: Workers
    _peak: int = 0
    _sample_at: float = 0.0

    def until_done(self) -> tuple[_Mark, _Mark, int]:
        """Return the two ends of the measured time, and the highest memory of the workers in bytes."""
        start = self._mark(0)
        first = self._mark(self._wait_for(1))
        handled = self._wait_for(self.room.pages)
        last = self._mark(handled)
        return start if first.handled == last.handled else first, last, self._peak

    def _wait_for(self, pages: int) -> int:
        """Wait until so many pages are handled; return how many are."""
        handled, moved = 0, time.monotonic()
        while True:
            now_handled = self.peer.handled(self.room)
            now = time.monotonic()
            if now_handled >= pages:
                return now_handled
            if now >= self._sample_at:
                self._sample(now)
            if now_handled > handled:
                handled, moved = now_handled, now
            elif now - moved > STALL_SECONDS:
                told = f"{self.peer.name} stands still at {handled:,} of {self.room.pages:,} pages"
                raise PenstockError(f"{told}:\n{self.workers.last_lines()}")
            time.sleep(SELDOM_SECONDS if 0 < now_handled < _NEARLY * pages else POLL_SECONDS)

    def _sample(self, now: float) -> None:
        self.workers.require_running()
        self._peak = max(self._peak, memory_bytes(tree(every_process(), self.workers.roots)))
        self._sample_at = now + SAMPLE_SECONDS

    def _mark(self, handled: int) -> _Mark:
        clock = time.monotonic()
        processes = every_process()
        roots = (self.workers.roots, [self.servers.redis_pid], [self.servers.postgres_pid])
        workers, queue, database = (cpu_seconds(processes, one) for one in roots)
        return _Mark(handled, clock, (workers, queue, database))
