"""The workers' side of ``dramatiq``."""

from __future__ import annotations

import os
from collections.abc import Mapping

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmarks import work
from benchmarks.peers.dramatiq import ACTOR, QUEUE
from tasks.steps.payload import from_envelope

dramatiq.set_broker(RedisBroker(url=os.environ[work.REDIS_URL]))


@dramatiq.actor(queue_name=QUEUE, actor_name=ACTOR)
def handle(envelope: Mapping[str, object]) -> None:
    """Handle a page."""
    work.work_on([from_envelope(envelope)])
