"""Rows of ``near_due``, ``near_text`` and ``near_key``: texts compared, to find those that are nearly the same.

A page's commit only leaves the sketch of a text that is new to it. They are compared later, many at a time and by one
process, which keeps no batch waiting. A text stays, like its ``content`` row: that its page has another one now changes
no cluster.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from tasks.steps.clusters import Clustered, Entered, Node, by_key, cluster, enter
from tasks.steps.similar import sketch
from worker.store import clean, told
from worker.store.batch import Sighting
from worker.store.chores import Position
from worker.store.driver import Transaction, statement
from worker.store.pages import IS_HEAD

PORTION: Final = 1000  # texts that are compared in one transaction
PAGES: Final = 200  # pages of before r0006 that are sketched in one transaction

_LEAVE: Final = statement(
    "INSERT INTO near_due (content, head, sketch) SELECT content, head, sketch FROM {rows}",
    content="int",
    head="text",
    sketch="blob",
)
_STORE: Final = statement(
    "INSERT INTO near_text (content, cluster, head, sketch) SELECT content, cluster, head, sketch FROM {rows}",
    content="int",
    cluster="int",
    head="text",
    sketch="blob",
)
_ENTER: Final = statement(
    "INSERT INTO near_key (key, content) SELECT key, content FROM {rows}", key="int", content="int"
)
# What is deleted is what is returned: a row with a lower id may become visible between two statements.
_TAKE: Final = """DELETE FROM near_due WHERE id IN (SELECT id FROM near_due WHERE id > ? ORDER BY id LIMIT ?)
  RETURNING id, content, head, sketch"""
_CHORES_DUE: Final = """SELECT name FROM job WHERE name = 'texts_sketched' AND position <> ''
  UNION ALL SELECT 'texts_compared' WHERE EXISTS (SELECT 1 FROM near_due)"""
_STORED: Final = statement(
    """SELECT near_text.content, near_text.cluster, near_text.sketch
    FROM {rows} JOIN near_text ON near_text.content = r.content""",
    content="int",
)
_SHARING: Final = statement(
    "SELECT near_key.key, near_key.content FROM {rows} JOIN near_key ON near_key.key = r.key", key="int"
)
_JOIN_FIRST: Final = statement(
    "UPDATE near_text SET cluster = r.joined FROM {rows} WHERE near_text.content = r.cluster",
    cluster="int",
    joined="int",
)
_JOIN_OTHERS: Final = statement(
    """UPDATE near_text SET cluster = r.joined FROM {rows}
    WHERE near_text.cluster = r.cluster AND near_text.cluster <> near_text.content""",
    cluster="int",
    joined="int",
)
_PAGES_BEFORE: Final = f"""SELECT page.id, page.content_hash, packed, fields, related
  FROM page JOIN revision ON revision.page_id = page.id AND {IS_HEAD}
  WHERE page.id <= ? ORDER BY page.id DESC LIMIT ?"""  # noqa: S608 (constant)


def leave(tx: Transaction, fresh: Iterable[Sighting]) -> None:
    """Leave the sketches of texts to be compared later."""
    _leave(tx, ((one.content_hash, one.result.page.paragraphs) for one in fresh))


def _leave(tx: Transaction, texts: Iterable[tuple[str, Sequence[str]]]) -> None:
    sketches = {content: sketch(paragraphs) for content, paragraphs in texts}
    rows = [(clean.number_of(content), _head(content), one) for content, one in sketches.items() if one is not None]
    tx.send(_LEAVE, rows)


def _head(content_hash: str) -> str:
    return content_hash[2:14]


def chores_due(tx: Transaction) -> list[str]:
    """Return which of the chores there is something to do for, by the names under which ``job`` has them."""
    return [row[0] for row in tx.run(_CHORES_DUE)]


def sketch_earlier(tx: Transaction, position: Position) -> tuple[int, Position]:
    """Sketch pages of before r0006, from the last one to the first; return how many, and where that ended."""
    if position is None:
        return 0, None
    rows = tx.run(_PAGES_BEFORE, position[0], PAGES)
    _leave(tx, ((row[1], told.unpacked(*row[2:])["paragraphs"]) for row in rows))
    return len(rows), [rows[-1][0] - 1] if len(rows) == PAGES else None


def compare(tx: Transaction, position: Position) -> tuple[int, Position]:
    """Compare texts that are due with all others; return how many, and where that ended."""
    rows = sorted(tx.run(_TAKE, position[0] if position else 0, PORTION))
    due = {row[1]: (row[2], bytes(row[3])) for row in rows}
    for content in _stored(tx, due):
        del due[content]
    _write(tx, due)
    return len(rows), [rows[-1][0]] if len(rows) == PORTION else None


def _write(tx: Transaction, due: Mapping[int, tuple[str, bytes]]) -> None:
    fresh = {content: one for content, (_, one) in due.items()}
    entered, clustered = placed(tx, fresh)
    tx.send(_ENTER, entered.entries)
    tx.send(_STORE, [(content, clustered.of[content], *due[content]) for content in sorted(due)])
    joined = sorted(clustered.joined.items())
    tx.send(_JOIN_FIRST, joined)
    tx.send(_JOIN_OTHERS, joined)


def placed(tx: Transaction, fresh: Mapping[int, bytes]) -> tuple[Entered, Clustered]:
    """Look up where sketches that are not stored belong, by the numbers of their texts; writes nothing."""
    keyed = by_key(fresh)
    entered = enter(keyed, _sharing(tx, keyed))
    others = {other for shared in entered.shared.values() for other in shared if other not in fresh}
    return entered, cluster(fresh, entered.shared, _stored(tx, others))


def _sharing(tx: Transaction, keys: Iterable[int]) -> dict[int, list[int]]:
    """Return the texts that are found by keys."""
    found: defaultdict[int, list[int]] = defaultdict(list)
    for key, content in tx.read(_SHARING, [(key,) for key in keys]):
        found[key].append(content)
    return found


def _stored(tx: Transaction, contents: Collection[int]) -> dict[int, Node]:
    rows = tx.read(_STORED, [(one,) for one in sorted(contents)])
    return {content: Node(of, bytes(one)) for content, of, one in rows}
