"""One process of ``scrapy``, run from a script.

https://docs.scrapy.org/en/latest/topics/practices.html#run-scrapy-from-a-script
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import scrapy
from scrapy.crawler import CrawlerProcess
from scrapy.http import Response

from benchmarks.crawlers.reading import lines_and_items


class NewsSpider(scrapy.Spider):
    """Follows what the pages name."""

    name = "news"

    def parse(self, response: Response, **_: Any) -> Iterator[Any]:
        """Return the page as an item, and requests for the items that it names."""
        lines, items = lines_and_items(response.text)
        yield {"url": response.url, "date": lines[0], "paragraphs": lines[1:], "related": items}
        yield from response.follow_all(items)


def main() -> None:
    """Crawl; say that it is done; wait to be stopped, so that what was used can be counted."""
    base = Path(sys.argv[1])
    told = json.loads(base.with_suffix(".json").read_text())
    # https://docs.scrapy.org/en/latest/topics/broad-crawls.html
    settings = {
        "ROBOTSTXT_OBEY": True,
        "CONCURRENT_REQUESTS": told["in_all"],
        "CONCURRENT_REQUESTS_PER_DOMAIN": told["per_host"],
        "DOWNLOAD_DELAY": 0,
        "COOKIES_ENABLED": False,
        "TELNETCONSOLE_ENABLED": False,
        "LOG_LEVEL": "INFO",
        "FEEDS": {str(base.with_suffix(".jsonl")): {"format": "jsonlines"}},
    }
    process = CrawlerProcess(settings)
    process.crawl(NewsSpider, start_urls=told["roots"])
    process.start()
    base.with_suffix(".done").touch()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    signal.pause()


if __name__ == "__main__":
    main()
