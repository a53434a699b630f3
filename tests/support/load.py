"""A producer that pushes all the time, and each page until it is taken."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from tasks.errors import Transient
from tasks.steps.page import Payload
from tests.support.corpus import Push
from tests.support.crawl import Crawl, payloads

BATCH = 10
PAUSE_SECONDS = 0.08


class Load:
    """Pushes in a thread of its own, as long as the block lasts."""

    def __init__(self, crawl: Crawl, pushes: Sequence[Push]) -> None:
        self._crawl, self._all, self._payloads = crawl, pushes, payloads(pushes)
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._count = 0

    @property
    def pushed(self) -> list[Push]:
        """What was taken so far."""
        return list(self._all[: self._count])

    def _run(self) -> None:
        while not self._ends.wait(PAUSE_SECONDS) and self._count < len(self._all):
            batch = self._payloads[self._count : self._count + BATCH]
            while not self._taken(batch):
                time.sleep(0.1)
            self._count += len(batch)

    def _taken(self, batch: Sequence[Payload]) -> bool:
        try:
            self._crawl.stream.push(batch)
        except Transient:
            return False
        return True

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ends.set()
        self._thread.join(60)
        assert self._count < len(self._all), "the corpus is too small for this test"
