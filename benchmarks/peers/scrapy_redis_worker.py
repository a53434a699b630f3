"""A process of Scrapy: ``python -m benchmarks.peers.scrapy_redis_worker``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import orjson
from scrapy import Request
from scrapy.crawler import CrawlerProcess
from scrapy.http import Response, TextResponse
from scrapy_redis.spiders import RedisSpider

from benchmarks import work
from benchmarks.peers.scrapy_redis import KEY
from tasks.steps.page import Payload
from tasks.steps.payload import from_envelope


class PagesSpider(RedisSpider):
    """Makes a request of each page in the list, and an item of each response."""

    name = "pages"
    redis_key = KEY

    def make_request_from_data(self, data: bytes) -> Request:
        """Return a request that brings its response along."""
        payload = from_envelope(orjson.loads(data))
        return Request(payload.url, meta={"payload": payload}, dont_filter=True)

    def parse(self, response: Response, **_: Any) -> Iterator[Payload]:
        """Return the item of a page."""
        yield replace(response.meta["payload"], url=response.url, body=response.body)


class BroughtPages:
    """Answers requests with the page that came with them, in place of a download."""

    def process_request(self, request: Request) -> Response:
        """Return the response."""
        return TextResponse(request.url, body=request.meta["payload"].body, request=request)


class StoringPipeline:
    """Handles each item when it comes."""

    def process_item(self, item: Payload) -> Payload:
        """Write one page."""
        work.work_on([item])
        return item


def main() -> None:
    """Crawl until the process is told to end."""
    process = CrawlerProcess(
        {
            "REDIS_URL": os.environ[work.REDIS_URL],
            "DOWNLOADER_MIDDLEWARES": {BroughtPages: 1},
            "ITEM_PIPELINES": {StoringPipeline: 1},
            "CONCURRENT_REQUESTS": 100,
            "COOKIES_ENABLED": False,
            "LOG_LEVEL": "WARNING",
            "TELNETCONSOLE_ENABLED": False,
        }
    )
    process.crawl(PagesSpider)
    process.start()


if __name__ == "__main__":
    main()
