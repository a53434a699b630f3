"""The workers' side of ``celery_requests``."""

from __future__ import annotations

import os
import threading
from functools import cached_property
from typing import Any
from urllib.parse import urljoin

import psycopg
import requests
from redis import Redis

from benchmarks import work
from benchmarks.crawlers.celery_requests import SEEN, TASK
from benchmarks.crawlers.celery_requests import app as made
from benchmarks.crawlers.reading import lines_and_items

app = made(os.environ[work.REDIS_URL])


class _Connections(threading.local):
    """What each thread of each process opens for itself."""

    @cached_property
    def session(self) -> requests.Session:
        return requests.Session()

    @cached_property
    def database(self) -> psycopg.Connection[Any]:
        return psycopg.connect(os.environ[work.STORE_URL], autocommit=True)

    @cached_property
    def redis(self) -> Redis:
        return Redis.from_url(os.environ[work.REDIS_URL])


ours = _Connections()


@app.task(name=TASK, ignore_result=True)
def crawl(url: str) -> None:
    """Fetch a page, store it, and go on."""
    answer = ours.session.get(url, timeout=30)
    answer.raise_for_status()
    answer.encoding = "utf-8"
    lines, items = lines_and_items(answer.text)
    ours.database.execute(
        "INSERT INTO crawled VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (url, lines[0], "\n".join(lines[1:]), items),
    )
    for item in items:
        link = urljoin(url, item)
        if ours.redis.sadd(SEEN, link):
            crawl.delay(link)
