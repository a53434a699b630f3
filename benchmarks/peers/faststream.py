"""FastStream on a Redis stream: a subscriber of a consumer group handles batches.

https://faststream.ag2.ai/latest/redis/streams/groups/ · https://faststream.ag2.ai/latest/redis/streams/batch/
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from benchmarks.peers import Peer, Room, python
from tasks.steps.page import Payload
from tasks.steps.payload import to_envelope

STREAM = "pages"
GROUP = "workers"
BATCH = 300


class FastStream(Peer):
    """Batches from a stream."""

    name = "faststream"
    settings = f"batches of {BATCH} from a Redis stream with a consumer group, uvloop; 2 processes"
    packages = ("faststream",)

    def push(self, room: Room, payloads: Sequence[Payload]) -> None:
        """Publish a message a page."""
        # The subscriber would make the group at the end of the stream: it is meant to be there before the producer.
        room.redis().xgroup_create(STREAM, GROUP, id="0", mkstream=True)
        asyncio.run(_publish(room, payloads))

    def commands(self, room: Room) -> list[list[str]]:
        """Return FastStream's own command for each process, so that each is a consumer of its own."""
        return [python("faststream", "run", "benchmarks.peers.faststream_worker:app")] * room.processes


async def _publish(room: Room, payloads: Sequence[Payload]) -> None:
    from faststream.redis import RedisBroker

    async with RedisBroker(room.redis_url) as broker:
        for payload in payloads:
            await broker.publish(to_envelope(payload), stream=STREAM)


PEER = FastStream()
