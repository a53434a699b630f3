"""When the pages of a batch are fetched again, and by what their hosts can tell then that they have not changed.

Both stand in the item that was fetched: that of the envelope, though the page may declare another URL as its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from tasks.steps.dedupe import Identity
from tasks.steps.lists import LIST_PRIORITY
from tasks.steps.page import Outcome
from tasks.steps.recrawl import next_fetch, next_interval
from worker.store import clean, mentions
from worker.store.batch import Sighting
from worker.store.driver import Row, Transaction, statement

VALIDATORS: Final = ("etag", "last_modified")  # the fields of the envelope that bring them

_BEFORE: Final = statement(
    """SELECT item.source, item.item_key, item.recrawl_us
    FROM {rows} JOIN item ON item.source = r.source AND item.item_key = r.item_key""",
    source="text",
    item_key="text",
)
_WRITE: Final = statement(
    """UPDATE item SET next_fetch_at = r.next_fetch_at, recrawl_us = r.recrawl_us, etag = r.etag,
      last_modified = r.last_modified, priority = r.priority
    FROM {rows} WHERE item.source = r.source AND item.item_key = r.item_key AND item.state = 'fetched'""",
    source="text",
    item_key="text",
    next_fetch_at="int",
    recrawl_us="int",
    etag="text",
    last_modified="text",
    priority="int",
)


def plan(
    tx: Transaction, seen: Sequence[Sighting], outcomes: Sequence[Outcome], last_seen: Mapping[Identity, int]
) -> list[Row]:
    """Return what is to be written to the items of pages once they are noted as fetched; mostly nothing.

    ``last_seen`` is when each page was seen last, this batch included. Of what came late only that is taken which the
    page's last sighting lacks: a time at which it is fetched again.
    """
    newest: dict[Identity, tuple[Sighting, Outcome]] = {}
    for one, outcome in zip(seen, outcomes, strict=True):
        if one.result.recrawl is None and one.payload.extra.keys().isdisjoint(VALIDATORS):
            continue
        if mentions.own(one) is not None:
            item = one.named or one.identity
            if item not in newest or newest[item][0].observed_at <= one.observed_at:
                newest[item] = one, outcome
    if not newest:
        return []
    before = _before(tx, [item for item, (one, _) in newest.items() if one.result.recrawl])
    return [_row(item, *newest[item], last_seen, before.get(item)) for item in sorted(newest)]


def _before(tx: Transaction, planned: Sequence[Identity]) -> dict[Identity, int | None]:
    return {Identity(row[0], row[1]): row[2] for row in tx.read(_BEFORE, sorted(planned))}


def _row(item: Identity, one: Sighting, outcome: Outcome, last_seen: Mapping[Identity, int], before: int | None) -> Row:
    last, within = last_seen[one.identity], one.result.recrawl
    is_last = one.observed_at == last
    every = at = None
    if within is not None:
        every = next_interval(before, within, changed=(outcome is not Outcome.UNCHANGED) if is_last else None)
        at = next_fetch(last, every, item.item_key)
    etag, modified = (clean.text(one.payload.extra.get(name) or None) if is_last else None for name in VALIDATORS)
    return (*item, at, every, etag, modified, LIST_PRIORITY if within is not None and within.is_list else 0)


def write(tx: Transaction, planned: Sequence[Row]) -> None:
    """Write what was planned."""
    tx.send(_WRITE, planned)
