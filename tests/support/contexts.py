"""The tasks' context in this process, as ``worker.app`` builds it for a worker's."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tasks.base import Context
from tests.support.crawl import Crawl
from worker.app import build_context
from worker.runtime import runtime


class Shifted:
    """A clock that goes wrong by so many seconds; it may be set again while it runs."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds

    def now_us(self) -> int:
        return time.time_ns() // 1000 + round(self.seconds * 1_000_000)

    def monotonic(self) -> float:
        return time.monotonic()


@contextmanager
def context_of(crawl: Crawl, home: Path, **settings: str) -> Iterator[Context]:
    """Build the context of a worker on the crawl. Each pull ends after a fifth of a second."""
    with pytest.MonkeyPatch.context() as environ:
        given = {"PENSTOCK_HOME": str(home), "PENSTOCK_PULL_SECONDS": "0.2", **crawl.environ(), **settings}
        for name, value in given.items():
            environ.setenv(name, value)
        runtime.cache_clear()
        built = build_context()
        yield built
        built.sandbox.close()  # type: ignore[attr-defined]
        built.store.close()  # type: ignore[attr-defined]
        runtime.cache_clear()
