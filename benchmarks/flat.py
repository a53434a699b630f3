"""Flat cost: CPU a page and memory of the workers, by pages stored, by processes, and by what waits in the stream.

    python -m benchmarks.flat stored --sizes 10000,100000,1000000
    python -m benchmarks.flat in_turn --sizes 10000,1000000
    python -m benchmarks.flat processes --of 1,2,4
    python -m benchmarks.flat backlog --sizes 0,1000000

Each prints a JSON object a line. What is measured is always the handling of ``WINDOW`` pages that wait in the stream
while nothing is pushed. ``stored`` is one run of the workers, whose memory is looked at all the while. ``in_turn``
measures two sizes again and again, one after the other, since the machine's speed changes.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from statistics import median
from typing import Any, Final

import redis

from benchmarks import servers
from benchmarks.pages import pages
from benchmarks.peers import Peer, Room, peer
from benchmarks.peers.penstock import NAMESPACE, STREAM
from benchmarks.processes import Workers, cpu_seconds, every_process, memory_bytes, tree
from benchmarks.servers import Servers
from tasks.steps.page import Payload
from worker.producer import Producer
from worker.store import open_store

WINDOW: Final = 20_000  # pages that are measured
MARGIN: Final = 1_500  # pages before and after, so that whole batches are measured at their usual size
QUEUE: Final = 20_000  # what waits at most while a store is filled
CHUNK: Final = 10_000  # pages between two looks at memory and store
MOST: Final = 10_000_000
POLL_SECONDS: Final = 0.01
NO_BOUND: Final = 1 << 40
ROUNDS: Final = 7  # of ``in_turn``
COSTS: Final = ("cpu_ms_per_page", "workers_ms", "redis_ms", "database_ms", "pages_per_s")


@dataclass(frozen=True, slots=True)
class System:
    """What is measured: a peer's workers on their servers."""

    room: Room
    servers: Servers
    workers: Workers
    client: redis.Redis
    store_url: str

    def push(self, payloads: Iterator[Payload], *, at_most: int = NO_BOUND) -> None:
        """Push payloads; wait while more than ``at_most`` are in the stream."""
        with Producer(self.room.redis_url, namespace=NAMESPACE, high_water=at_most, wait=True) as producer:
            producer.push_all(payloads)

    def stored(self) -> int:
        """Return how many pages are stored."""
        return open_store(self.store_url).counts().pages

    def waiting(self) -> int:
        """Return the length of the stream."""
        left: Any = self.client.xlen(STREAM)
        return int(left)

    def wait_until(self, waiting: int) -> int:
        """Wait until no more than so many entries are in the stream; return how many are."""
        while (left := self.waiting()) > waiting:
            self.workers.require_running()
            time.sleep(POLL_SECONDS)
        return left

    def memory_mb(self) -> float:
        """Return the memory of all workers."""
        return round(memory_bytes(tree(every_process(), self.workers.roots)) / 1e6, 1)

    def measured(self) -> dict[str, float]:
        """Measure the next ``WINDOW`` pages: milliseconds of CPU a page, pages a second."""
        began = self.wait_until(self.waiting() - MARGIN)
        before, clock = self._cpu(), time.monotonic()
        handled = began - self.wait_until(began - WINDOW)
        seconds = time.monotonic() - clock
        spent = [(after - start) * 1000 / handled for after, start in zip(self._cpu(), before, strict=True)]
        parts = dict(zip(("workers_ms", "redis_ms", "database_ms"), spent, strict=True))
        told = {"cpu_ms_per_page": sum(spent), **parts}
        return {**{name: round(one, 4) for name, one in told.items()}, "pages_per_s": round(handled / seconds)}

    def _cpu(self) -> list[float]:
        processes = every_process()
        roots = (self.workers.roots, [self.servers.redis_pid], [self.servers.postgres_pid])
        return [cpu_seconds(processes, one) for one in roots]

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let the workers stand still, so that filling the queue takes nothing from what is measured."""
        pids = tree(every_process(), self.workers.roots)
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)


@contextmanager
def _system(store: str, *, processes: int = 2, waiting: Sequence[Payload] = ()) -> Iterator[System]:
    """Start servers, fill the stream with ``waiting``, and start the workers."""
    penstock: Peer = peer("penstock" if store == "postgresql" else "penstock-sqlite")
    with servers.running() as (ours, base), ours.database("flat") as database:
        home = base / "work"
        home.mkdir()
        room = Room(redis_url=ours.redis_url, store_url=database, home=home, processes=processes, pages=0)
        penstock.prepare(room)
        if waiting:
            penstock.push(room, waiting)
        environ = penstock.environ(room)
        with Workers(penstock.commands(room), environ=environ, home=home) as workers, room.redis() as client:
            yield System(room, ours, workers, client, environ["PENSTOCK_STORE_URL"])


def stored(given: argparse.Namespace) -> Iterator[Mapping[str, Any]]:
    """Measure at each number of stored pages, in one run of the workers."""
    made = pages(MOST)
    with _system(given.store) as system:
        for size in given.sizes:
            for there in _fill(system, made, size):
                yield {"stored": there, "memory_mb": system.memory_mb()}
            yield _window(system, made)


def in_turn(given: argparse.Namespace) -> Iterator[Mapping[str, Any]]:
    """Measure a small store, a new one each time, and a large one in turn, several times; then the medians' ratios."""
    small, large = given.sizes
    told: dict[int, list[Mapping[str, Any]]] = {small: [], large: []}
    made = pages(MOST)
    with _system(given.store) as filled:
        for there in _fill(filled, made, large):
            yield {"stored": there}
        filled.servers.checkpoint()
        for _ in range(ROUNDS):
            with filled.held(), _system(given.store) as fresh:
                beginning = pages(MOST)
                list(_fill(fresh, beginning, small))
                told[small].append(_window(fresh, beginning))
            told[large].append(_window(filled, made))
            yield told[small][-1]
            yield told[large][-1]
    yield {f"{name} ratio": _ratio(told[large], told[small], name) for name in COSTS}


def _fill(system: System, made: Iterator[Payload], size: int) -> Iterator[int]:
    """Push until about ``size`` pages are stored and nothing waits; yield how many are, now and then."""
    while (there := system.stored()) < size - CHUNK // 2:
        system.push(islice(made, CHUNK), at_most=QUEUE)
        yield there
    system.wait_until(0)


def _window(system: System, made: Iterator[Payload]) -> Mapping[str, Any]:
    with system.held():
        system.push(islice(made, WINDOW + 2 * MARGIN))
    there = system.stored()
    told = {"stored": there, **system.measured(), "memory_mb": system.memory_mb()}
    system.wait_until(0)
    return told


def _ratio(more: Sequence[Mapping[str, Any]], less: Sequence[Mapping[str, Any]], name: str) -> float:
    above, below = (median(float(one[name]) for one in each) for each in (more, less))
    return round(above / below, 3)


def processes(given: argparse.Namespace) -> Iterator[Mapping[str, Any]]:
    """Measure with each number of processes that ingest, on an empty store."""
    waiting = list(pages(WINDOW + 2 * MARGIN))
    for number in given.of:
        with _system(given.store, processes=number, waiting=waiting) as system:
            yield {"processes": number, **system.measured(), "memory_mb": system.memory_mb()}


def backlog(given: argparse.Namespace) -> Iterator[Mapping[str, Any]]:
    """Measure with each number of entries that wait behind those that are measured."""
    for size in given.sizes:
        with _system(given.store) as system:
            with system.held():
                system.push(pages(WINDOW + 2 * MARGIN + size))
            bytes_per_page = system.servers.settled_memory() / system.waiting()
            yield {"backlog": size, **system.measured(), "redis_bytes_per_page": round(bytes_per_page)}


def main() -> None:
    """Measure what is asked for; print a JSON object for each measurement."""
    given = _arguments()
    for line in given.what(given):
        print(json.dumps(line), flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flat", description="Is the cost of a page flat?")
    commands = parser.add_subparsers(required=True)
    _add(commands, stored, "--sizes", (10_000, 100_000, 1_000_000))
    _add(commands, in_turn, "--sizes", (10_000, 1_000_000))
    _add(commands, processes, "--of", (1, 2, 4))
    _add(commands, backlog, "--sizes", (0, 1_000_000))
    return parser.parse_args()


def _add(commands: Any, what: Callable[..., Any], option: str, default: Sequence[int]) -> None:
    one = commands.add_parser(what.__name__, help=(what.__doc__ or "").splitlines()[0])
    one.add_argument(option, type=_numbers, default=default, help="comma-separated (default %(default)s)")
    one.add_argument("--store", choices=("postgresql", "sqlite"), default="postgresql", help="default %(default)s")
    one.set_defaults(what=what)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(one) for one in text.split(","))


if __name__ == "__main__":
    main()
