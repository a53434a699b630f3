"""``work --drain``: a worker that ends when there is nothing left to do."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tasks.errors import StreamFull, Transient
from tasks.starts import plant
from tasks.steps.parse import PARSER_VERSIONS
from worker.plugins import load_parsers
from worker.runtime import Runtime, note_profiles, open_store, open_stream
from worker.stream import DISK_FULL
from worker.supervisor import INTERRUPTED, Child, penstock, run_until

if TYPE_CHECKING:
    from worker.store import SqlStore
    from worker.stream import PageStream

LOOK_SECONDS = 0.1
DISK_LOOK_SECONDS = 2.0
DISK_PATIENCE_SECONDS = 30.0
HORIZON_US = 10_000_000  # what falls due within this counts as due


def drain(rt: Runtime, roles: Sequence[str], concurrency: int) -> int:
    """Run a worker of these roles until its work is empty; return the exit code."""
    load_parsers()  # their failures of older versions are work too
    store = open_store(rt)
    for one in note_profiles(rt, store, PARSER_VERSIONS):  # and so are those of other profiles
        if one.failures:
            sys.stderr.write(
                f"penstock: the profile of {one.source} is another one; tried again: {one.failures:,} failures\n"
            )
    if "fetch" in roles:
        plant(store, rt.profiles, now=time.time_ns() // 1000)
    before = Counter(store.counts().outcomes)
    child = Child("worker", penstock("work", "--only", ",".join(roles), "--concurrency", str(concurrency)))
    try:
        code = run_until(child, empty_check(rt, roles), every_seconds=LOOK_SECONDS)
    except StreamFull:
        child.stop()
        raise
    if code == INTERRUPTED:
        sys.stderr.write("penstock: interrupted; what is left waits for the next worker\n")
        return code
    if code:
        sys.stderr.write(f"penstock: the worker ended by itself, {_ending(code)}; what it had in hand is kept\n")
        return 1
    settled = Counter(store.counts().outcomes) - before
    sys.stderr.write(f"penstock: nothing is left to do; settled: {_told(settled)}\n")
    if parked := open_stream(rt).snapshot().parked:
        names = ", ".join(store.paused_sources())
        sys.stderr.write(f"penstock: {parked:,} pages wait in the stream, as their source is paused: {names}\n")
    return 0


def _told(settled: Counter[str]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in settled.items()) or "nothing was waiting"


def empty_check(rt: Runtime, roles: Sequence[str]) -> Callable[[], bool]:
    """Return a function that tells whether these roles have nothing left, twice in a row.

    Work moves between stream and store (a fetched item becomes a page, a page names items), so one look may fall in
    between.
    """
    stream, store = open_stream(rt), open_store(rt)
    disk = _DiskWatch()
    empty_before = False

    def done() -> bool:
        nonlocal empty_before
        try:
            disk.look(stream)
            now_empty = _is_empty(rt, roles, stream, store)
        except StreamFull:
            raise
        except Transient:
            now_empty = False
        both, empty_before = now_empty and empty_before, now_empty
        return both

    return done


class _DiskWatch:
    """Gives up when Redis cannot write its file for a while: not even an acknowledgement passes then."""

    def __init__(self) -> None:
        self._look_at = 0.0
        self._full_since: float | None = None

    def look(self, stream: PageStream) -> None:
        """Ask Redis every two seconds. Raises ``StreamFull`` when its disk has been full for half a minute."""
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + DISK_LOOK_SECONDS
        refused = stream.refusal()
        if refused is None or refused.message != DISK_FULL:
            self._full_since = None
            return
        self._full_since = self._full_since or now
        if now - self._full_since > DISK_PATIENCE_SECONDS:
            message = "Redis cannot write its file, its disk may be full: make room and run this again"
            raise StreamFull(message) from refused


def _is_empty(rt: Runtime, roles: Sequence[str], stream: PageStream, store: SqlStore) -> bool:
    state = stream.snapshot()
    if "ingest" in roles and state.length > state.parked:
        return False
    horizon = time.time_ns() // 1000 + HORIZON_US
    due = store.due_counts(now=horizon, run=rt.run, budgets=rt.profiles.budgets(), parser_versions=PARSER_VERSIONS)
    if "retry" in roles and due.failures:
        return False
    if "fetch" in roles and due.items:
        return False
    if not store.texts_are_due():
        return True
    store.compare_texts(now=time.time_ns() // 1000)  # the worker may not look for another second
    return False


def _ending(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"with exit code {code}"
