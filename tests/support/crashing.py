"""A store and a stream that kill the process that uses them, once, at a chosen point of its work."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import tasks.base
from tasks.fetch_ports import ItemEnd, ItemPushed
from tasks.ports import Entry, Settled, Stream
from tasks.steps.page import ItemState, Outcome
from worker.store import SqlStore
from worker.store.driver import Driver, Transaction


class Crash:
    """The death of a process at a point, the ``times``-th time that it gets there; only of the first that does."""

    def __init__(self, point: str, marker: Path, *, times: int = 1) -> None:
        self._point, self._marker, self._left = point, marker, times

    def reached(self, point: str) -> None:
        """Die if this is the point."""
        if point != self._point:
            return
        self._left -= 1
        if self._left == 0 and self._is_first():
            os.kill(os.getpid(), signal.SIGKILL)

    def _is_first(self) -> bool:
        try:
            marker = os.open(self._marker, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except FileExistsError:
            return False
        os.write(marker, str(os.getpid()).encode())
        os.close(marker)
        return True


class CrashingDriver:
    """A driver whose armed transactions have a point before and after their commit."""

    def __init__(self, driver: Driver, crash: Crash) -> None:
        self._driver, self._crash = driver, crash
        self.armed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    @contextmanager
    def transaction(self, *, write: bool = True) -> Iterator[Transaction]:
        with self._driver.transaction(write=write) as tx:
            yield tx
            self._reached("before_commit")
        self._reached("after_commit")

    def _reached(self, point: str) -> None:
        if self.armed:
            self._crash.reached(point)


class CrashingStore(SqlStore):
    """A store whose claims and commits have points."""

    def __init__(self, store: SqlStore, crash: Crash) -> None:
        self._crashing = CrashingDriver(store._driver, crash)
        super().__init__(cast("Driver", self._crashing))
        self._crash = crash

    def claim_failures(self, **how: Any) -> Any:
        claimed = super().claim_failures(**how)
        self._claimed(claimed)
        return claimed

    def claim_items(self, **how: Any) -> Any:
        claimed = super().claim_items(**how)
        self._claimed(claimed)
        return claimed

    def commit(self, *what: Any, **how: Any) -> list[Settled]:
        with self._commit():
            return super().commit(*what, **how)

    def commit_retry(self, *what: Any, **how: Any) -> Outcome | None:
        with self._commit():
            return super().commit_retry(*what, **how)

    def settle_items(self, ends: Sequence[ItemEnd], **how: Any) -> list[ItemState | None]:
        if not any(isinstance(one, ItemPushed) for one in ends):
            return super().settle_items(ends, **how)
        with self._commit():
            return super().settle_items(ends, **how)

    def _claimed(self, claimed: Sequence[object]) -> None:
        if claimed:
            self._crash.reached("after_claim")

    @contextmanager
    def _commit(self) -> Iterator[None]:
        self._crash.reached("after_parse")
        self._crashing.armed = True
        try:
            yield
        finally:
            self._crashing.armed = False


class CrashingStream:
    """A stream whose reads, acknowledgements and pushes have points after them."""

    def __init__(self, stream: Stream, crash: Crash) -> None:
        self._stream, self._crash = stream, crash

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def read(self, count: int, block_ms: int) -> list[Entry]:
        entries = self._stream.read(count, block_ms)
        if entries:
            self._crash.reached("after_read")
        return entries

    def ack(self, entry_ids: Sequence[str]) -> None:
        self._stream.ack(entry_ids)
        if entry_ids:
            self._crash.reached("after_ack")

    def push(self, payloads: Sequence[Any]) -> list[str]:
        ids = self._stream.push(payloads)
        self._crash.reached("after_push")
        return ids


def crashing(ctx: tasks.base.Context, crash: Crash) -> tasks.base.Context:
    """Return the context with points to die at."""
    assert isinstance(ctx.store, SqlStore)
    stream = cast("Stream", CrashingStream(ctx.stream, crash))
    store = CrashingStore(ctx.store, crash)
    return replace(ctx, store=store, frontier=store, stream=stream)
