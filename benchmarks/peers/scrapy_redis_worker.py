"""One process of ``scrapy_redis``: a spider, run from a script.

https://docs.scrapy.org/en/latest/topics/practices.html#run-scrapy-from-a-script
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Final

import orjson
from scrapy import Request
from scrapy.crawler import CrawlerProcess
from scrapy.http import Response
from scrapy_redis.spiders import RedisSpider

from benchmarks import work
from benchmarks.peers.scrapy_redis import KEY
from tasks.steps.page import Payload
from tasks.steps.payload import from_envelope


class PagesSpider(RedisSpider):
    """Makes a request of each message, and an item of each response."""

    name = "pages"
    redis_key = KEY

    def make_request_from_data(self, data: bytes) -> Request:
        """Return a request that brings its page along."""
        payload = from_envelope(orjson.loads(data))
        return Request(payload.url, meta={"payload": payload}, dont_filter=True)

    def parse(self, response: Response, **_: Any) -> Iterator[Payload]:
        """Return the page as an item."""
        yield response.meta["payload"]


class BroughtPages:
    """Answers a request with the page that it brings, in place of a download.

    https://docs.scrapy.org/en/latest/topics/downloader-middleware.html
    """

    def process_request(self, request: Request) -> Response:
        """Return the response."""
        return Response(request.url, body=request.meta["payload"].body, request=request)


class StoringPipeline:
    """Stores each item as it comes. https://docs.scrapy.org/en/latest/topics/item-pipeline.html ."""

    def process_item(self, item: Payload) -> Payload:
        """Handle a page."""
        work.work_on([item])
        return item


# https://docs.scrapy.org/en/latest/topics/broad-crawls.html and .../settings.html
SETTINGS: Final[dict[str, Any]] = {
    "DOWNLOADER_MIDDLEWARES": {BroughtPages: 1},
    "ITEM_PIPELINES": {StoringPipeline: 1},
    "CONCURRENT_REQUESTS": 100,  # as many are read from Redis at once
    "CONCURRENT_ITEMS": 1,  # of a response, which has no more; Scrapy would make 100 tasks, a fifth of the CPU
    "LOG_LEVEL": "WARNING",
    # Nothing is downloaded.
    "COMPRESSION_ENABLED": False,
    "COOKIES_ENABLED": False,
    "DOWNLOADER_STATS": False,
    "REDIRECT_ENABLED": False,
    "REFERER_ENABLED": False,
    "RETRY_ENABLED": False,
    # Nobody looks.
    "LOGSTATS_INTERVAL": 0,
    "MEMUSAGE_ENABLED": False,
    "TELNETCONSOLE_ENABLED": False,
}


def main() -> None:
    """Crawl until the process is stopped."""
    process = CrawlerProcess({**SETTINGS, "REDIS_URL": os.environ[work.REDIS_URL]})
    process.crawl(PagesSpider)
    process.start()


if __name__ == "__main__":
    main()
