"""dramatiq as its guide has it: an actor handles a page, the page is in the message, Redis is the broker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from benchmarks.peers import Peer, Room, python
from tasks.steps.page import Payload
from tasks.steps.payload import to_envelope

QUEUE: Final = "pages"
ACTOR: Final = "handle"


class Dramatiq(Peer):
    """Defaults: 1, 2, 4 or 16 threads in place of 8, and more messages fetched ahead, measured slower or the same.

    Acknowledged when handled, retried when not, no results. A message is enqueued by the name of its actor, which is
    what the actor's ``send`` comes to. https://dramatiq.io/guide.html · https://dramatiq.io/reference.html#message
    """

    name = "dramatiq"
    settings = "`dramatiq --processes 2`, an actor a page, `RedisBroker`, 8 threads a process, defaults."
    packages = ("dramatiq",)
    share = 0.1

    def push(self, room: Room, payloads: Sequence[Payload]) -> None:
        """Enqueue a message a page."""
        from dramatiq import Message
        from dramatiq.brokers.redis import RedisBroker

        broker = RedisBroker(url=room.redis_url)
        broker.declare_queue(QUEUE)
        for payload in payloads:
            args = (to_envelope(payload),)
            broker.enqueue(Message(queue_name=QUEUE, actor_name=ACTOR, args=args, kwargs={}, options={}))
        broker.close()

    def commands(self, room: Room) -> list[list[str]]:
        """Return dramatiq's own command, which forks the processes."""
        return [python("dramatiq", "benchmarks.peers.dramatiq_worker", "--processes", str(room.processes))]


PEER: Final = Dramatiq()
