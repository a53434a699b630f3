"""A crawl against servers of the test: pushes to it, and what its store must hold in the end, seen from inside.

A fault test looks many times at what a command would take a second each to tell.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from tasks.errors import Transient
from tasks.steps.page import Payload
from tests.support.corpus import Push, Reference, reference
from worker.audit import audit
from worker.store import FailureFilter, SqlStore, open_store
from worker.stream import PageStream, connect

FETCHED = datetime(2024, 5, 1, tzinfo=UTC)
_namespaces = itertools.count(1)


def payloads(pushes: Iterable[Push], *, source: str = "bench") -> list[Payload]:
    """Return the payloads, each fetched a second after the one before: so no order, and no second copy, changes what
    the store must come to.
    """
    return [
        Payload(source=source, item=push.item, body=push.body, fetched_at=FETCHED + timedelta(seconds=at))
        for at, push in enumerate(pushes)
    ]


class Crawl:
    """A stream and a store, as producer and as operator."""

    def __init__(self, redis_url: str, store_url: str, namespace: str | None = None) -> None:
        self.redis_url, self.store_url = redis_url, store_url
        self.namespace = namespace or f"crawl-{next(_namespaces)}"
        self._client = connect(redis_url)
        self.stream = PageStream(
            self._client, namespace=self.namespace, high_water=100_000, lease_ms=120_000, max_body=1 << 20
        )
        self.store: SqlStore = open_store(store_url)

    def environ(self) -> dict[str, str]:
        """Return what a worker must know to work on it."""
        return {
            "PENSTOCK_REDIS_URL": self.redis_url,
            "PENSTOCK_STORE_URL": self.store_url,
            "PENSTOCK_NAMESPACE": self.namespace,
            "PENSTOCK_LOG_FORMAT": "json",
        }

    def close(self) -> None:
        self.store.close()
        self._client.close()

    def settled(self) -> int:
        """Return how many deliveries have an outcome; waits for a store that is away."""
        while True:
            try:
                return sum(self.store.counts().outcomes.values())
            except Transient:
                time.sleep(0.1)

    def at_rest(self) -> bool:
        """Tell whether nothing is in the stream or in a worker's hands."""
        now = self.stream.snapshot()
        return not now.length and not now.pending

    def wait_until_at_rest(self, seconds: float = 60) -> None:
        wait_for("the stream to be empty", self.at_rest, seconds)

    def check(self, pushes: Sequence[Push]) -> Reference:
        """Check that the store holds what the pushes come to, that nothing is left, and that the sums are right."""
        truth = reference(list(pushes))
        stored = {record["item"]: (record["revision"], tuple(record["paragraphs"])) for record in self.store.export()}
        assert stored == {item: (len(texts), texts[-1]) for item, texts in truth.texts.items()}
        assert sum(self.store.counts().items.values()) == len(truth.named)
        assert {failure["item"] for failure in self.store.failures(FailureFilter())} == truth.failed
        assert self.at_rest()
        found = audit(self.stream, self.store)
        assert found.balanced, found
        return truth


@contextmanager
def crawl(redis_url: str, store_url: str) -> Iterator[Crawl]:
    """A crawl of its own on these servers."""
    opened = Crawl(redis_url, store_url)
    yield opened
    opened.close()


def wait_for(what: str, check: Callable[[], object], seconds: float = 60) -> None:
    """Wait until ``check`` returns something true."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if check():
            return
        time.sleep(0.05)
    pytest.fail(f"waited {seconds} s in vain for: {what}")
