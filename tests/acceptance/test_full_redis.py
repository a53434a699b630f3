"""Redis stands at its limit of memory, and producers do not let go: nothing is lost, and workers make room again."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tasks.errors import StreamFull
from tasks.steps.page import Payload
from tasks.steps.payload import encode_fields
from tests.acceptance.conftest import Penstock
from tests.support.corpus import corpus
from tests.support.crawl import Crawl, payloads, wait_for
from tests.support.servers import Redis, folder_for_servers

MEGABYTE = 1 << 20
LIMIT = 8 * MEGABYTE
WAITING = 300  # pages of the producer that waits


@pytest.fixture
def folder() -> Iterator[Path]:
    with folder_for_servers() as made:
        yield made


@pytest.fixture
def small_redis(folder: Path) -> Iterator[Redis]:
    server = Redis(folder / "redis", maxmemory=str(LIMIT))
    server.start()
    yield server
    server.kill()


class BareProducer:
    """Appends entries with nothing but XADD, as a producer in any language may; it knows no high-water mark."""

    def __init__(self, crawl: Crawl, client: redis.Redis) -> None:
        self._key, self._client = crawl.stream._key, client

    def fill(self, pages: list[Payload]) -> int:
        """Append until Redis refuses; return how many it took."""
        for count, page in enumerate(pages):
            if not self._added(page):
                return count
        pytest.fail("Redis was not filled")

    def insist(self, pages: list[Payload]) -> None:
        """Append all, each again and again until Redis takes it."""
        for page in pages:
            while not self._added(page):
                time.sleep(0.001)

    def _added(self, page: Payload) -> bool:
        try:
            self._client.xadd(self._key, encode_fields(page))  # type: ignore[arg-type]
        except redis.OutOfMemoryError:
            return False
        return True


def _push_until_full(crawl: Crawl, pages: list[Payload]) -> int:
    for at in range(0, len(pages), 20):
        try:
            crawl.stream.push(pages[at : at + 20], compress=False)
        except StreamFull:
            return at
    pytest.fail("Redis did not get full")


def _lines(pages: list[Payload]) -> bytes:
    return "\n".join(
        json.dumps(
            {"source": one.source, "item": one.item, "body": one.body.decode(), "fetched_at": str(one.fetched_at)}
        )
        for one in pages
    ).encode()


def test_a_redis_at_its_limit_refuses_producers_and_is_drained_by_workers_that_start_then(
    small_redis: Redis, folder: Path
) -> None:
    pushes = corpus(seed=8, pages=5_000)
    pages = payloads(pushes)
    crawl = Crawl(small_redis.url, f"sqlite:///{folder / 'store.db'}")
    penstock = Penstock(folder / "home", **crawl.environ())
    client = small_redis.client()
    bare = BareProducer(crawl, client)
    try:
        crawl.stream.epoch()
        taken = _push_until_full(crawl, pages)
        refused = penstock.attempt("push", "-", "--format", "ndjson", stdin=_lines(pages[taken : taken + 5]))
        assert refused.returncode == 75
        assert "memory" in refused.stderr.decode()
        waits = folder / "waits.ndjson"
        waits.write_bytes(_lines(pages[taken : taken + WAITING]))
        waiting = penstock.start("push", waits, "--wait")
        taken += WAITING
        taken += bare.fill(pages[taken:])
        with pytest.raises(redis.OutOfMemoryError):
            client.set("celery", "cannot write either")
        insisting = threading.Thread(target=bare.insist, args=(pages[taken : taken + 600],))
        insisting.start()
        taken += 600
        workers = [penstock.start("work", "--only", "ingest", "--concurrency", "1") for _ in range(2)]
        insisting.join(60)
        assert not insisting.is_alive()
        assert waiting.wait(60) == 0
        wait_for("all to be done", lambda: crawl.settled() == taken)
        crawl.wait_until_at_rest()
        crawl.check(pushes[:taken])
        assert [worker.poll() for worker in workers] == [None, None]
        assert int(client.info("memory")["used_memory"]) < LIMIT / 2
    finally:
        client.close()
        penstock.close()
        crawl.close()
