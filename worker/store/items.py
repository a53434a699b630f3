"""Rows of ``item`` that pages bring about: what they name, and that they themselves are here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from typing import Final

from tasks.steps.dedupe import Identity
from tasks.steps.page import ItemState
from worker.store import clean
from worker.store.batch import Broken, Sighting
from worker.store.driver import Row, Transaction, statement
from worker.store.known import KnownItems
from worker.store.mentions import Mention, naming, own, tell

# As ``mentions.RANKS``.
_RANK_SQL: Final = "CASE item.state WHEN 'bounded' THEN 0 WHEN 'unroutable' THEN 1 WHEN 'fetched' THEN 3 ELSE 2 END"
_RANK_NEW: Final = _RANK_SQL.replace("item.state", "excluded.state")
_CLOSER: Final = """(excluded.depth, excluded.discovered_at, coalesce(excluded.discovered_by, ''))
      < (item.depth, item.discovered_at, coalesce(item.discovered_by, ''))"""
# What is known of a page only until it comes again.
_OUTDATED: Final = "(item.etag IS NOT NULL OR item.last_modified IS NOT NULL OR item.gone_at IS NOT NULL)"
_COLUMNS: Final = (
    "source, item_key, item, url, host, state, depth, discovered_by, discovered_at, next_fetch_at, created_at, bound"
)
# A row that does not change is locked all the same: what is named by every page is among the known.
_MERGE: Final = statement(
    f"""INSERT INTO item ({_COLUMNS}) SELECT {_COLUMNS} FROM {{rows}} WHERE true
    ON CONFLICT (source, item_key) DO UPDATE SET
      item = coalesce(item.item, excluded.item),
      url = CASE WHEN {_RANK_NEW} > {_RANK_SQL} THEN coalesce(excluded.url, item.url) ELSE item.url END,
      host = CASE WHEN {_RANK_NEW} > {_RANK_SQL} THEN coalesce(nullif(excluded.host, ''), item.host) ELSE item.host END,
      state = CASE WHEN {_RANK_NEW} > {_RANK_SQL} THEN excluded.state ELSE item.state END,
      next_fetch_at = CASE WHEN {_RANK_NEW} > {_RANK_SQL} THEN excluded.next_fetch_at ELSE item.next_fetch_at END,
      bound = CASE WHEN {_RANK_NEW} > {_RANK_SQL} THEN excluded.bound ELSE item.bound END,
      lease_until = CASE WHEN excluded.state = 'fetched' THEN NULL ELSE item.lease_until END,
      lease_token = CASE WHEN excluded.state = 'fetched' THEN NULL ELSE item.lease_token END,
      attempts = CASE WHEN excluded.state = 'fetched' THEN 0 ELSE item.attempts END,
      last_error = CASE WHEN excluded.state = 'fetched' THEN NULL ELSE item.last_error END,
      recrawl_us = CASE WHEN excluded.state = 'fetched' THEN NULL ELSE item.recrawl_us END,
      etag = CASE WHEN excluded.state = 'fetched' THEN NULL ELSE item.etag END,
      last_modified = CASE WHEN excluded.state = 'fetched' THEN NULL ELSE item.last_modified END,
      gone_at = CASE WHEN excluded.state = 'fetched' THEN NULL ELSE item.gone_at END,
      depth = CASE WHEN {_CLOSER} THEN excluded.depth ELSE item.depth END,
      discovered_by = CASE WHEN {_CLOSER} THEN excluded.discovered_by ELSE item.discovered_by END,
      discovered_at = CASE WHEN {_CLOSER} THEN excluded.discovered_at ELSE item.discovered_at END
    WHERE {_RANK_NEW} > {_RANK_SQL} OR {_CLOSER} OR (excluded.state = 'fetched' AND {_OUTDATED})""",  # noqa: S608 (constants)
    source="text",
    item_key="text",
    item="text",
    url="text",
    host="text",
    state="text",
    depth="int",
    discovered_by="text",
    discovered_at="int",
    next_fetch_at="int",
    created_at="int",
    bound="text",
)
_FAIL: Final = statement(
    """UPDATE item SET
      state = CASE WHEN recrawl_us IS NULL OR r.recrawls = 0 THEN 'failed' ELSE 'scheduled' END,
      next_fetch_at = CASE WHEN r.recrawls = 0 THEN NULL ELSE r.now + recrawl_us END,
      last_error = r.error_class, lease_until = NULL, lease_token = NULL
    FROM {rows} WHERE item.source = r.source AND item.item_key = r.item_key
      AND item.state IN ('due', 'scheduled', 'leased', 'pushed')""",
    source="text",
    item_key="text",
    error_class="text",
    recrawls="int",
    now="int",
)


def follow(
    tx: Transaction, seen: Sequence[Sighting], now: int, known: KnownItems | None = None
) -> Mapping[Identity, Mention]:
    """Store the items that pages name, once each, and mark the pages' own items as fetched; return what was told.

    What is ``known`` is left out, but a page's own item never: it may be due again.
    """
    told: dict[Identity, Mention] = {}
    for one in seen:
        source, named, at = one.identity.source, one.result.discovered, one.observed_at
        for item in named if known is None else known.unknown(source, named, at):
            tell(told, Identity(source, clean.key(item.item_key)), naming(item, one))
        itself = own(one)
        if itself is not None:
            tell(told, one.identity, itself)
            if one.named is not None:
                tell(told, one.named, itself)
    tx.send(_MERGE, _rows(told, now))
    return told


def fail(tx: Transaction, failed: Iterable[Broken], now: int) -> None:
    """Mark the items of payloads that could not be parsed, unless their page is here already.

    Those that are fetched again by themselves wait as long as they did before.
    """
    rows = {one.identity: one.result for one in failed}
    tx.send(
        _FAIL,
        [(*key, clean.text(rows[key].error_class, 100), int(rows[key].recrawls), now) for key in sorted(rows)],
    )


def _rows(told: Mapping[Identity, Mention], now: int) -> list[Row]:
    """Return the rows in the order of their keys. They are made column by column, which takes half as long."""
    if not told:
        return []
    keys = sorted(told)
    _, places, states, items, urls, hosts, bounds = map(list, zip(*map(told.__getitem__, keys), strict=True))
    depths, named_at, named_by = zip(*places, strict=True)
    urls = clean.texts(urls)
    columns = (
        *zip(*keys, strict=True),
        clean.texts(items),
        urls,
        [host or clean.host_of(url) or "" for host, url in zip(clean.texts(hosts), urls, strict=True)],
        [state.value for state in states],
        map(clean.whole, depths),
        [by or None for by in named_by],
        named_at,
        [now if state is ItemState.DUE else None for state in states],
        repeat(now, len(keys)),
        bounds,
    )
    return list(zip(*columns, strict=True))
