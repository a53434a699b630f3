"""FastStream on a Redis stream: a subscriber, which is a consumer of a group, handles batches of pages."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from benchmarks.peers import Peer, Room, python
from tasks.steps.page import Payload
from tasks.steps.payload import to_envelope

STREAM: Final = "pages"
GROUP: Final = "workers"
BATCH: Final = 500


class FastStream(Peer):
    """A coroutine that takes batches of 500, acknowledged when handled, on uvloop, which is used where it is installed.

    Of 300 a page costs a tenth more, of 1,000 and 2,000 the same; as a function, which runs in a thread, a little more.
    One command with two workers would want a third process that looks after them.
    https://faststream.ag2.ai/latest/redis/streams/batch/ · https://faststream.ag2.ai/latest/redis/streams/groups/
    """

    name = "faststream"
    settings = f"Two `faststream run`, a subscriber with a consumer group and `batch=True` of {BATCH}, JSON, uvloop."
    packages = ("faststream", "uvloop")

    def push(self, room: Room, payloads: Sequence[Payload]) -> None:
        """Publish a message a page."""
        # The subscriber would make the group at the end of the stream: it is meant to be there before the producer.
        room.redis().xgroup_create(STREAM, GROUP, id="0", mkstream=True)
        asyncio.run(_publish(room, payloads))

    def commands(self, room: Room) -> list[list[str]]:
        """Return FastStream's own command, for each process."""
        return [python("faststream", "run", "benchmarks.peers.faststream_worker:app")] * room.processes


async def _publish(room: Room, payloads: Sequence[Payload]) -> None:
    from faststream.redis import RedisBroker

    async with RedisBroker(room.redis_url) as broker:
        for payload in payloads:
            await broker.publish(to_envelope(payload), stream=STREAM)


PEER: Final = FastStream()
