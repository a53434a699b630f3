"""What FastStream's workers import."""

from __future__ import annotations

import logging
import os
from typing import Any

from faststream import AckPolicy, FastStream
from faststream.redis import RedisBroker, StreamSub

from benchmarks import work
from benchmarks.peers.faststream import BATCH, GROUP, STREAM
from tasks.steps.payload import from_envelope

broker = RedisBroker(os.environ[work.REDIS_URL], log_level=logging.DEBUG)
app = FastStream(broker)


@broker.subscriber(
    stream=StreamSub(STREAM, group=GROUP, consumer=f"worker-{os.getpid()}", batch=True, max_records=BATCH),
    ack_policy=AckPolicy.NACK_ON_ERROR,
)
def handle_pages(envelopes: list[dict[str, Any]]) -> None:
    """Handle a batch, in a thread, as functions that are not coroutines are."""
    work.work_on([from_envelope(one) for one in envelopes])
