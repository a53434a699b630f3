"""All pages, a chunk at a time, so that an export of millions holds neither memory nor a transaction for long."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from worker.store import clean
from worker.store.driver import Row, Transaction
from worker.store.pages import IS_HEAD
from worker.store.records import SELECT, records

CHUNK: Final = 500

Chunk = list[tuple[int, dict[str, Any]]]


def chunk_after(page_id: int, source: str | None, since: int | None) -> Callable[[Transaction], Chunk]:
    """Return the query for the next pages after a page id, as (id, record)."""
    where, parameters = [IS_HEAD, "page.id > ?"], [page_id]
    narrowed: list[Any] = list(parameters)
    if source is not None:
        where.append("page.source = ?")
        narrowed.append(clean.key(source, clean.SOURCE_BYTES))
    if since is not None:
        where.append("page.last_seen >= ?")
        narrowed.append(since)
    sql = f"{SELECT} {' AND '.join(where)} ORDER BY page.id LIMIT {CHUNK}"
    return lambda tx: _chunk(tx, tx.run(sql, *narrowed))


def _chunk(tx: Transaction, rows: Sequence[Row]) -> Chunk:
    return list(zip((row[0] for row in rows), records(tx, rows), strict=True))
