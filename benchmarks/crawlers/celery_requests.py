"""Celery and requests: a task a URL, which fetches it, stores the page, and sends a task for each URL not seen yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import celery
from redis import Redis

from benchmarks import work
from benchmarks.crawlers import PROCESSES, Crawler, Yard
from benchmarks.peers import python
from worker.embedded import kombu_url

TASK: Final = "crawl"
SEEN: Final = "seen"
THREADS: Final = 32  # of a process; each has a connection to PostgreSQL, which takes a hundred
_TABLE: Final = "CREATE TABLE crawled (url text PRIMARY KEY, date text, body text, related text[])"


class CeleryRequests(Crawler):
    """As it is often written: the URLs that were seen are a set in Redis, a `requests.Session` for each process."""

    name = "celery-requests"
    settings = (
        "`celery worker --concurrency 2`, Redis as broker, a `requests.Session` a process, the seen URLs in Redis, "
        "an INSERT a page into PostgreSQL; no robots.txt, no bound for a host."
    )
    packages = ("requests",)
    share = 0.1
    pool: Sequence[str] = ("--concurrency", str(PROCESSES))
    workers = 1

    def prepare(self, yard: Yard) -> None:
        """Make the table, and send a task for each root."""
        with work.connect(yard.store_url) as connection:
            connection.execute(_TABLE)
        roots = yard.farm.roots()
        with app(yard.redis_url) as sender, Redis.from_url(yard.redis_url) as client:
            client.sadd(SEEN, *roots)
            for url in roots:
                sender.send_task(TASK, args=(url,))

    def commands(self, yard: Yard) -> Sequence[Sequence[str]]:
        """See ``Crawler``."""
        del yard
        options = ("--loglevel", "WARNING", *self.pool)
        module = "benchmarks.crawlers.celery_requests_app"
        return [
            python("celery", "--app", module, "worker", *options, "--hostname", f"{number}@%h")
            for number in range(self.workers)
        ]

    def environ(self, yard: Yard) -> dict[str, str]:
        """See ``Crawler``."""
        return {work.REDIS_URL: yard.redis_url, work.STORE_URL: yard.store_url}

    def stored(self, yard: Yard) -> int:
        """See ``Crawler``."""
        with work.connect(yard.store_url) as connection:
            row = connection.execute("SELECT count(*) FROM crawled").fetchone()
        return int(row[0]) if row else 0


class CeleryThreads(CeleryRequests):
    """The same with threads, so that it does not wait for one host at a time."""

    name = "celery-threads"
    settings = f"The same code, two workers, each `--pool threads --concurrency {THREADS}`, a session a thread."
    pool = ("--pool", "threads", "--concurrency", str(THREADS))
    workers = PROCESSES


def app(redis_url: str) -> celery.Celery:
    """Return the app, as sender and workers need it."""
    return celery.Celery("crawl", broker=kombu_url(redis_url))
