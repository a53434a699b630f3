"""Rows of ``field_count`` and ``field_drift``: what is found of each source's fields, and where that broke."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from tasks.ports import Drift
from tasks.steps.drift import BASELINE, BUCKET_US, LEAST_RECENT, RECENT, Kind, Tally, drifted, kinds, split
from worker.store import clean
from worker.store.driver import Transaction, statement

_KEPT: Final = 30 * 8  # spans
_ENDS_US: Final = BASELINE * BUCKET_US  # after so long what was a break is how the source is

_ADD: Final = statement(
    """INSERT INTO field_count (source, span, field, pages, filled, size)
    SELECT source, span, field, pages, filled, size FROM {rows} WHERE true
    ON CONFLICT (source, span, field) DO UPDATE SET pages = field_count.pages + excluded.pages,
      filled = field_count.filled + excluded.filled, size = field_count.size + excluded.size""",
    source="text",
    span="int",
    field="text",
    pages="int",
    filled="int",
    size="int",
)
_ACTIVE: Final = """SELECT source FROM field_count WHERE span >= ? UNION SELECT source FROM field_drift ORDER BY 1"""
_FOUND: Final = "SELECT field, span, pages, filled, size FROM field_count WHERE source = ? AND span > ?"
_OPEN: Final = "SELECT field, kind, since, pages, filled, size FROM field_drift WHERE source = ?"
_BEGIN: Final = """INSERT INTO field_drift (source, field, kind, since, pages, filled, size,
    now_pages, now_filled, now_size) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
  ON CONFLICT (source, field, kind) DO UPDATE SET now_pages = excluded.now_pages, now_filled = excluded.now_filled,
    now_size = excluded.now_size"""
_END: Final = "DELETE FROM field_drift WHERE source = ? AND field = ? AND kind = ?"
_ALL: Final = """SELECT source, field, kind, since, pages, filled, size, now_pages, now_filled, now_size
  FROM field_drift ORDER BY source, field, kind"""
_PRUNE: Final = "DELETE FROM field_count WHERE span < ?"

_Open = tuple[int, Tally]  # since when, and the baseline of then


def add(tx: Transaction, found: Mapping[str, Mapping[str, Tally]], span: int) -> None:
    """Add what was found, by source and field, to a span's counts."""
    rows = (
        (clean.key(source, clean.SOURCE_BYTES), span, field, *tally)
        for source, fields in found.items()
        for field, tally in fields.items()
    )
    tx.write(_ADD, sorted(rows))


def active(tx: Transaction, now: int) -> list[str]:
    """Return the sources that have pages of the last day, and those with a break; forget counts that are too old."""
    span = now // BUCKET_US
    tx.run(_PRUNE, span - _KEPT)
    return [row[0] for row in tx.run(_ACTIVE, span - RECENT)]


def look(tx: Transaction, source: str, now: int) -> list[Drift]:
    """Find what broke in a source since the last look, and what is over."""
    spans, there = _spans(tx, source, now), _open(tx, source)
    return [
        change
        for field, kind in kinds()
        for change in _judged(tx, (source, field, kind), spans[field], there.get((field, kind)), now)
    ]


def every(tx: Transaction) -> list[dict[str, Any]]:
    """Return the breaks that are there, as ``status`` prints them."""
    return [
        {
            "source": source,
            "field": field,
            "kind": kind,
            "since": clean.rfc3339(since),
            "before": _value(kind, Tally(*counts[:3])),
            "after": _value(kind, Tally(*counts[3:])),
        }
        for source, field, kind, since, *counts in tx.run(_ALL)
    ]


def _spans(tx: Transaction, source: str, now: int) -> Mapping[str, dict[int, Tally]]:
    found: dict[str, dict[int, Tally]] = defaultdict(dict)
    for field, span, *counts in tx.run(_FOUND, source, now // BUCKET_US - BASELINE - RECENT):
        found[field][span] = Tally(*counts)
    return found


def _open(tx: Transaction, source: str) -> dict[tuple[str, str], _Open]:
    return {(field, kind): (since, Tally(*counts)) for field, kind, since, *counts in tx.run(_OPEN, source)}


def _judged(
    tx: Transaction, which: tuple[str, str, Kind], spans: Mapping[int, Tally], there: _Open | None, now: int
) -> Iterator[Drift]:
    """Judge a field. A break that is there is held against what was before it, and not against itself."""
    recent, before = split(spans, now // BUCKET_US)
    since, before = there or (now, before)
    if drifted(which[2], before, recent) and now - since < _ENDS_US:
        tx.run(_BEGIN, *which, since, *before, *recent)
        if there is None:
            yield _told(which, before, recent, over=False)
    elif there is not None and (recent.pages >= LEAST_RECENT or now - since >= _ENDS_US):
        tx.run(_END, *which)
        yield _told(which, before, recent, over=True)


def _told(which: Sequence[Any], before: Tally, after: Tally, *, over: bool) -> Drift:
    source, field, kind = which
    return Drift(source, field, kind, _value(kind, before), _value(kind, after), over=over)


def _value(kind: str, tally: Tally) -> float:
    return round(tally.share if kind == "fill" else tally.mean, 3)
