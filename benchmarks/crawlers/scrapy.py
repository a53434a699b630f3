"""Scrapy: a process for each half of the hosts, items into a file."""

from __future__ import annotations

import json
from collections.abc import Sequence

from benchmarks.crawlers import PROCESSES, Crawler, Yard
from benchmarks.peers import python


class Scrapy(Crawler):
    """A process of Scrapy uses one core; who has two starts two. https://docs.scrapy.org/en/latest/ ."""

    name = "scrapy"
    settings = (
        "Two processes, each with half of the hosts; `ROBOTSTXT_OBEY`, `CONCURRENT_REQUESTS_PER_DOMAIN` and "
        "`CONCURRENT_REQUESTS` as the sites allow, no delay, no cookies, items into a JSON lines file each."
    )
    packages = ("scrapy",)

    def prepare(self, yard: Yard) -> None:
        """Say which process begins where."""
        roots, concurrency = yard.farm.roots(), yard.farm.sites[0].concurrency
        for number in range(PROCESSES):
            mine = roots[number::PROCESSES]
            told = {"roots": mine, "per_host": concurrency, "in_all": concurrency * len(mine)}
            (yard.home / f"crawl-{number}.json").write_text(json.dumps(told))

    def commands(self, yard: Yard) -> Sequence[Sequence[str]]:
        """See ``Crawler``."""
        return [
            python("benchmarks.crawlers.scrapy_spider", str(yard.home / f"crawl-{number}"))
            for number in range(PROCESSES)
        ]

    def environ(self, yard: Yard) -> dict[str, str]:
        """See ``Crawler``."""
        del yard
        return {}

    def stored(self, yard: Yard) -> int:
        """Count when both have ended: a feed is whole only then."""
        if not all((yard.home / f"crawl-{number}.done").exists() for number in range(PROCESSES)):
            return 0
        return sum(len((yard.home / f"crawl-{number}.jsonl").read_bytes().splitlines()) for number in range(PROCESSES))
