"""The raw archive: what came in, with its envelope, of every stored revision and every open failure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from tasks.steps.dedupe import Identity
from tasks.steps.page import Payload
from worker.store import clean, envelopes
from worker.store.driver import Row, Transaction, statement
from worker.store.failures import OPEN, payload_of
from worker.store.zstd import unpack

Key = tuple[Any, ...]

# A late arrival may have moved the start of a revision to an earlier time since its key was read, never to a later one.
_REVISIONS: Final = statement(
    """SELECT page.source, page.item_key, revision.first_seen, payload.bytes, revision.payload_hash, page.item,
      page.url, page.depth, page.parent, envelope
    FROM {rows} JOIN page ON page.id = r.page_id JOIN revision ON revision.page_id = r.page_id
        AND revision.content_hash = r.content_hash AND revision.first_seen = (
          SELECT max(moved.first_seen) FROM revision AS moved WHERE moved.page_id = r.page_id
            AND moved.content_hash = r.content_hash AND moved.first_seen <= r.first_seen)
      LEFT JOIN payload ON payload.payload_hash = revision.payload_hash
    ORDER BY page.id, revision.first_seen, revision.content_hash""",
    page_id="int",
    first_seen="int",
    content_hash="text",
)
_FAILURES: Final = statement(
    """SELECT source, item_key, observed_at, payload.bytes, failure.payload_hash, item, url, fetched_at, content_type,
      status, depth, parent, extra
    FROM {rows} JOIN failure ON failure.id = r.id LEFT JOIN payload ON payload.payload_hash = failure.payload_hash
    ORDER BY failure.id""",
    id="int",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Archived:
    """What one arrival brought. ``payload`` is None where its bytes are not kept any more."""

    kind: Literal["revision", "failure"]
    identity: Identity
    observed_at: int
    payload_hash: str
    payload: Payload | None


def last_failure(tx: Transaction) -> int:
    """Return the highest id of a failure."""
    return int(tx.run("SELECT coalesce(max(id), 0) FROM failure")[0][0])


def revisions_in(
    tx: Transaction, after: int, until: int, source: str | None, since: int | None
) -> list[tuple[Key, int]]:
    """Return the keys of the revisions of a span of pages, each with the size of its bytes and envelope."""
    tests, parameters = _narrowed("page.source = ?", source, "revision.last_seen >= ?", since)
    rows = tx.run(
        f"""SELECT page.id, revision.first_seen, revision.content_hash,
          coalesce(payload.size, 0) + coalesce(length(envelope), 0)
        FROM page JOIN revision ON revision.page_id = page.id
          LEFT JOIN payload ON payload.payload_hash = revision.payload_hash
        WHERE page.id > ? AND page.id <= ? {tests}
        ORDER BY page.id, revision.first_seen, revision.content_hash""",  # noqa: S608 (constants, values are bound)
        after,
        until,
        *parameters,
    )
    return [(row[:3], row[3]) for row in rows]


def failures_in(
    tx: Transaction, after: int, until: int, source: str | None, since: int | None
) -> list[tuple[Key, int]]:
    """Return the ids of the open failures of a span that had bytes, each with the size of these and its envelope."""
    tests, parameters = _narrowed("source = ?", source, "observed_at >= ?", since)
    rows = tx.run(
        f"""SELECT id, size + length(extra) FROM failure
        WHERE id > ? AND id <= ? AND kind = 'payload' AND state IN {OPEN} {tests} ORDER BY id""",  # noqa: S608 (constants, values are bound)
        after,
        until,
        *parameters,
    )
    return [(row[:1], row[1]) for row in rows]


def _narrowed(of_source: str, source: str | None, since_then: str, since: int | None) -> tuple[str, list[Any]]:
    tests, parameters = "", list[Any]()
    if source is not None:
        tests += f" AND {of_source}"
        parameters.append(clean.key(source, clean.SOURCE_BYTES))
    if since is not None:
        tests += f" AND {since_then}"
        parameters.append(since)
    return tests, parameters


def revisions(tx: Transaction, keys: Sequence[Key]) -> list[Archived]:
    """Read revisions with their bytes."""
    return [_revision(row) for row in tx.read(_REVISIONS, keys)]


def failures(tx: Transaction, keys: Sequence[Key]) -> list[Archived]:
    """Read failures with their bytes."""
    return [_failure(row) for row in tx.read(_FAILURES, keys)]


def _revision(row: Row) -> Archived:
    source, item_key, observed_at, packed, payload_hash = row[:5]
    body = _unpacked(packed)
    return Archived(
        kind="revision",
        identity=Identity(source, item_key),
        observed_at=observed_at,
        payload_hash=payload_hash,
        payload=None if body is None else envelopes.read(source, row[9] or envelopes.of_page(*row[5:9]), body),
    )


def _failure(row: Row) -> Archived:
    source, item_key, observed_at, packed, payload_hash = row[:5]
    body = _unpacked(packed)
    return Archived(
        kind="failure",
        identity=Identity(source, item_key),
        observed_at=observed_at,
        payload_hash=payload_hash,
        payload=None if body is None else payload_of(source, row[5:13], body),
    )


def _unpacked(packed: Any) -> bytes | None:
    return None if packed is None else unpack(packed)
