"""penstock itself, on PostgreSQL: what a user gets who pushes with its producer and starts ``penstock work``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Final

from benchmarks import reference, work
from benchmarks.pages import SOURCE
from benchmarks.peers import Peer, Room, python
from benchmarks.reference import Rows
from tasks.steps.page import Payload
from worker.producer import Producer

NAMESPACE: Final = "penstock"
STREAM: Final = f"{{{NAMESPACE}}}:pages"


class Penstock(Peer):
    """The product with everything on."""

    name = "penstock"
    settings = (
        "`penstock work --only ingest --concurrency 2` and defaults: inbox, raw archive, revisions, frontier, limits, "
        "logging, without near-duplicates, whose cost is told in similar.md; pushed with `worker.producer.Producer`."
    )
    arguments: ClassVar[tuple[str, ...]] = ("work", "--only", "ingest")

    def store_url(self, room: Room) -> str:
        """Return where the pages are stored, as PENSTOCK_STORE_URL takes it."""
        return room.store_url

    def prepare(self, room: Room) -> None:
        """Write the profile of the source; the tables are made by the workers."""
        profile = work.PROFILE
        self._profiles(room).write_text(
            f'[sources.{SOURCE}]\nparser = "{profile.parser}"\nitem_url = "{profile.item_url}"\n'
            f"max_depth = {profile.max_depth}\n"
        )

    def push(self, room: Room, payloads: Sequence[Payload]) -> None:
        """See ``Peer``."""
        push(room, payloads)

    def commands(self, room: Room) -> list[list[str]]:
        """See ``Peer``; beside the processes that ingest there is one for upkeep."""
        return [python("worker.cli", *self.arguments, "--concurrency", str(room.processes))]

    def environ(self, room: Room) -> dict[str, str]:
        """See ``Peer``."""
        return {
            "PENSTOCK_HOME": str(room.home / "home"),
            "PENSTOCK_REDIS_URL": room.redis_url,
            "PENSTOCK_STORE_URL": self.store_url(room),
            "PENSTOCK_SOURCES": str(self._profiles(room)),
            "PENSTOCK_NAMESPACE": NAMESPACE,
            # No other peer looks for them. What they cost is measured by ``benchmarks.similar cost``.
            "PENSTOCK_NEAR_DUPLICATES": "off",
        }

    def handled(self, room: Room) -> int:
        """See ``Peer``: what has left the stream is committed."""
        return handled(room)

    def rows(self, room: Room) -> Rows:
        """See ``Peer``."""
        return rows(room.store_url)

    @staticmethod
    def _profiles(room: Room) -> Path:
        return room.home / "sources.toml"


def push(room: Room, payloads: Sequence[Payload]) -> None:
    """Push as any user would, however much there is."""
    with Producer(room.redis_url, namespace=NAMESPACE, high_water=len(payloads) + 1) as producer:
        producer.push_all(payloads)


def handled(room: Room) -> int:
    """Return how many entries have left the stream."""
    left: object = room.redis().xlen(STREAM)
    return room.pages - left if isinstance(left, int) else 0


def rows(store_url: str) -> Rows:
    """Read penstock's tables in PostgreSQL."""
    with work.connect(store_url) as connection:
        return reference.read_rows(lambda sql: connection.cursor().stream(sql.encode()), **QUERIES)


QUERIES: Final = {
    "current": "SELECT item_key, content_hash FROM page",
    "revisions": "SELECT item_key, revision.content_hash FROM revision JOIN page ON page.id = page_id",
    "failures": "SELECT payload_hash, error_class FROM failure",
}
PEER: Final = Penstock()
