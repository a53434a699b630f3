"""The plain pipeline as a pipeline under test, and what is counted of it."""

from __future__ import annotations

import base64
import itertools
import json
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import celery

from tasks.errors import StreamUnavailable
from tasks.steps.page import Payload
from tests.chaos.invariants import Verdict
from tests.chaos.load import Load
from tests.chaos.look import Look, connect
from tests.chaos.plain import BROKER_ERRORS, TABLES, VISIBILITY_SECONDS
from tests.chaos.servers import Redis
from tests.support.crawl import FETCHED

Variant = Literal["textbook", "tuned"]
QUEUE, UNACKED = "celery", "unacked"


class Plain:
    """Celery, one task a page."""

    count = "SELECT sum(times) FROM handled"
    rest_seconds = 4.0 * VISIBILITY_SECONDS  # what is given back after the first one may be lost to a worker again

    def __init__(self, variant: Variant, server: Redis, *, public_store: str, store: str) -> None:
        self.name = f"celery, {variant}"
        self._server, self._look, self._url = server, Look(store), store
        self._numbers = itertools.count()
        self.environ = {
            **os.environ,
            "PLAIN_VARIANT": variant,
            "PLAIN_BROKER": server.public_url,
            "PLAIN_STORE": public_store,
        }
        self._app = celery.Celery("producer", broker=server.public_url)
        self._app.conf.broker_transport_options = {"socket_timeout": 10, "socket_connect_timeout": 5}
        opened = connect(store)
        for sql in TABLES:
            opened.execute(sql)
        opened.close()

    def command(self) -> Sequence[str]:
        celery_worker = [
            "celery",
            "--app",
            "tests.chaos.plain",
            "worker",
            "--concurrency",
            "3",
            "--loglevel",
            "WARNING",
        ]
        return [sys.executable, "-m", *celery_worker, "--hostname", f"plain-{next(self._numbers)}@%h"]

    def send(self, payloads: Sequence[Payload]) -> Sequence[str]:
        """Send a task for each page; one that fails makes the whole call unknown."""
        try:
            with self._app.connection_for_write() as connection, self._app.amqp.Producer(connection) as producer:
                return [self._send(one, producer) for one in payloads]
        except BROKER_ERRORS as error:
            raise StreamUnavailable(f"{type(error).__name__}: {error}") from error

    def _send(self, payload: Payload, producer: Any) -> str:
        number = push_number(payload)
        self._app.send_task("ingest", (number, payload.item, payload.body.decode()), producer=producer, retry=False)
        return f"{number}.{next(self._numbers)}"

    def busy(self) -> set[int]:
        return set()

    def left(self) -> Mapping[str, int]:
        with self._server.client() as client:
            return {"in the queue": int(client.llen(QUEUE)), "not acknowledged": int(client.hlen(UNACKED))}

    def held(self) -> set[int]:
        """Return the pushes that the broker still has."""
        with self._server.client() as client:
            queued: Any = client.lrange(QUEUE, 0, -1)
            unacked: Any = client.hvals(UNACKED)
        messages = [json.loads(one) for one in queued] + [json.loads(one)[0] for one in unacked]
        return {json.loads(base64.b64decode(one["body"]))[0][0] for one in messages}

    def handled(self) -> dict[int, int]:
        """Return how often each push has had its effect."""
        return {row[0]: row[1] for row in self._look.rows("SELECT push, times FROM handled")}

    def close(self) -> None:
        self._look.close()
        self._app.close()


def push_number(payload: Payload) -> int:
    """Return the page's number, which its time tells: they are a second apart."""
    assert payload.fetched_at is not None
    return round((payload.fetched_at - FETCHED).total_seconds())


class Witness:
    """Sees what a flush took, so that it is not counted against the pipeline's own losses."""

    def __init__(self, plain: Plain, load: Load) -> None:
        self._plain, self._load = plain, load
        self.flushed: set[int] = set()

    def before_flush(self) -> None:
        acked = {page for page, _ in self._load.acked().values()}
        self.flushed |= acked - self._plain.handled().keys()

    def after_loss(self, _at: float, _why: str) -> None:
        """Nobody tells the producer: there is no ledger that knows what was in the queue."""


def counted(plain: Plain, load: Load, witness: Witness) -> tuple[dict[str, Any], list[Verdict]]:
    """Count what became of the pages whose send was acknowledged."""
    handled = plain.handled()
    acked = {page for page, _ in load.told.acked.values()}
    sends = Counter(page for page, _ in load.told.acked.values())
    missing = acked - handled.keys()
    held = missing & plain.held()
    flushed = (missing - held) & witness.flushed
    lost = missing - held - flushed
    doubled = sum(max(0, times - sends.get(page, times)) for page, times in handled.items())
    numbers = {
        "acknowledged_pages": len(acked),
        "lost_pages": len(lost),
        "of_them_lost_in_a_flush_besides": len(flushed),
        "still_with_the_broker_at_the_end": len(held),
        "effects_more_often_than_acknowledged_sends": doubled,
    }
    seen = f"{len(lost):,} of {len(acked):,} acknowledged pages are neither in the store nor with the broker"
    return numbers, [
        Verdict("I1 every acknowledged page is in the store", not missing, seen),
        Verdict("I2 effects happen once", not doubled, f"{doubled:,} effects more than acknowledged sends"),
    ]
