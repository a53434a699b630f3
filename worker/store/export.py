"""All pages, a chunk at a time, so that an export of millions holds neither memory nor a transaction for long."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from worker.store import clean
from worker.store.driver import Transaction
from worker.store.records import IS_HEAD, SELECT, record

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
    return lambda tx: [(row[0], record(row)) for row in tx.run(sql, *narrowed)]
