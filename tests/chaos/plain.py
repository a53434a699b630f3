"""The pipeline that most teams write: one Celery task for each page, on the Redis broker. What penstock is measured by.

``textbook`` has Celery's defaults. ``tuned`` has what its documentation names for tasks that must not get lost: late
acknowledgement, redelivery when a worker is lost, retries for as long as the store is away, and a visibility timeout
that is short, so that what comes back comes back within a run. Pages are parsed by penstock's own parser. Each task is
one transaction; ``handled`` counts, in that same transaction, how often each push has had its effect.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from typing import Any

import celery
import kombu.exceptions
import psycopg
import redis

from tasks.errors import Permanent
from tasks.steps.page import Payload, SourceProfile
from tasks.steps.understand import understand
from tests.chaos.look import connect

VISIBILITY_SECONDS = 30
BROKER_ERRORS = (kombu.exceptions.OperationalError, redis.RedisError, OSError)
STORE_ERRORS = (sqlite3.OperationalError, psycopg.OperationalError, psycopg.InterfaceError)
TABLES = (
    "CREATE TABLE IF NOT EXISTS page (item TEXT PRIMARY KEY, body TEXT, text TEXT)",
    "CREATE TABLE IF NOT EXISTS item (item TEXT PRIMARY KEY)",
    "CREATE TABLE IF NOT EXISTS failure (item TEXT PRIMARY KEY, error TEXT)",
    "CREATE TABLE IF NOT EXISTS handled (push INTEGER PRIMARY KEY, times INTEGER NOT NULL)",
)
PAGE = "INSERT INTO page VALUES (?, ?, ?) ON CONFLICT (item) DO UPDATE SET body = excluded.body, text = excluded.text"
ITEM = "INSERT INTO item VALUES (?) ON CONFLICT DO NOTHING"
FAILURE = "INSERT INTO failure VALUES (?, ?) ON CONFLICT (item) DO UPDATE SET error = excluded.error"
HANDLED = "INSERT INTO handled VALUES (?, 1) ON CONFLICT (push) DO UPDATE SET times = handled.times + 1"

TUNED: dict[str, Any] = {
    "task_acks_late": True,
    "task_reject_on_worker_lost": True,
    "worker_prefetch_multiplier": 1,
    "broker_transport_options": {"visibility_timeout": VISIBILITY_SECONDS},
}
RETRIES: dict[str, Any] = {
    "autoretry_for": STORE_ERRORS,
    "retry_backoff": 1,
    "retry_backoff_max": 10,
    "max_retries": None,
}


def tuned() -> bool:
    return os.environ.get("PLAIN_VARIANT") == "tuned"


app = celery.Celery("plain", broker=os.environ.get("PLAIN_BROKER"))
app.conf.update(task_ignore_result=True, broker_connection_retry_on_startup=True, **(TUNED if tuned() else {}))
_store: list[Any] = []


@app.task(name="ingest", **(RETRIES if tuned() else {}))
def ingest(push: int, item: str, body: str) -> None:
    """Parse a page and store it."""
    payload = Payload(source="bench", item=item, body=body.encode())
    try:
        page = understand(payload, SourceProfile(name="bench")).page
    except Permanent as error:
        _write(push, [(FAILURE, (item, error.message))])
        return
    related = sorted(one.id for one in page.related)
    rows = [(PAGE, (item, body, "\n".join(page.paragraphs))), *((ITEM, (one,)) for one in related)]
    _write(push, rows)


def _write(push: int, rows: Sequence[tuple[str, tuple[Any, ...]]]) -> None:
    store = _opened()
    mark = "?" if isinstance(store, sqlite3.Connection) else "%s"
    try:
        store.execute("BEGIN IMMEDIATE" if mark == "?" else "BEGIN")
        for sql, values in (*rows, (HANDLED, (push,))):
            store.execute(sql.replace("?", mark), values)
        store.execute("COMMIT")
    except BaseException:
        _store.clear()
        store.close()
        raise


def _opened() -> Any:
    if not _store:
        _store.append(connect(os.environ["PLAIN_STORE"]))
    return _store[0]
