"""What dramatiq's workers import."""

from __future__ import annotations

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmarks import work
from benchmarks.peers.dramatiq import ACTOR, QUEUE
from benchmarks.peers.messages import payload_of

dramatiq.set_broker(RedisBroker(url=os.environ[work.REDIS_URL]))


@dramatiq.actor(queue_name=QUEUE, actor_name=ACTOR)
def handle_page(item: str, url: str, fetched_at: str, body: str) -> None:
    """Handle one page."""
    work.work_on([payload_of(item=item, url=url, fetched_at=fetched_at, body=body)])
