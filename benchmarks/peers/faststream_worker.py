"""The workers' side of ``faststream``."""

from __future__ import annotations

import logging
import os
from typing import Any

from faststream import AckPolicy, FastStream
from faststream.redis import RedisBroker, StreamSub

from benchmarks import work
from benchmarks.peers.faststream import BATCH, GROUP, STREAM
from tasks.steps.payload import from_envelope

broker = RedisBroker(os.environ[work.REDIS_URL], log_level=logging.DEBUG)  # below which level it logs each message
app = FastStream(broker)


@broker.subscriber(
    stream=StreamSub(STREAM, group=GROUP, consumer=f"worker-{os.getpid()}", batch=True, max_records=BATCH),
    ack_policy=AckPolicy.NACK_ON_ERROR,  # the default would acknowledge what could not be stored
)
async def handle(envelopes: list[dict[str, Any]]) -> None:
    """Handle a batch."""
    work.work_on([from_envelope(one) for one in envelopes])
