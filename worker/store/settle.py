"""Leases of ``item`` settled, many in one transaction: pushed, unchanged, failed, or given back.

Rows are locked in the order of ``commit``. Whoever still holds its lease finds its token in the row; of the others
nothing is noted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from tasks.fetch_ports import ItemEnd, ItemFailed, ItemPostponed, ItemPushed, ItemUnchanged
from tasks.ports import FetchFailure, ItemLease
from tasks.steps.dedupe import Identity
from tasks.steps.page import ItemState, Payload
from tasks.steps.recrawl import next_fetch, next_interval
from worker.store import attempts, clean, failures, pages, revisions
from worker.store.attempts import Attempt
from worker.store.budgets import Period, give_back
from worker.store.driver import Row, Transaction, statement
from worker.store.due import state_at

_GONE: Final = "Gone"
# Only leased rows have a token. Were they asked for by that state, all of them would be read for each of ours.
_HOLD: Final = statement(
    """SELECT item.lease_token, item.attempts, item.recrawl_us
    FROM {rows} JOIN item ON item.source = r.source AND item.item_key = r.item_key AND item.lease_token = r.token
    ORDER BY item.source, item.item_key {lock item}""",
    source="text",
    item_key="text",
    token="text",  # noqa: S106 (a type)
)
_FREED: Final = "lease_until = NULL, lease_token = NULL"
_THIS: Final = "FROM {rows} WHERE item.source = r.source AND item.item_key = r.item_key"
_PUSHED: Final = statement(
    f"""UPDATE item SET state = 'pushed', pushed_entry = r.entry, pushed_at = r.now, checked_at = r.now,
      last_status = 200, {_FREED} {_THIS}""",  # noqa: S608 (constants)
    source="text",
    item_key="text",
    entry="text",
    now="int",
)
_UNCHANGED: Final = statement(
    f"""UPDATE item SET state = 'fetched', next_fetch_at = r.next_fetch_at, recrawl_us = r.recrawl_us,
      etag = coalesce(r.etag, item.etag), last_modified = coalesce(r.last_modified, item.last_modified),
      checked_at = r.now, last_status = 304, attempts = 0, last_error = NULL, {_FREED} {_THIS}""",  # noqa: S608 (constants)
    source="text",
    item_key="text",
    next_fetch_at="int",
    recrawl_us="int",
    etag="text",
    last_modified="text",
    now="int",
)
_FAILED: Final = statement(
    f"""UPDATE item SET state = r.state, next_fetch_at = r.next_fetch_at, attempts = r.attempts,
      last_error = r.error_class, last_status = r.status,
      checked_at = CASE WHEN r.status IS NULL THEN item.checked_at ELSE r.now END,
      gone_at = CASE WHEN r.state = 'gone' THEN coalesce(item.gone_at, r.now) ELSE item.gone_at END, {_FREED}
    {_THIS}""",  # noqa: S608 (constants)
    source="text",
    item_key="text",
    state="text",
    next_fetch_at="int",
    attempts="int",
    error_class="text",
    status="int",
    now="int",
)
_POSTPONED: Final = statement(
    f"UPDATE item SET state = r.state, next_fetch_at = r.until, {_FREED} {_THIS}",  # noqa: S608 (constants)
    source="text",
    item_key="text",
    state="text",
    until="int",
)
_PAGE_GONE: Final = statement(
    f"UPDATE item SET gone_at = coalesce(item.gone_at, r.now) {_THIS}",  # noqa: S608 (constant)
    source="text",
    item_key="text",
    now="int",
)


class _Held(NamedTuple):
    """What the row of a lease that is still held says."""

    attempts: int
    recrawl_us: int | None


class _Failed(NamedTuple):
    """A failed fetch, which attempt that was, and what becomes of the item."""

    lease: ItemLease
    failure: FetchFailure
    number: int
    state: ItemState
    next_fetch_at: int | None
    attempts: int


def settle(tx: Transaction, ends: Sequence[ItemEnd], *, worker: str, now: int) -> list[ItemState | None]:
    """Note how leases ended; see ``Frontier.settle_items``."""
    of_page = pages.of_items(tx, (one.lease for one in ends if _tells_of_page(one)))
    stored = pages.lock(tx, set(of_page.values()))
    held = {row[0]: _Held(*row[1:]) for row in tx.read(_HOLD, sorted({_held_by(one.lease) for one in ends}))}
    mine = {one.lease.token: one for one in ends if one.lease.token in held}
    failed = [_failed(one, held[token], now) for token, one in mine.items() if isinstance(one, ItemFailed)]
    unchanged = [one for one in mine.values() if isinstance(one, ItemUnchanged)]
    _push(tx, [one for one in mine.values() if isinstance(one, ItemPushed)], now)
    _postpone(tx, [one for one in mine.values() if isinstance(one, ItemPostponed)], now)
    _keep(tx, unchanged, held, now)
    seen = {of_page[one.lease.token] for one in unchanged if one.lease.token in of_page}
    _see_again(tx, {identity: stored[identity] for identity in seen}, now)
    failures.resolve(tx, {_identity(one.lease): now for one in unchanged}, now)
    _fail(tx, failed, of_page, worker, now)
    give_back(tx, Counter((Period.of(one.lease.token), one.lease.source) for one in mine.values() if _is_free(one)))
    states = {one.lease.token: one.state for one in failed}
    states |= {token: _state(one, now) for token, one in mine.items() if not isinstance(one, ItemFailed)}
    return [states.get(one.lease.token) for one in ends]


def _held_by(lease: ItemLease) -> Row:
    return lease.source, lease.item_key, lease.token


def _identity(lease: ItemLease) -> Identity:
    return Identity(lease.source, lease.item_key)


def _tells_of_page(end: ItemEnd) -> bool:
    return isinstance(end, ItemUnchanged) or (isinstance(end, ItemFailed) and end.failure.error_class == _GONE)


def _is_free(end: ItemEnd) -> bool:
    """Tell whether nothing was fetched that counts."""
    return isinstance(end, ItemPostponed) or (isinstance(end, ItemFailed) and not end.failure.counts)


def _state(end: ItemPushed | ItemUnchanged | ItemPostponed, now: int) -> ItemState:
    match end:
        case ItemPushed():
            return ItemState.PUSHED
        case ItemUnchanged():
            return ItemState.FETCHED
        case ItemPostponed():
            return state_at(end.until, now)


def _push(tx: Transaction, ends: Sequence[ItemPushed], now: int) -> None:
    tx.send(_PUSHED, sorted((*_identity(one.lease), clean.text(one.entry), now) for one in ends))


def _postpone(tx: Transaction, ends: Sequence[ItemPostponed], now: int) -> None:
    tx.send(_POSTPONED, sorted((*_identity(one.lease), str(state_at(one.until, now)), one.until) for one in ends))


# --- unchanged ----------------------------------------------------------------------------------------------------


def _keep(tx: Transaction, ends: Sequence[ItemUnchanged], held: Mapping[str, _Held], now: int) -> None:
    rows: list[Row] = []
    for one in ends:
        at = every = None
        if one.recrawl is not None:
            every = next_interval(held[one.lease.token].recrawl_us, one.recrawl, changed=False)
            at = next_fetch(now, every, one.lease.item_key)
        rows.append((*_identity(one.lease), at, every, clean.text(one.etag), clean.text(one.last_modified), now))
    tx.send(_UNCHANGED, sorted(rows, key=lambda row: row[:2]))


def _see_again(tx: Transaction, stored: Mapping[Identity, pages.StoredPage], now: int) -> None:
    """Note that pages are still so, as if they had arrived and been unchanged."""
    earlier = {identity: page for identity, page in stored.items() if page.state.last_seen < now}
    pages.update(tx, earlier, {identity: page.state._replace(last_seen=now) for identity, page in earlier.items()})
    revisions.see_again(tx, earlier.values(), now)


# --- failed -------------------------------------------------------------------------------------------------------


def _failed(end: ItemFailed, held: _Held, now: int) -> _Failed:
    """Decide what becomes of an item: one that is fetched again by itself is not given up, unless it is gone."""
    lease, failure = end.lease, end.failure
    number = held.attempts + failure.counts
    if failure.retry_at is not None:
        return _Failed(lease, failure, number, state_at(failure.retry_at, now), failure.retry_at, number)
    if failure.error_class == _GONE:
        return _Failed(lease, failure, number, ItemState.GONE, None, number)
    if held.recrawl_us is not None and end.recrawls:
        at = next_fetch(now, held.recrawl_us, lease.item_key)
        return _Failed(lease, failure, number, ItemState.SCHEDULED, at, 0)
    return _Failed(lease, failure, number, ItemState.FAILED, None, number)


def _fail(tx: Transaction, failed: Sequence[_Failed], of_page: Mapping[str, Identity], worker: str, now: int) -> None:
    """Note failed fetches: in their items, in the items of pages that are gone, as failures and as attempts."""
    if not failed:
        return
    failed = sorted(failed, key=lambda one: _identity(one.lease))
    tx.send(_FAILED, [_item_row(one, now) for one in failed])
    gone = {of_page[one.lease.token] for one in failed if one.lease.token in of_page}
    tx.send(_PAGE_GONE, [(*identity, now) for identity in sorted(gone)])
    kept = {Identity(row[1], row[2]): row[0] for row in failures.upsert(tx, [_failure_row(one, now) for one in failed])}
    attempts.note(tx, [_attempt(one, kept[_identity(one.lease)], worker, now) for one in failed])


def _item_row(one: _Failed, now: int) -> Row:
    error_class = clean.text(one.failure.error_class, 100)
    state, status = str(one.state), one.failure.status
    return (*_identity(one.lease), state, one.next_fetch_at, one.attempts, error_class, status, now)


def _attempt(one: _Failed, failure_id: int, worker: str, now: int) -> Attempt:
    failure = one.failure
    told = (str(one.state), failure.error_class, failure.message)
    return Attempt("fetch", *_identity(one.lease), failure_id, now, worker, one.number, *told)


def _failure_row(one: _Failed, now: int) -> Row:
    lease, failure = one.lease, one.failure
    envelope = Payload(
        source=lease.source, body=b"", item=lease.item, url=lease.url, status=failure.status, depth=lease.depth,
        parent=lease.parent,
    )  # fmt: skip
    return (
        "fetch",
        *_identity(lease),
        *failures.envelope(envelope),
        None,
        None,
        clean.text(failure.error_class, 100),
        clean.text(failure.message, clean.MESSAGE_CHARS),
        None,
        clean.text(failure.fingerprint, 100),
        failures.NO_PARSER,
        0,
        "dead" if failure.retry_at is None else "waiting",
        failure.retry_at,
        one.number,
        now,
        now,
        now,
        None,
        None,
    )
