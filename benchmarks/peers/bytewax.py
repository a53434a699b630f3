"""bytewax on a Redis stream: a source that reads batches as a consumer of a group, a sink that stores them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from benchmarks.peers import Peer, Room, python
from tasks.steps.page import Payload
from tasks.steps.payload import encode_fields

STREAM: Final = "pages"
GROUP: Final = "workers"
BATCH: Final = 500


class Bytewax(Peer):
    """Batches of 500, acknowledged when stored; of 300 a page costs a tenth more, of 1,000 and 2,000 the same.

    bytewax brings no connector for Redis: source and sink are made as its guide has it. Each process runs the dataflow
    on its own, since the group deals out the pages: as a cluster of two, which exchange nothing, a page costs a third
    more. https://docs.bytewax.io/stable/guide/advanced-concepts/custom-connectors.html
    """

    name = "bytewax"
    settings = (
        f"Two `python -m bytewax.run`, a source and a sink of its own kind for a consumer group, batches of {BATCH}."
    )
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
        """Return bytewax's own command, for each process."""
        return [python("bytewax.run", "benchmarks.peers.bytewax_worker:flow")] * room.processes


PEER: Final = Bytewax()
