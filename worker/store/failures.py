"""Rows of ``failure``: what could not be parsed or fetched, one open row per identity and kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

import orjson

from tasks.steps.dedupe import Identity
from tasks.steps.page import Payload
from worker.store import clean
from worker.store.batch import Broken
from worker.store.chores import Position
from worker.store.driver import Row, Transaction, statement

NO_PARSER: Final = "none"  # what stands in the column when no parser was found; also the key in ``parser_versions``
OPEN: Final = "('waiting', 'dead')"
SUPERSEDED_PORTION: Final = 2000  # open failures that one round of upkeep looks at

_ENVELOPE: Final = "item, url, fetched_at, content_type, status, depth, parent, extra"
_ERROR: Final = "error_class, message, traceback, fingerprint, parser, parser_version"
_COLUMNS: Final = (
    f"kind, source, item_key, {_ENVELOPE}, payload_hash, size, {_ERROR}, state, next_attempt_at, attempts, "
    "observed_at, first_failed_at, last_failed_at, resolved_at, resolved_by"
)
_REPLACED: Final = ", ".join(
    f"{name} = CASE WHEN excluded.observed_at >= failure.observed_at THEN excluded.{name} ELSE failure.{name} END"
    for name in f"{_ENVELOPE}, payload_hash, size, {_ERROR}, observed_at".split(", ")
)
# A failure that is being retried with back-off goes on with that; one that starts anew takes the new plan.
_GOES_ON: Final = """(failure.kind = 'payload' AND failure.state = 'waiting' AND failure.attempts > 0)
        OR excluded.observed_at < failure.observed_at"""
_SAME_BYTES: Final = "(failure.payload_hash = excluded.payload_hash OR excluded.observed_at < failure.observed_at)"
_UPSERT: Final = statement(
    f"""INSERT INTO failure ({_COLUMNS}) SELECT {_COLUMNS} FROM {{rows}} WHERE true
    ON CONFLICT (source, item_key, kind) WHERE state IN {OPEN} DO UPDATE SET
      state = CASE WHEN {_GOES_ON} THEN failure.state ELSE excluded.state END,
      next_attempt_at = CASE WHEN {_GOES_ON} THEN failure.next_attempt_at ELSE excluded.next_attempt_at END,
      lease_until = CASE WHEN {_SAME_BYTES} THEN failure.lease_until END,
      lease_token = CASE WHEN {_SAME_BYTES} THEN failure.lease_token END,
      attempts = CASE WHEN failure.kind = 'fetch' THEN excluded.attempts ELSE failure.attempts END,
      last_failed_at = excluded.last_failed_at, {_REPLACED}
    RETURNING id, source, item_key, state""",  # noqa: S608 (constants)
    kind="text",
    source="text",
    item_key="text",
    item="text",
    url="text",
    fetched_at="text",
    content_type="text",
    status="int",
    depth="int",
    parent="text",
    extra="text",
    payload_hash="text",
    size="int",
    error_class="text",
    message="text",
    traceback="text",
    fingerprint="text",
    parser="text",
    parser_version="int",
    state="text",
    next_attempt_at="int",
    attempts="int",
    observed_at="int",
    first_failed_at="int",
    last_failed_at="int",
    resolved_at="int",
    resolved_by="text",
)
# By the identity: the indexes of what is open look as good before there is anything, and are read whole then.
_RESOLVE: Final = statement(
    f"""UPDATE failure SET state = 'resolved', resolved_at = r.now, resolved_by = 'arrival', next_attempt_at = NULL,
      lease_until = NULL, lease_token = NULL
    FROM {{rows}} WHERE failure.source = r.source AND failure.item_key = r.item_key
      AND failure.state || '' IN {OPEN} AND failure.observed_at < r.last_seen""",  # noqa: S608 (constants)
    source="text",
    item_key="text",
    last_seen="int",
    now="int",
)


class Kept(NamedTuple):
    """The row that holds a failure, and whether it is given up."""

    id: int
    dead: bool


def record(
    tx: Transaction, failed: Sequence[Broken], pages: Mapping[Identity, int], now: int
) -> dict[tuple[Identity, bool], Kept]:
    """Store failures; return their rows by identity and whether the page was seen well since.

    ``pages`` has when the page of an identity was seen last. Of several failures of one identity in a batch the row
    holds the last.
    """
    newest: dict[tuple[Identity, bool], Broken] = {}
    for one in sorted(failed, key=lambda one: (one.observed_at, one.payload_hash)):
        newest[one.identity, superseded(one, pages)] = one
    kept: dict[tuple[Identity, bool], Kept] = {}
    for late in (False, True):
        rows = [
            _row(one, now, late=late) for (_, is_late), one in sorted(newest.items(), key=_by_key) if is_late is late
        ]
        for row in tx.read(_UPSERT, rows):
            kept[Identity(row[1], row[2]), late] = Kept(row[0], row[3] == "dead")
    return kept


def superseded(one: Broken, pages: Mapping[Identity, int]) -> bool:
    """Tell whether the page was seen well after it failed."""
    return pages.get(one.identity, one.observed_at) > one.observed_at


def upsert(tx: Transaction, rows: Sequence[Row]) -> list[Row]:
    """Store rows in the order of the columns; return (id, source, item key, state) of each."""
    return tx.read(_UPSERT, rows)


def resolve(tx: Transaction, seen: Mapping[Identity, int], now: int) -> int:
    """Resolve the open failures of pages that were seen well after them; return how many."""
    return tx.write(_RESOLVE, [(*identity, seen[identity], now) for identity in sorted(seen)])


def resolve_superseded(tx: Transaction, position: Position, *, now: int) -> tuple[int, Position]:
    """Resolve what a page's first arrival could not see because it was committed at the same time.

    Looks at the next open failures; returns how many it resolved, and where that ended.
    """
    rows = tx.run(
        f"""SELECT failure.source, failure.item_key, failure.kind, failure.observed_at, page.last_seen
        FROM (SELECT source, item_key, kind, observed_at FROM failure {{by failure_open}}
          WHERE state IN {OPEN} AND (source, item_key, kind) > (?, ?, ?)
          ORDER BY source, item_key, kind LIMIT ?) AS failure
        LEFT JOIN page ON page.source = failure.source AND page.item_key = failure.item_key
        ORDER BY failure.source, failure.item_key, failure.kind""",  # noqa: S608 (constant)
        *(position or ("", "", "")),
        SUPERSEDED_PORTION,
    )
    seen = {Identity(row[0], row[1]): row[4] for row in rows if row[4] is not None and row[3] < row[4]}
    return resolve(tx, seen, now), list(rows[-1][:3]) if len(rows) == SUPERSEDED_PORTION else None


def envelope(payload: Payload) -> Row:
    """Return the columns to rebuild a payload from, but its source and bytes."""
    return (
        clean.text(payload.item),
        clean.text(payload.url),
        payload.fetched_at.isoformat() if payload.fetched_at else None,
        clean.text(payload.content_type),
        None if payload.status is None else clean.whole(payload.status),
        clean.whole(payload.depth),
        clean.text(payload.parent),
        clean.to_json(dict(payload.extra)),
    )


def payload_of(source: str, columns: Row, body: bytes) -> Payload:
    """Return the payload that ``envelope`` wrote into these columns."""
    item, url, fetched_at, content_type, status, depth, parent, extra = columns
    return Payload(
        source=source,
        body=body,
        item=item,
        url=url,
        fetched_at=datetime.fromisoformat(fetched_at) if fetched_at else None,
        content_type=content_type,
        status=status,
        depth=depth,
        parent=parent,
        extra=orjson.loads(extra),
    )


def error_columns(what: Broken) -> Row:
    """Return the columns that tell what went wrong."""
    result = what.result
    return (
        clean.text(result.error_class, 100),
        clean.text(result.message, clean.MESSAGE_CHARS),
        clean.text(result.traceback, clean.TRACEBACK_CHARS),
        clean.text(result.fingerprint, 100),
        clean.text(result.parser) or NO_PARSER,
        clean.whole(result.parser_version),
    )


def _row(one: Broken, now: int, *, late: bool) -> Row:
    retry_at = one.result.retry_at
    state = "resolved" if late else "dead" if retry_at is None else "waiting"
    return (
        "payload",
        *one.identity,
        *envelope(one.payload),
        one.payload_hash,
        len(one.payload.body),
        *error_columns(one),
        state,
        None if late else retry_at,
        0,
        one.observed_at,
        now,
        now,
        now if late else None,
        "arrival" if late else None,
    )


def _by_key(pair: tuple[tuple[Identity, bool], Broken]) -> tuple[Identity, bool]:
    return pair[0]
