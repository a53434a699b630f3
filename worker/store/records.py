"""Pages as records: what ``show`` and ``export`` print."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from tasks.steps.dedupe import Identity
from worker.store import clean, clusters, told
from worker.store.driver import Row, Transaction
from worker.store.pages import IS_HEAD

_PAGE: Final = """page.id, page.source, page.item_key, page.item, page.url, page.first_seen, page.last_seen, page.depth,
  page.parent, page.revisions"""
_REVISION: Final = """revision.content_hash, revision.first_seen, revision.last_seen, revision.parser,
  revision.parser_version, revision.title, revision.published_at, revision.published_raw, revision.packed,
  revision.fields, revision.related, content.source, content.item_key, revision.profile_version"""
_GONE: Final = """(SELECT gone_at FROM item WHERE item.source = page.source AND item.item_key = page.item_key)"""
_CONTENT: Final = "SELECT content_hash FROM page WHERE source = ? AND item_key = ?"
SELECT: Final = f"""SELECT {_PAGE}, {_REVISION}, {_GONE} FROM page
  JOIN revision ON revision.page_id = page.id
  JOIN content ON content.content_hash = revision.content_hash
  WHERE """  # noqa: S608 (constants)


def one(tx: Transaction, identity: Identity, revision: int | None = None) -> dict[str, Any] | None:
    """Return the record of a page in its present state, or of its N-th revision, counted from 1 by first sight.

    ``first_seen`` and ``last_seen`` are the page's, or the revision's when one is asked for.
    """
    where = "page.source = ? AND page.item_key = ?"
    if revision is None:
        rows = tx.run(f"{SELECT} {where} AND {IS_HEAD}", *identity)
        return records(tx, rows)[0] if rows else None
    if revision < 1:
        return None
    rows = tx.run(
        f"{SELECT} {where} ORDER BY revision.first_seen, revision.content_hash LIMIT 1 OFFSET ?",
        *identity,
        revision - 1,
    )
    return records(tx, rows, revision)[0] if rows else None


def find(tx: Transaction, key: str, revision: int | None = None) -> list[dict[str, Any]]:
    """Return the records of the pages that SOURCE/ITEM, a URL or a content hash names."""
    found = [one(tx, identity, revision) for identity in _named_by(tx, clean.text(key))]
    return [page for page in found if page is not None]


def similar(tx: Transaction, key: str) -> list[dict[str, Any]]:
    """Return the clusters of the pages that a key names, as ``find`` takes it; see ``clusters.similar``."""
    pages = [(identity, tx.run(_CONTENT, *identity)) for identity in _named_by(tx, clean.text(key))]
    return [clusters.similar(tx, identity, rows[0][0]) for identity, rows in pages if rows]


def _named_by(tx: Transaction, key: str) -> list[Identity]:
    rows = tx.run("SELECT source, item_key FROM page WHERE url_key = ? AND url = ?", clean.number_of(key), key)
    rows += with_content(tx, key)
    for source in tx.run("SELECT DISTINCT source FROM outcome_count"):
        rows.append((source[0], clean.key(key)))  # without an ID the canonical URL is the item key
        if key.startswith(f"{source[0]}/"):
            rows.append((source[0], clean.key(key[len(source[0]) + 1 :])))
    return sorted({Identity(row[0], row[1]) for row in rows})


def with_content(tx: Transaction, content_hash: str) -> list[Row]:
    """Return source and item key of the pages that have a content now.

    The index holds a part of the hash. SQLite would put the constant in place of the whole one there, and miss it.
    """
    where = "substr(page.content_hash, 3, 12) = ? AND page.content_hash || '' = ?"
    return tx.run(f"SELECT source, item_key FROM page WHERE {where}", content_hash[2:14], content_hash)  # noqa: S608 (constant)


def records(tx: Transaction, rows: Sequence[Row], revision: int | None = None) -> list[dict[str, Any]]:
    """Return rows of ``SELECT``, of different pages, as records."""
    near = clusters.near_duplicates(tx, {Identity(row[1], row[2]): row[10] for row in rows})
    return [_record(row, near[Identity(row[1], row[2])], revision) for row in rows]


def _record(row: Row, near: Sequence[str], revision: int | None) -> dict[str, Any]:
    """Return a row as a record, its keys in the order of DESIGN §8."""
    (_, source, item_key, item, url, first_seen, last_seen, depth, parent, revisions) = row[:10]
    (content_hash, since, until, parser, parser_version, title, published_at, published_raw) = row[10:18]
    fields = told.unpacked(*row[18:21])
    first = Identity(row[21], row[22])
    return {
        "source": source,
        "item": item,
        "url": url,
        "key": f"{source}/{item_key}",
        "title": title,
        "published_at": published_at,
        "published_raw": published_raw,
        "paragraphs": fields["paragraphs"],
        "wire_service": fields["wire_service"],
        "desk_code": fields["desk_code"],
        "language": fields["language"],
        "authors": fields["authors"],
        "related": fields["related"],
        "revision": revision or revisions,
        "content_hash": content_hash,
        "duplicate_of": None if first == (source, item_key) else "/".join(first),
        "near_duplicates": near,
        "parser": parser,
        "parser_version": parser_version,
        "first_seen": clean.rfc3339(since if revision else first_seen),
        "last_seen": clean.rfc3339(until if revision else last_seen),
        "depth": depth,
        "parent": parent,
        **{name: fields[name] for name in told.LATER},
        "profile_version": row[23],
        "gone_at": clean.rfc3339(row[24]),
    }
