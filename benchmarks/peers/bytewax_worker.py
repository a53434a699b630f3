"""The workers' side of ``bytewax``."""

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
    """One consumer of the group."""

    def __init__(self) -> None:
        self._client = _client()
        self._name = f"worker-{os.getpid()}"

    def next_batch(self) -> list[Entry]:
        """Return the next entries; none when there are none, as it must not block."""
        found: Any = self._client.xreadgroup(GROUP, self._name, {STREAM: ">"}, count=BATCH)
        return found[0][1] if found else []


class StreamSource(DynamicSource[Entry]):
    """Reads the stream."""

    def build(self, step_id: str, worker_index: int, worker_count: int) -> _Reader:  # noqa: ARG002 (all are alike)
        """Return the part of one worker."""
        return _Reader()


class _Writer(StatelessSinkPartition[Page]):
    """Stores pages, then acknowledges their entries."""

    def __init__(self) -> None:
        self._client = _client()

    def write_batch(self, items: list[Page]) -> None:
        """Handle a batch, which is one of the source."""
        work.work_on([payload for _, payload in items])
        self._client.xack(STREAM, GROUP, *(entry for entry, _ in items))


class StoringSink(DynamicSink[Page]):
    """Stores what comes."""

    def build(self, step_id: str, worker_index: int, worker_count: int) -> _Writer:  # noqa: ARG002 (all are alike)
        """Return the part of one worker."""
        return _Writer()


def _page(entry: Entry) -> Page:
    return entry[0], decode_fields(entry[1], max_body=MAX_BODY)


def _client() -> redis.Redis:
    return redis.Redis.from_url(os.environ[work.REDIS_URL])


flow = Dataflow("pages")
op.output("store", op.map("decode", op.input("read", flow, StreamSource()), _page), StoringSink())
