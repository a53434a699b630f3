"""The work on a page for the peers that have no store of their own: the steps of penstock, and rows in plain SQL.

Every page costs the same here whoever calls it: it is parsed and hashed by ``tasks.steps``, and its page, revision,
bytes, items and outcome are written in one transaction, as a team would write that with psycopg: upserts, prepared,
over ``unnest`` where there are several rows, in one order, so that two workers cannot deadlock. A task a page calls
``work_on([payload])``; what has a batch in hand gives all of it, and pays for one transaction.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson
import psycopg
import zstandard

from benchmarks.pages import ITEM_URL, SOURCE
from tasks.errors import Permanent
from tasks.steps.fingerprint import payload_hash
from tasks.steps.page import FailureResult, Outcome, PageResult, Payload, Related, SourceProfile
from tasks.steps.related import RelatedItems
from tasks.steps.understand import failure_of, observed_at, understand

STORE_URL: Final = "BENCH_STORE_URL"
REDIS_URL: Final = "BENCH_REDIS_URL"
PROGRESS: Final = "BENCH_PROGRESS"  # a file that grows by a byte a page
PROFILE: Final = SourceProfile(name=SOURCE, parser="vardump", item_url=ITEM_URL, max_depth=2)
TABLES: Final = Path(__file__).with_name("tables.sql")
ZSTD_LEVEL: Final = 3

Connection = psycopg.Connection[Any]
Key = tuple[str, str]  # source and item key
Text = tuple[str, str, str]  # source, item key and content hash
_KEY: Final = {"source": "text", "item_key": "text"}


class _Insert:
    """An INSERT of one row by its values, or of many by an array a column, which is what costs least for each."""

    def __init__(self, table: str, columns: Mapping[str, str], then: str = "ON CONFLICT DO NOTHING") -> None:
        into = f"INSERT INTO {table} ({', '.join(columns)})"
        arrays = ", ".join(f"%b::{kind}[]" for kind in columns.values())  # %b: as text, bytes would double
        self._one = f"{into} VALUES ({', '.join(['%s'] * len(columns))}) {then}".encode()
        self._many = f"{into} SELECT * FROM unnest({arrays}) {then}".encode()  # noqa: S608 (constants)

    def run(self, at: Connection, rows: Sequence[Sequence[Any]]) -> psycopg.Cursor[Any]:
        """Insert rows, which are in the order of their keys."""
        if len(rows) == 1:
            return at.execute(self._one, rows[0])
        return at.execute(self._many, [list(column) for column in zip(*rows, strict=True)])


_PAYLOAD: Final = _Insert("payload", {"payload_hash": "text", "bytes": "bytea", "size": "bigint"})
# The newest observation says what the page is now, whichever is handled last.
_PAGE: Final = _Insert(
    "page",
    {**_KEY, "url": "text", "content_hash": "text", "first_seen": "bigint", "last_seen": "bigint"},
    """ON CONFLICT (source, item_key) DO UPDATE SET
  url = CASE WHEN excluded.last_seen >= page.last_seen THEN excluded.url ELSE page.url END,
  content_hash = CASE WHEN excluded.last_seen >= page.last_seen THEN excluded.content_hash ELSE page.content_hash END,
  first_seen = least(page.first_seen, excluded.first_seen),
  last_seen = greatest(page.last_seen, excluded.last_seen)
RETURNING source, item_key, xmax = 0""",
)
_REVISION: Final = _Insert(
    "revision",
    {
        **_KEY,
        "content_hash": "text",
        "payload_hash": "text",
        "seen_at": "bigint",
        "title": "text",
        "published_at": "timestamptz",
        "wire_service": "text",
        "desk_code": "text",
        "body": "text",
        "related": "text",
        "parser": "text",
        "parser_version": "bigint",
    },
    "ON CONFLICT DO NOTHING RETURNING source, item_key, content_hash",
)
_ITEM: Final = _Insert(
    "item",
    {**_KEY, "url": "text", "state": "text", "discovered_by": "text", "discovered_at": "bigint"},
    "ON CONFLICT DO NOTHING RETURNING source, item_key",
)
# DO UPDATE would lock the rows of the items that everybody names; so a page's own item is marked apart.
_FETCHED: Final = b"""UPDATE item SET state = 'fetched' FROM unnest(%b::text[], %b::text[]) AS r (source, item_key)
WHERE item.source = r.source AND item.item_key = r.item_key AND item.state <> 'fetched'"""
_FAILURE: Final = _Insert(
    "failure", {"payload_hash": "text", **_KEY, "error_class": "text", "message": "text", "failed_at": "bigint"}
)
_DELIVERY: Final = _Insert("delivery", {**_KEY, "observed_at": "bigint", "payload_hash": "text", "outcome": "text"})


@dataclass(frozen=True, slots=True)
class Understood:
    """A payload after the pure steps."""

    payload: Payload
    payload_hash: str
    observed_at: int  # microseconds
    result: PageResult | FailureResult

    @property
    def key(self) -> Key:
        """The identity of the page."""
        return self.payload.source, self.result.item_key


def understood(payload: Payload) -> Understood:
    """Parse and hash a payload by penstock's steps; a page that cannot be parsed becomes a failure."""
    body_hash = payload_hash(payload.body)
    result: PageResult | FailureResult
    try:
        result = understand(payload, PROFILE)
    except Permanent as error:
        result = failure_of(error, payload, body_hash)
    return Understood(payload, body_hash, observed_at(payload, "0-0"), result)


def work_on(payloads: Sequence[Payload]) -> list[Outcome]:
    """Handle payloads in one transaction on this thread's connection, report them as handled, and return how."""
    outcomes = handle_batch(connection(), payloads)
    handled(len(payloads))
    return outcomes


def handle(at: Connection, payload: Payload) -> Outcome:
    """Handle one page in a transaction of its own."""
    return handle_batch(at, [payload])[0]


def handle_batch(at: Connection, payloads: Sequence[Payload]) -> list[Outcome]:
    """Handle pages in one transaction; return what became of each. Raises ``psycopg.Error``."""
    batch = [understood(one) for one in payloads]
    with at.transaction():
        return _write(at, batch)


def _write(at: Connection, batch: Sequence[Understood]) -> list[Outcome]:
    pages = [(one, one.result) for one in batch if isinstance(one.result, PageResult)]
    failures = [(one, one.result) for one in batch if isinstance(one.result, FailureResult)]
    _keep_payloads(at, batch)
    fresh, new_texts = _keep_pages(at, pages)
    _keep_items(at, pages)
    if failures:
        rows = [
            (one.payload_hash, *one.key, result.error_class, result.message, one.observed_at)
            for one, result in failures
        ]
        _FAILURE.run(at, sorted(rows))
    outcomes = [_outcome(one, fresh, new_texts) for one in batch]
    rows_of_outcomes = [
        (*one.key, one.observed_at, one.payload_hash, str(outcome))
        for one, outcome in zip(batch, outcomes, strict=True)
    ]
    _DELIVERY.run(at, sorted(rows_of_outcomes))
    return outcomes


def _keep_payloads(at: Connection, batch: Sequence[Understood]) -> None:
    bodies = {one.payload_hash: one.payload.body for one in batch}
    compress = _own().compress
    _PAYLOAD.run(at, [(one, compress(bodies[one]), len(bodies[one])) for one in sorted(bodies)])


def _keep_pages(
    at: Connection, pages: Sequence[tuple[Understood, PageResult]]
) -> tuple[dict[Key, int], dict[Text, int]]:
    """Write pages and their revisions; return the pages and the texts that were not there, with when each was seen.

    Of what came several times in the batch, the first observation brought it.
    """
    if not pages:
        return {}, {}
    in_order = sorted(pages, key=lambda pair: pair[0].observed_at)
    newest = {one.key: (one, result) for one, result in in_order}
    first = {(*one.key, result.content_hash): (one, result) for one, result in reversed(in_order)}
    begun = {one.key: one.observed_at for one, _ in reversed(in_order)}
    rows = [
        (*key, one.payload.url, result.content_hash, begun[key], one.observed_at)
        for key, (one, result) in sorted(newest.items())
    ]
    written = _PAGE.run(at, rows).fetchall()
    fresh = {(source, key): begun[source, key] for source, key, is_new in written if is_new}
    texts = [_revision(one, result) for _, (one, result) in sorted(first.items())]
    new = _REVISION.run(at, texts).fetchall()
    return fresh, {(source, key, text): first[source, key, text][0].observed_at for source, key, text in new}


def _revision(one: Understood, result: PageResult) -> tuple[Any, ...]:
    page = result.page
    return (
        *one.key,
        result.content_hash,
        one.payload_hash,
        one.observed_at,
        page.title,
        page.published_at,
        page.wire_service,
        page.desk_code,
        "\n".join(page.paragraphs),
        orjson.dumps(_related(page.related)).decode(),
        page.parser,
        page.parser_version,
    )


def _related(items: Sequence[Related]) -> list[tuple[str, str | None, str | None]]:
    """Return what the rest is read out of, as penstock stores it."""
    if isinstance(items, RelatedItems):
        return list(zip(items.ids, items.titles, items.paths, strict=True))
    return [(one.id, one.title, one.media_path) for one in items]


def _keep_items(at: Connection, pages: Sequence[tuple[Understood, PageResult]]) -> None:
    rows: dict[Key, tuple[Any, ...]] = {}
    for one, result in pages:
        for item in result.discovered:
            key = one.payload.source, item.item_key
            rows.setdefault(key, (*key, item.url, "due", result.item_key, one.observed_at))
    own = {one.key for one, _ in pages}
    rows.update({one.key: (*one.key, one.payload.url, "fetched", None, one.observed_at) for one, _ in pages})
    if not rows:
        return
    inserted = set(_ITEM.run(at, [rows[key] for key in sorted(rows)]).fetchall())
    if named := sorted(own - inserted):
        at.execute(_FETCHED, [list(column) for column in zip(*named, strict=True)])


def _outcome(one: Understood, fresh: dict[Key, int], new_texts: dict[Text, int]) -> Outcome:
    if isinstance(one.result, FailureResult):
        return Outcome.FAILED
    if new_texts.get((*one.key, one.result.content_hash)) != one.observed_at:
        return Outcome.UNCHANGED
    return Outcome.NEW if fresh.get(one.key) == one.observed_at else Outcome.REVISION


@dataclass(slots=True)
class _Own:
    """What a thread of a process works with; after a fork everything is opened anew."""

    pid: int
    connection: Connection | None = None
    compressor: zstandard.ZstdCompressor = field(default_factory=lambda: zstandard.ZstdCompressor(level=ZSTD_LEVEL))

    def compress(self, body: bytes) -> bytes:
        return self.compressor.compress(body)


_local = threading.local()
_progress: dict[int, int] = {}  # process → the descriptor of the progress file


def _own() -> _Own:
    own: _Own | None = getattr(_local, "own", None)
    if own is None or own.pid != os.getpid():
        own = _local.own = _Own(os.getpid())
    return own


def connection() -> Connection:
    """Return this thread's connection to the database of the run, opened with the first call."""
    own = _own()
    if own.connection is None or own.connection.closed:
        own.connection = connect(os.environ[STORE_URL])
    return own.connection


def connect(url: str) -> Connection:
    """Open a connection as a worker has it: statements are prepared when they are first run, and planned once."""
    opened = psycopg.connect(url, autocommit=True, prepare_threshold=0)
    opened.execute("SET plan_cache_mode = force_generic_plan")
    opened.execute("SET jit = off")
    return opened


def handled(count: int) -> None:
    """Report pages as handled; call it after their transaction."""
    descriptor = _progress.get(os.getpid())
    if descriptor is None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        descriptor = _progress[os.getpid()] = os.open(os.environ[PROGRESS], flags, 0o600)
    os.write(descriptor, b"." * count)
