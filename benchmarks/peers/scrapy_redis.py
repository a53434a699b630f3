"""Scrapy with scrapy-redis: pages wait in a Redis list, a spider reads them, an item pipeline handles each.

Nothing is fetched: a downloader middleware answers each request with the body that came with it.
https://github.com/rmax/scrapy-redis/wiki/Usage · https://docs.scrapy.org/en/latest/topics/downloader-middleware.html
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from benchmarks.peers import Peer, Room, python
from tasks.steps.page import Payload
from tasks.steps.payload import to_envelope

KEY = "pages"
_AT_ONCE = 500


class ScrapyRedis(Peer):
    """A request and an item a page."""

    name = "scrapy-redis"
    settings = "a request and an item a page, from a list in Redis, nothing fetched; 2 processes"
    packages = ("scrapy", "scrapy_redis")
    share = 0.1

    def push(self, room: Room, payloads: Sequence[Payload]) -> None:
        """Append pages to the list, as JSON."""
        for at in range(0, len(payloads), _AT_ONCE):
            room.redis().rpush(KEY, *(orjson.dumps(to_envelope(one)) for one in payloads[at : at + _AT_ONCE]))

    def commands(self, room: Room) -> list[list[str]]:
        """Return a crawl for each process."""
        return [python("benchmarks.peers.scrapy_redis_worker")] * room.processes


PEER = ScrapyRedis()
