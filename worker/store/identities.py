"""Which pages and items a key means: SOURCE/ITEM, a URL, a content hash, a failure's number, a stream entry's id.

Every look-up goes by an index: there may be millions of rows of each kind.
"""

from __future__ import annotations

import re
from typing import Final

from tasks.steps.canonical import canonical_url
from tasks.steps.dedupe import Identity
from worker.store import clean
from worker.store.driver import Row, Transaction
from worker.store.records import with_content

ENTRY: Final = re.compile(r"(\d{1,19})-(\d{1,19})")
_FAILURE: Final = re.compile(r"\d{1,18}")
_INT_MAX: Final = 2**63 - 1

_OF_ENTRY: Final = "SELECT source, item_key FROM delivery WHERE epoch = ? AND ms = ? AND seq = ?"
# One step of the index for each value, however many rows it has.
_VALUES: Final = """WITH RECURSIVE known(value) AS (
  SELECT min({column}) FROM {table}
  UNION ALL SELECT (SELECT min({table}.{column}) FROM {table} WHERE {table}.{column} > known.value)
    FROM known WHERE known.value IS NOT NULL
) SELECT value FROM known WHERE value IS NOT NULL"""
_BY_IDENTITY: Final = (
    "SELECT 1 FROM item WHERE source = ? AND item_key = ?",
    "SELECT 1 FROM page WHERE source = ? AND item_key = ?",
    "SELECT 1 FROM failure WHERE source = ? AND item_key = ?",
)


def sources(tx: Transaction) -> list[str]:
    """Return the sources that anything is stored of."""
    return sorted({name for table in ("item", "failure", "page") for name in _values(tx, table, "source")})


def _values(tx: Transaction, table: str, column: str) -> list[str]:
    return [row[0] for row in tx.run(_VALUES.format(table=table, column=column))]


def find(tx: Transaction, key: str) -> list[Identity]:
    """Return what a key means; nothing where nothing is stored under it."""
    key = clean.text(key.strip())
    if entry := ENTRY.fullmatch(key):
        rows = _deliveries(tx, int(entry[1]), int(entry[2]))
        if rows:
            return _unique(rows)
    if _FAILURE.fullmatch(key):
        rows = tx.run("SELECT source, item_key FROM failure WHERE id = ?", int(key))
        if rows:
            return _unique(rows)
    return _named(tx, key)


def _deliveries(tx: Transaction, ms: int, seq: int) -> list[Row]:
    """Return source and item key of the deliveries of an entry: an id may be used again in another epoch."""
    if max(ms, seq) > _INT_MAX:
        return []
    return [row for epoch in _values(tx, "outcome_count", "epoch") for row in tx.run(_OF_ENTRY, epoch, ms, seq)]


def _named(tx: Transaction, key: str) -> list[Identity]:
    found = tx.run("SELECT source, item_key FROM page WHERE url_key = ? AND url = ?", clean.number_of(key), key)
    found += with_content(tx, key) + tx.run("SELECT source, item_key FROM content WHERE content_hash = ?", key)
    url = canonical_url(key)
    for source in sources(tx):
        names = [key.removeprefix(f"{source}/")] if key.startswith(f"{source}/") else []
        names += [url] if url else []  # without an ID the canonical URL is the item key
        found += [(source, name) for name in map(clean.key, names) if _is_known(tx, source, name)]
    return _unique(found)


def _is_known(tx: Transaction, source: str, item_key: str) -> bool:
    return any(tx.run(sql, source, item_key) for sql in _BY_IDENTITY)


def _unique(rows: list[Row]) -> list[Identity]:
    return sorted({Identity(row[0], row[1]) for row in rows})
