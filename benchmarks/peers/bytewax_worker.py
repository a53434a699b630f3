"""What bytewax's workers import."""

from __future__ import annotations

import os
from typing import Any

import bytewax.operators as op
import redis
from bytewax.dataflow import Dataflow
from bytewax.inputs import DynamicSource, StatelessSourcePartition
from bytewax.outputs import DynamicSink, StatelessSinkPartition

from benchmarks import work
from benchmarks.peers.bytewax import BATCH, GROUP, STREAM
from tasks.steps.page import Payload
from tasks.steps.payload import MAX_BODY, decode_fields

Entry = tuple[bytes, dict[bytes, bytes]]
Page = tuple[bytes, Payload]  # with the ID of its entry


class _Reader(StatelessSourcePartition[Entry]):
    def __init__(self, consumer: str) -> None:
        self.client = _client()
        self.consumer = consumer

    def next_batch(self) -> list[Entry]:
        found: Any = self.client.xreadgroup(GROUP, self.consumer, {STREAM: ">"}, count=BATCH)
        return found[0][1] if found else []


class RedisSource(DynamicSource[Entry]):
    """Reads the stream; each worker is a consumer of the group."""

    def build(self, step_id: str, worker_index: int, worker_count: int) -> _Reader:
        """Return the part of one worker."""
        return _Reader(f"{step_id}-{worker_index}-of-{worker_count}")


class _Writer(StatelessSinkPartition[Page]):
    def __init__(self) -> None:
        self.client = _client()

    def write_batch(self, items: list[Page]) -> None:
        work.work_on([payload for _, payload in items])
        self.client.xack(STREAM, GROUP, *(entry for entry, _ in items))


class StoringSink(DynamicSink[Page]):
    """Handles pages, then acknowledges their entries."""

    def build(self, step_id: str, worker_index: int, worker_count: int) -> _Writer:  # noqa: ARG002  # all are alike
        """Return the part of one worker."""
        return _Writer()


def _page(entry: Entry) -> Page:
    return entry[0], decode_fields(entry[1], max_body=MAX_BODY)


def _client() -> redis.Redis:
    return redis.Redis.from_url(os.environ[work.REDIS_URL])


flow = Dataflow("pages")
op.output("store", op.map("payload", op.input("read", flow, RedisSource()), _page), StoringSink())
