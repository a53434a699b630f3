"""bytewax on a Redis stream: a source that reads batches as a consumer of a group, a sink that handles them.

bytewax brings no connector for Redis; this is one by its guide to custom connectors.
https://docs.bytewax.io/stable/guide/advanced-concepts/custom-connectors.html
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from benchmarks.peers import Peer, Room, python
from tasks.steps.page import Payload
from tasks.steps.payload import encode_fields

STREAM = "pages"
GROUP = "workers"
BATCH = 300


class Bytewax(Peer):
    """Batches from a stream."""

    name = "bytewax"
    settings = f"batches of {BATCH} from a Redis stream with a consumer group; a cluster of 2 processes"
    packages = ("bytewax",)

    def push(self, room: Room, payloads: Sequence[Payload]) -> None:
        """Add an entry a page."""
        client = room.redis()
        client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
        for at in range(0, len(payloads), BATCH):
            with client.pipeline(transaction=False) as pipe:
                for one in payloads[at : at + BATCH]:
                    fields: Any = encode_fields(one)
                    pipe.xadd(STREAM, fields)
                pipe.execute()

    def commands(self, room: Room) -> list[list[str]]:
        """Return bytewax's own command for each process of a cluster."""
        with ExitStack() as held:
            sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(room.processes)]
            addresses = ";".join(f"127.0.0.1:{one.getsockname()[1]}" for one in sockets)
        flow = "benchmarks.peers.bytewax_worker:flow"
        return [python("bytewax.run", flow, "-i", str(one), "-a", addresses) for one in range(room.processes)]


PEER = Bytewax()
