"""The limit: penstock's own steps and store in two bare processes, with no framework around them."""

from __future__ import annotations

from benchmarks.peers import Room, python
from benchmarks.peers.penstock import Penstock


class PlainLoop(Penstock):
    """Read, parse, commit, acknowledge, and nothing else."""

    name = "plain-loop"
    settings = (
        "Two processes, each in a loop: `PageStream.read` of 300, decode, parse, `SqlStore.commit`, "
        "`PageStream.ack`. penstock's rows, without Celery, limits, sandbox, reclaiming, upkeep and logging."
    )

    def commands(self, room: Room) -> list[list[str]]:
        """See ``Peer``."""
        return [python("benchmarks.peers.plain_loop_worker")] * room.processes

    def environ(self, room: Room) -> dict[str, str]:
        """See ``Peer``."""
        return room.environ()


PEER = PlainLoop()
