"""taskiq with taskiq-redis: a task a page, the page in the message, on the broker that acknowledges."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from benchmarks.peers import Peer, Room, python
from tasks.steps.page import Payload
from tasks.steps.payload import to_envelope

if TYPE_CHECKING:
    from taskiq import AsyncBroker

TASK: Final = "handle"


class Taskiq(Peer):
    """Redis streams, orjson for JSON, and uvloop, which taskiq's workers use where it is installed.

    The task is a function, which runs in a thread: as a coroutine, which blocks, it is slower. With 1, 2, 4 and 8
    threads in place of the default, with more fetched ahead, or without the check of arguments, it is not faster.
    https://github.com/taskiq-python/taskiq-redis · https://taskiq-python.github.io/guide/cli.html
    """

    name = "taskiq"
    settings = "`taskiq worker --workers 2`, a task a page, `RedisStreamBroker`, orjson, uvloop, no results, defaults."
    packages = ("taskiq", "taskiq_redis", "uvloop")
    share = 0.1

    def broker(self, redis_url: str) -> AsyncBroker:
        """Return the broker, as producer and workers need it."""
        from taskiq.serializers import ORJSONSerializer
        from taskiq_redis import RedisStreamBroker

        return RedisStreamBroker(url=redis_url).with_serializer(ORJSONSerializer())

    def push(self, room: Room, payloads: Sequence[Payload]) -> None:
        """Send a task a page."""
        asyncio.run(self._send(room, payloads))

    async def _send(self, room: Room, payloads: Sequence[Payload]) -> None:
        from taskiq.kicker import AsyncKicker

        broker = self.broker(room.redis_url)
        await broker.startup()  # makes the group, which begins where the stream ends
        for payload in payloads:
            await AsyncKicker(task_name=TASK, broker=broker, labels={}).kiq(to_envelope(payload))
        await broker.shutdown()

    def commands(self, room: Room) -> list[list[str]]:
        """Return taskiq's own command, which starts the processes."""
        options = ("--workers", str(room.processes), "--log-level", "WARNING")
        return [python("taskiq", "worker", "benchmarks.peers.taskiq_worker:broker", *options)]


PEER: Final = Taskiq()
