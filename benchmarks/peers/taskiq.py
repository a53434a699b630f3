"""taskiq on its Redis stream broker, the one of its brokers that acknowledges: a task a page.

https://github.com/taskiq-python/taskiq-redis · https://taskiq-python.github.io/guide/cli.html#worker
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from benchmarks.peers import Peer, Room, python
from tasks.steps.page import Payload
from tasks.steps.payload import to_envelope

TASK = "handle_page"
THREADS = 2


class Taskiq(Peer):
    """A task a page."""

    name = "taskiq"
    settings = (
        f"a task a page; Redis stream broker, orjson, uvloop; 2 processes of {THREADS} threads; acknowledged when done"
    )
    packages = ("taskiq", "taskiq_redis")
    share = 0.1

    def push(self, room: Room, payloads: Sequence[Payload]) -> None:
        """Send a task a page."""
        asyncio.run(_send(room, payloads))

    def commands(self, room: Room) -> list[list[str]]:
        """Return taskiq's own command, which starts the processes."""
        sizes = ["--workers", str(room.processes), "--max-threadpool-threads", str(THREADS)]
        options = ["--max-async-tasks", str(2 * THREADS), "--log-level", "WARNING"]
        return [python("taskiq", "worker", "benchmarks.peers.taskiq_worker:broker", *sizes, *options)]


async def _send(room: Room, payloads: Sequence[Payload]) -> None:
    from taskiq.kicker import AsyncKicker

    from benchmarks.peers.taskiq_worker import broker_at

    broker = broker_at(room.redis_url)
    await broker.startup()  # makes the group, which begins at the end of the stream
    for payload in payloads:
        await AsyncKicker(task_name=TASK, broker=broker, labels={}).kiq(to_envelope(payload))
    await broker.shutdown()


PEER = Taskiq()
