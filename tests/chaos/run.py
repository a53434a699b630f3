"""One run: servers, workers and load are started, the plan is carried out, the load ends, all comes to rest."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import redis

from tests.chaos.faults import BLOCKING, FAILS, FAULTS, Site
from tests.chaos.load import Load
from tests.chaos.look import AWAY
from tests.chaos.plan import Fault, StoreKind, plan
from tests.chaos.product import Product
from tests.chaos.servers import Postgres, Redis

TICK_SECONDS = 0.05
LATE_SECONDS = 0.25
NOTED_SECONDS = 30.0  # by then the ledger has noted an entry, even if the workers were held up in between
TAIL_SECONDS = 5.0  # how old an acknowledged write may be that a killed Redis loses with appendfsync everysec


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a run is to be."""

    store: StoreKind
    seed: int
    seconds: float
    rate: float
    folder: Path  # for logs and report
    longest: float = 15.0  # seconds that one fault lasts


@dataclass
class Happened:
    """One fault as it was."""

    fault: Fault
    began: float
    ended: float | None = None
    told: str = ""
    skipped: bool = False
    recovery: float | None = None


@dataclass
class Course:
    """What happened in a run."""

    options: Options
    happened: list[Happened] = field(default_factory=list)
    rest_seconds: float | None = None
    began: float = field(default_factory=time.monotonic)

    def note(self, text: str) -> None:
        line = f"{time.monotonic() - self.began:8.2f} {text}\n"
        with (self.options.folder / "chaos.log").open("a") as log:
            log.write(line)


def prepare(store: StoreKind, folder: Path, stack: ExitStack) -> tuple[Redis, Postgres | None, str, str]:
    """Start the servers; return them, and the store's URL around and through the network."""
    server = Redis(folder / "redis")
    server.start()
    stack.callback(server.close)
    if store == "sqlite":
        url = f"sqlite:///{folder / 'store.db'}"
        return server, None, url, url
    database = Postgres(folder)
    database.start()
    stack.callback(database.close)
    return server, database, database.url, database.public_url


def carry_out(course: Course, site: Site, load: Load) -> None:
    """Do the faults of the plan, each at its time, and tend the workers meanwhile; then calm, and the load ends."""
    options, course.began = course.options, time.monotonic()
    left = plan(options.seed, options.seconds, options.store, longest=options.longest)
    lasting: list[tuple[float, ExitStack, Happened]] = []
    try:
        while (turn := time.monotonic()) < course.began + options.seconds:
            now = turn - course.began
            for one in [one for one in lasting if one[0] <= now]:
                lasting.remove(one)
                _end(course, one)
            while left and left[0].at <= now:
                _begin(course, site, left.pop(0), lasting)
            site.workers.tend()
            time.sleep(TICK_SECONDS)
            # A server that was slow to start holds up the plan; what comes after is as far from it as it was planned.
            course.began += max(0.0, time.monotonic() - turn - LATE_SECONDS)
    finally:
        for one in lasting:
            _end(course, one)
    load.end()


def _begin(course: Course, site: Site, fault: Fault, lasting: list[tuple[float, ExitStack, Happened]]) -> None:
    one, stack = Happened(fault, time.monotonic()), ExitStack()
    course.happened.append(one)
    try:
        one.told = stack.enter_context(FAULTS[fault.kind](site, fault))
    except FAILS as error:
        one.skipped, one.told = True, f"not done: {type(error).__name__}: {error}"
    course.note(f"{fault.kind}: {one.told}")
    if one.skipped:
        return
    if fault.seconds:
        lasting.append((time.monotonic() - course.began + fault.seconds, stack, one))
    else:
        _end(course, (0.0, stack, one))


def _end(course: Course, lasting: tuple[float, ExitStack, Happened]) -> None:
    _, stack, one = lasting
    try:
        stack.close()
    except FAILS as error:
        one.told += f"; at its end {type(error).__name__}: {error}"
    one.ended = time.monotonic()
    if one.fault.seconds:
        course.note(f"{one.fault.kind}: over")


def come_to_rest(
    course: Course, site: Site, load: Load, left: Callable[[], Mapping[str, int]], *, seconds: float
) -> Mapping[str, int]:
    """Wait until all is pushed and handled; return what is left."""
    began = time.monotonic()
    remaining: Mapping[str, int] = {"unknown": 1}
    while time.monotonic() - began < seconds:
        site.workers.tend()
        try:
            remaining = left() if load.idle() else {"not pushed yet": 1}
        except (*AWAY, redis.RedisError):
            remaining = {"unknown": 1}
        if not any(remaining.values()):
            break
        time.sleep(0.25)
    course.rest_seconds = time.monotonic() - began
    course.note(f"at rest after {course.rest_seconds:.1f} s: {remaining}")
    return remaining


class Accountant:
    """Finds out what Redis lost, and whether anything is missing that it did not lose."""

    def __init__(self, product: Product, load: Load, note: Callable[[str], None]) -> None:
        self._product, self._load, self._note = product, load, note
        self._flushed_ms = 0.0

    def missing(self) -> dict[str, float]:
        """Return acknowledged entries that are neither in the stream nor in the store, with their times.

        In this order: what has left the stream by then was committed before.
        """
        acked = self._load.acked()
        waiting = self._product.waiting()
        settled = self._product.settled()
        here = waiting | settled | self._load.told.lost.keys()
        return {one: at for one, (_, at) in acked.items() if one not in here}

    def check(self) -> None:
        """Nothing may be missing now but what was on its way to the producer when Redis was flushed."""
        missing = self.missing()
        late = {one for one in missing if self._is_flushed(one)}
        self._load.lose(late, "redis_flush")
        self._vanished(missing.keys() - late)

    def _is_flushed(self, entry: str) -> bool:
        """Tell whether an entry was made before the last flush: its id begins with the time."""
        return int(entry.partition("-")[0]) <= self._flushed_ms

    def after_loss(self, at: float, why: str) -> None:
        """Push again what a flush took, or what Redis had not written yet when it was killed."""
        if why == "redis_flush":
            self._flushed_ms = time.time() * 1000
        missing = self.missing()
        excused = {one for one, acked in missing.items() if acked > at - TAIL_SECONDS or self._is_flushed(one)}
        self._vanished({one: when for one, when in missing.items() if one not in excused})
        self._load.lose(excused, why)
        if why == "redis_flush":
            self._load.told.lost_though_noted += sum(missing[one] < at - NOTED_SECONDS for one in excused)
        if excused:
            self._note(f"{why}: Redis lost {len(excused)} acknowledged entries; pushed again")

    def _vanished(self, entries: Collection[str]) -> None:
        self._load.told.vanished.update(dict.fromkeys(entries, "vanished"))
        if entries:
            self._note(f"VANISHED: {sorted(entries)[:20]}")


def measure(course: Course, progress: Sequence[float]) -> None:
    """Give each fault the time from its end to the next progress, without the time in which another one blocked all."""
    blocked = [(one.began, one.ended or one.began) for one in course.happened if BLOCKING[one.fault.kind]]
    for one in course.happened:
        ended = one.ended
        if one.skipped or ended is None:
            continue
        then = next((at for at in progress if at > ended), None)
        if then is not None:
            inside = sum(max(0.0, min(then, end) - max(ended, begin)) for begin, end in blocked)
            one.recovery = max(0.0, then - ended - inside)


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
