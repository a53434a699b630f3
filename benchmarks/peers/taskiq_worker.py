"""What taskiq's workers import."""

from __future__ import annotations

import os
from collections.abc import Mapping

from taskiq import AsyncBroker
from taskiq.serializers import ORJSONSerializer
from taskiq_redis import RedisStreamBroker

from benchmarks import work
from benchmarks.peers.taskiq import TASK
from tasks.steps.payload import from_envelope


def broker_at(redis_url: str) -> AsyncBroker:
    """Return the broker, for the producer and for the workers."""
    return RedisStreamBroker(url=redis_url).with_serializer(ORJSONSerializer())


def broker() -> AsyncBroker:
    """Return the broker with the task that the workers run."""
    made = broker_at(os.environ[work.REDIS_URL])
    made.register_task(handle_page, task_name=TASK)
    return made


def handle_page(envelope: Mapping[str, object]) -> None:
    """Handle one page, in one of the threads of the process, as functions that are not coroutines are."""
    work.work_on([from_envelope(envelope)])
