"""dramatiq on its Redis broker: an actor handles a page, a message carries it.

Messages are enqueued by the name of their actor, which is what ``send`` does too.
https://dramatiq.io/guide.html#workers · https://dramatiq.io/reference.html#dramatiq.Message
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.peers import Peer, Room, python
from tasks.steps.page import Payload
from tasks.steps.payload import to_envelope

QUEUE = "pages"
ACTOR = "handle_page"
THREADS = 2


class Dramatiq(Peer):
    """A task a page."""

    name = "dramatiq"
    settings = f"an actor a page; Redis broker; 2 processes of {THREADS} threads; acknowledged when done"
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
        sizes = ["--processes", str(room.processes), "--threads", str(THREADS)]
        return [python("dramatiq", "benchmarks.peers.dramatiq_worker", *sizes)]


PEER = Dramatiq()
