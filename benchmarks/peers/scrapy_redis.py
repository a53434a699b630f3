"""Scrapy with scrapy-redis: pages wait in a list in Redis, a spider reads them, an item pipeline stores each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import orjson

from benchmarks.peers import Peer, Room, python
from tasks.steps.page import Payload
from tasks.steps.payload import to_envelope

KEY: Final = "pages:start_urls"
_AT_ONCE: Final = 500


class ScrapyRedis(Peer):
    """A list: where scrapy-redis keeps sets, pages that are alike would merge.

    Nothing is fetched: the message brings the page, and a downloader middleware answers with it. Requests wait in
    memory: with scrapy-redis's scheduler, which takes them back to Redis, a page costs 5 to 10 % more.
    https://github.com/rmax/scrapy-redis
    """

    name = "scrapy-redis"
    settings = (
        "Two processes, a request and an item a page, `RedisSpider` on a list, nothing fetched, "
        "`CONCURRENT_REQUESTS` 100, `CONCURRENT_ITEMS` 1, what looks after downloads is off."
    )
    packages = ("scrapy", "scrapy_redis")
    share = 0.1

    def push(self, room: Room, payloads: Sequence[Payload]) -> None:
        """Append the pages to the list, as JSON."""
        for at in range(0, len(payloads), _AT_ONCE):
            room.redis().rpush(KEY, *(orjson.dumps(to_envelope(one)) for one in payloads[at : at + _AT_ONCE]))

    def commands(self, room: Room) -> list[list[str]]:
        """Return a crawl for each process."""
        return [python("benchmarks.peers.scrapy_redis_worker")] * room.processes


PEER: Final = ScrapyRedis()
