"""penstock: fetching alone, from a frontier that knows all pages into the stream; and the whole way into the store."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from redis import Redis

from benchmarks import work
from benchmarks.crawlers import PROCESSES, Crawler, Yard
from benchmarks.peers import python
from benchmarks.peers.penstock import NAMESPACE, STREAM


class Penstock(Crawler):
    """What a user gets who pushes the roots and starts ``penstock work``."""

    name = "penstock"
    settings = (
        "`penstock work --only ingest,fetch --concurrency 2` on PostgreSQL: all that it does with a page, "
        "without near-duplicates."
    )
    brings_roots = True
    roles = "ingest,fetch"

    def prepare(self, yard: Yard) -> None:
        """Write the profiles, and push the roots."""
        (yard.home / "sources.toml").write_text(yard.farm.profiles())
        self._run(yard, "push", "-", "--format", "ndjson", stdin="\n".join(yard.farm.envelopes()).encode())

    def commands(self, yard: Yard) -> Sequence[Sequence[str]]:
        """See ``Crawler``."""
        del yard
        return [python("worker.cli", "work", "--only", self.roles, "--concurrency", str(PROCESSES))]

    def environ(self, yard: Yard) -> dict[str, str]:
        """See ``Crawler``."""
        return {
            "PENSTOCK_HOME": str(yard.home / "home"),
            "PENSTOCK_REDIS_URL": yard.redis_url,
            "PENSTOCK_STORE_URL": yard.store_url,
            "PENSTOCK_SOURCES": str(yard.home / "sources.toml"),
            "PENSTOCK_NAMESPACE": NAMESPACE,
            "PENSTOCK_NEAR_DUPLICATES": "off",
        }

    def stored(self, yard: Yard) -> int:
        """See ``Crawler``."""
        with work.connect(yard.store_url) as connection:
            row = connection.execute("SELECT count(*) FROM page").fetchone()
        return row[0] - len(yard.farm.sites) if row else 0

    def _run(self, yard: Yard, *arguments: str, stdin: bytes = b"") -> None:
        environ = {**os.environ, **self.environ(yard)}
        command = python("worker.cli", *arguments)
        subprocess.run(command, env=environ, cwd=yard.home, input=stdin, check=True, capture_output=True)


class PenstockFetch(Penstock):
    """Fetching alone."""

    name = "penstock-fetch"
    settings = (
        "`penstock work --only fetch --concurrency 2` on PostgreSQL; the roots, which name all pages, are there. "
        "The pages end in the stream."
    )
    roles = "fetch"

    def prepare(self, yard: Yard) -> None:
        """Store the roots too."""
        super().prepare(yard)
        self._run(yard, "work", "--drain", "--only", "ingest")

    def stored(self, yard: Yard) -> int:
        """See ``Crawler``."""
        with Redis.from_url(yard.redis_url) as client:
            length: object = client.xlen(STREAM)
        return length if isinstance(length, int) else 0
