"""Latency at light load: from the push of a page until it is committed.

Pages come one by one at random, as a Poisson process. A page is committed before it is acknowledged, and it leaves the
stream with that; so what is measured, by asking for the entry every millisecond, is the commit and a little more.

    python -m benchmarks.latency --rate 10 --seconds 60
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import redis

from benchmarks import servers
from benchmarks.pages import pages
from benchmarks.peers import Room, peer
from benchmarks.peers.penstock import NAMESPACE, STREAM
from benchmarks.processes import Workers
from tasks.errors import PenstockError
from tasks.steps.page import Payload
from worker.producer import Producer

POLL_SECONDS: Final = 0.001
GIVE_UP_SECONDS: Final = 60.0
WARM_UP_PAGES: Final = 20
SEED: Final = 5


def main() -> None:
    """Measure, and print one JSON object: milliseconds from push to commit."""
    given = _arguments()
    count = round(given.rate * given.seconds)
    with _working(given.store) as (room, client), Producer(room.redis_url, namespace=NAMESPACE) as producer:
        made = pages(WARM_UP_PAGES + count)
        for _ in range(WARM_UP_PAGES):
            _take(producer, client, next(made))
        took = sorted(_measured(producer, client, made, rate=given.rate))
    centiles = statistics.quantiles(took, n=100, method="inclusive")
    told = {"min": took[0], "p50": centiles[49], "p95": centiles[94], "p99": centiles[98], "max": took[-1]}
    milliseconds = {name: round(seconds * 1000, 1) for name, seconds in told.items()}
    print(json.dumps({"store": given.store, "pages": len(took), "rate": given.rate, **milliseconds}))


def _measured(producer: Producer, client: redis.Redis, made: Iterator[Payload], *, rate: float) -> Iterator[float]:
    """Push each page at its time, whatever became of the one before; yield the seconds that each took."""
    rng = random.Random(SEED)
    due = time.monotonic()
    for payload in made:
        due += rng.expovariate(rate)
        time.sleep(max(0.0, due - time.monotonic()))
        yield _take(producer, client, payload)


def _take(producer: Producer, client: redis.Redis, payload: Payload) -> float:
    began = time.monotonic()
    entry = producer.push_batch([payload])[0]
    while client.xrange(STREAM, entry, entry):
        if time.monotonic() - began > GIVE_UP_SECONDS:
            raise PenstockError(f"entry {entry} is still in the stream after {GIVE_UP_SECONDS:.0f} s")
        time.sleep(POLL_SECONDS)
    return time.monotonic() - began


@contextmanager
def _working(store: str) -> Iterator[tuple[Room, redis.Redis]]:
    """Start servers, and workers that ingest and retry; fetching would leave this machine."""
    with servers.running() as (ours, base), ours.database("latency") as store_url:
        home = base / "work"
        home.mkdir()
        room = Room(redis_url=ours.redis_url, store_url=store_url, home=home, pages=0)
        penstock = peer("penstock" if store == "postgresql" else "penstock-sqlite")
        penstock.prepare(room)
        command = [*penstock.commands(room)[0], "--only", "ingest,retry"]
        with Workers([command], environ=penstock.environ(room), home=home), room.redis() as client:
            yield room, client


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description="Push to commit at light load.")
    parser.add_argument("--rate", type=float, default=10, help="pages a second (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=60, help="default %(default)s")
    parser.add_argument("--store", choices=("postgresql", "sqlite"), default="postgresql", help="default %(default)s")
    return parser.parse_args()


if __name__ == "__main__":
    main()
