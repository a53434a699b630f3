"""A farm as a test or a benchmark has it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tests.support.farm.log import Asked, Log
from tests.support.farm.server import SPEC, Spec
from tests.support.farm.sites import PATH, ROOT, Reach, Site, reach
from tests.support.servers import started

CHECKOUT = Path(__file__).parents[3]
LATENCY_SECONDS = 0.02
PROFILE = """\
[sources.{name}]
hosts = ["{host}"]
allow_private_hosts = ["{host}"]
item_url = "http://{host}{path}{{id}}"
parser = "vardump"
max_depth = 1000
max_items_per_page = 100000
max_items_per_run = 1000000
delay_seconds = {delay}
concurrency = {concurrency}
"""


@dataclass(frozen=True)
class Farm:
    """A farm that runs."""

    sites: Sequence[Site]
    port: int
    pid: int
    log: Log

    def host(self, site: Site) -> str:
        return f"{site.address}:{self.port}"

    def url(self, site: Site, item: str) -> str:
        return f"http://{self.host(site)}{PATH}{item}"

    def roots(self) -> list[str]:
        """Return the URLs from which all is reached."""
        return [self.url(site, site.item(ROOT)) for site in self.sites]

    def profiles(self) -> str:
        """Return what penstock must know of the sites: a source each."""
        return "\n".join(
            PROFILE.format(
                name=site.name, host=self.host(site), path=PATH, delay=site.delay_seconds, concurrency=site.concurrency
            )
            for site in self.sites
        )

    def envelopes(self) -> list[str]:
        """Return the roots' pages as NDJSON."""
        return [json.dumps(self._envelope(site), ensure_ascii=False) for site in self.sites]

    def _envelope(self, site: Site) -> dict[str, str]:
        root = site.item(ROOT)
        return {"source": site.name, "item": root, "url": self.url(site, root), "body": site.page(root).decode()}

    @cached_property
    def reach(self) -> Sequence[Reach]:
        """What a crawl must come to, site by site."""
        return [reach(site) for site in self.sites]

    def asked(self) -> list[Asked]:
        """Return what was asked so far."""
        return self.log.read()

    def pages_answered(self) -> int:
        """Return how many pages were given so far."""
        self.log.read()
        return self.log.pages


@contextmanager
def farm(sites: Sequence[Site], folder: Path, *, latency_seconds: float = LATENCY_SECONDS) -> Iterator[Farm]:
    """Serve the sites while the block runs; the log is ``farm.log`` in ``folder``, and whole after it."""
    path = folder / "farm.log"
    spec = SPEC.dump_json(Spec(sites, latency_seconds, path))
    process = started(
        [sys.executable, "-m", "tests.support.farm.server"],
        cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(spec)
        process.stdin.close()
        yield Farm(sites, int(process.stdout.readline()), process.pid, Log(path))
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()
