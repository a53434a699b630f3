"""Failures tried again: claimed by lease, and settled."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tasks.errors import StoreConflict
from tasks.ports import FailureLease
from tasks.steps.page import Outcome, RetryArrival
from worker.store import attempts, deliveries, due, failures, sources_state
from worker.store.attempts import Attempt
from worker.store.batch import Broken, Effect, EntryKey, Packed, Sighting, observed
from worker.store.commit import apply
from worker.store.deliveries import HOUR_US, shard_of, sighting_of
from worker.store.driver import Row, Transaction, statement
from worker.store.sources_state import NOT_PAUSED
from worker.store.zstd import unpack

MOST_CRASHES: Final = 20  # attempts of a failure after which a process that died with it is taken as its doing
# A lease that is still in the row never came back; whatever settles a failure takes it away.
_CRASHED: Final = f"attempts >= {MOST_CRASHES} AND lease_token IS NOT NULL"

_DUE: Final = f"""SELECT id FROM failure {{by failure_due}}
  WHERE state = 'waiting' AND kind = 'payload' AND next_attempt_at <= ?
  AND coalesce(lease_until, 0) <= ? AND NOT ({_CRASHED}) AND {NOT_PAUSED}
  ORDER BY next_attempt_at LIMIT ? {{lock failure SKIP LOCKED}}"""  # noqa: S608 (constant)
_OLDER: Final = f"""SELECT id FROM failure WHERE state IN {failures.OPEN} AND kind = 'payload' AND parser = ?
  AND parser_version < ? AND coalesce(lease_until, 0) <= ? AND {NOT_PAUSED}
  ORDER BY parser_version LIMIT ? {{lock failure SKIP LOCKED}}"""  # noqa: S608 (constants)
# The attempt counts from here on, the parser version only when the failure is settled: whoever kills this process
# must not take the newer parser's chance from the page. Where no process ever comes back, that must end all the same.
_LEASE: Final = statement(
    f"""UPDATE failure SET attempts = attempts + 1, lease_token = r.token, lease_until = r.until,
      parser_version = CASE WHEN {_CRASHED} AND parser_version < r.version THEN r.version ELSE parser_version END
    FROM {{rows}} WHERE failure.id = r.id""",  # noqa: S608 (constants)
    id="int",
    token="text",  # noqa: S106 (a type)
    until="int",
    version="int",
)
_CLAIMED: Final = statement(
    """SELECT failure.id, source, item, url, fetched_at, content_type, status, depth, parent, extra,
      failure.payload_hash, payload.bytes, observed_at, error_class, attempts, lease_token, lease_until
    FROM {rows} JOIN failure ON failure.id = r.id LEFT JOIN payload ON payload.payload_hash = failure.payload_hash""",
    id="int",
)
_AGAIN: Final = statement(
    """UPDATE failure SET error_class = r.error_class, message = r.message, traceback = r.traceback,
      fingerprint = r.fingerprint, parser = r.parser, parser_version = r.parser_version,
      state = CASE WHEN r.retry_at IS NULL THEN 'dead' ELSE 'waiting' END, next_attempt_at = r.retry_at,
      last_failed_at = r.now, lease_until = NULL, lease_token = NULL
    FROM {rows} WHERE failure.id = r.id AND failure.lease_token = r.token AND failure.state IN ('waiting', 'dead')""",
    error_class="text",
    message="text",
    traceback="text",
    fingerprint="text",
    parser="text",
    parser_version="int",
    retry_at="int",
    now="int",
    id="int",
    token="text",  # noqa: S106 (a type)
)
_RESOLVE: Final = f"""UPDATE failure SET state = 'resolved', resolved_at = ?, resolved_by = 'retry',
  next_attempt_at = NULL, lease_until = NULL, lease_token = NULL
  WHERE id = ? AND lease_token = ? AND state IN {failures.OPEN} RETURNING id"""  # noqa: S608 (constants)
_DELIVERIES: Final = """SELECT epoch, ms, seq, source, handled_at, worker, observed_at FROM delivery
  WHERE failure_id = ? AND payload_hash = ? AND outcome = 'failed' ORDER BY observed_at, epoch, ms, seq"""
_LAST_ENTRY: Final = """SELECT ms, seq FROM delivery WHERE failure_id = ? AND payload_hash = ?
  ORDER BY handled_at DESC, ms DESC, seq DESC LIMIT 1"""
_SETTLE: Final = statement(
    """UPDATE delivery SET outcome = r.outcome, page_id = r.page_id, sighting = r.sighting, source = r.source,
      item_key = r.item_key
    FROM {rows} WHERE delivery.epoch = r.epoch AND delivery.ms = r.ms AND delivery.seq = r.seq""",
    epoch="text",
    ms="int",
    seq="int",
    outcome="text",
    page_id="int",
    sighting="int",
    source="text",
    item_key="text",
)


class LeaseLostError(Exception):
    """Somebody else has taken the row over; nothing of this transaction may stay."""


@dataclass(frozen=True, slots=True)
class _Delivery:
    """A delivery that ended in the failure, with the bytes that are now parsed."""

    key: EntryKey
    source: str
    handled_at: int
    shard: int
    observed_at: int


def claim(
    tx: Transaction, *, limit: int, lease_us: int, now: int, parser_versions: Mapping[str, int]
) -> list[FailureLease]:
    """Lease failures that are due; see ``Store.claim_failures``."""
    versions = {row[0]: 0 for row in tx.run(_DUE, now, now, limit)}
    for parser, version in sorted(parser_versions.items()):
        if len(versions) < limit:
            found = [row[0] for row in tx.run(_OLDER, parser, version, now, limit)]
            fresh = [one for one in found if one not in versions][: limit - len(versions)]
            versions |= dict.fromkeys(fresh, version)
    until = now + lease_us
    tx.write(_LEASE, [(one, secrets.token_hex(8), until, version) for one, version in sorted(versions.items())])
    rows = tx.read(_CLAIMED, [(one,) for one in versions])
    return [_lease(row, _last_entry(tx, row[0], row[10])) for row in rows]


def _last_entry(tx: Transaction, failure_id: int, payload_hash: str) -> str | None:
    rows = tx.run(_LAST_ENTRY, failure_id, payload_hash)
    return f"{rows[0][0]}-{rows[0][1]}" if rows else None


def _lease(row: Row, entry: str | None) -> FailureLease:
    body = b"" if row[11] is None else unpack(row[11])
    return FailureLease(
        id=row[0],
        payload=failures.payload_of(row[1], row[2:10], body),
        payload_hash=row[10],
        observed_at=row[12],
        error_class=row[13],
        attempts=row[14],
        token=row[15],
        lease_until=row[16],
        entry=entry,
    )


def release(tx: Transaction, lease: FailureLease) -> None:
    """Give a leased failure back; see ``Store.release_failure``."""
    tx.run(
        """UPDATE failure SET attempts = attempts - 1, lease_until = NULL, lease_token = NULL
        WHERE id = ? AND lease_token = ?""",
        lease.id,
        lease.token,
    )


def settle(
    tx: Transaction, retry: RetryArrival, packed: Sequence[Packed], *, worker: str, near: bool, now: int
) -> Outcome:
    """Settle a leased failure; see ``Store.commit_retry``. Raises ``LeaseLostError``, ``StoreConflict``."""
    what = observed(retry.payload, retry.payload_hash, retry.result, retry.observed_at)
    open_rows = tx.run(
        f"SELECT source, item_key, attempts FROM failure WHERE id = ? AND lease_token = ? AND state IN {failures.OPEN}",  # noqa: S608 (constants)
        retry.failure_id,
        retry.lease_token,
    )
    if not open_rows:
        raise LeaseLostError
    source, item_key, made = open_rows[0]
    told = Attempt("retry", source, item_key, retry.failure_id, now, worker, made, "", entry=retry.entry)
    if isinstance(what, Broken):
        return _failed_again(tx, retry, what, told)
    outcome = _succeeded(tx, retry, what, packed, near=near, now=now)
    attempts.note(tx, [told._replace(outcome=str(outcome))])
    return outcome


def _succeeded(
    tx: Transaction, retry: RetryArrival, what: Sighting, packed: Sequence[Packed], *, near: bool, now: int
) -> Outcome:
    """Apply the page once for each delivery that brought these bytes, and give each its outcome."""
    found = _deliveries(tx, retry)
    times = [one.observed_at for one in found] or [what.observed_at]
    effects = apply(tx, [what._replace(observed_at=time) for time in times], packed, now, near=near).effects
    if not tx.run(_RESOLVE, now, retry.failure_id, retry.lease_token):
        raise LeaseLostError
    if len(_deliveries(tx, retry)) > len(found):
        raise StoreConflict("the same bytes arrived once more while they were tried again")
    _move(tx, what, list(zip(found, effects, strict=False)))
    return effects[0].outcome


def _deliveries(tx: Transaction, retry: RetryArrival) -> list[_Delivery]:
    return [
        _Delivery(EntryKey(*row[:3]), row[3], row[4], shard_of(row[5]), row[6])
        for row in tx.run(_DELIVERIES, retry.failure_id, retry.payload_hash)
    ]


def _move(tx: Transaction, what: Sighting, moved: Sequence[tuple[_Delivery, Effect]]) -> None:
    """Give deliveries their new outcomes, and move them from one sum to the other."""
    counts: Counter[tuple[str, str, int, str, int]] = Counter()
    rows: list[Row] = []
    for one, effect in moved:
        rows.append((*one.key, str(effect.outcome), effect.page_id, sighting_of(what.content_hash), *what.identity))
        hour = one.handled_at // HOUR_US
        counts[one.key.epoch, one.source, hour, str(Outcome.FAILED), one.shard] -= 1
        counts[one.key.epoch, what.identity.source, hour, str(effect.outcome), one.shard] += 1
    tx.write(_SETTLE, sorted(rows))
    deliveries.add(tx, counts)
    sources_state.became_pages(tx, what.identity.source, [one.handled_at for one, _ in moved])


def _failed_again(tx: Transaction, retry: RetryArrival, what: Broken, told: Attempt) -> Outcome:
    result, now = what.result, told.at
    if retry.refetch_at is not None and retry.payload.url is not None:
        due.refetch(tx, what, retry.refetch_at, now)
    row = (*failures.error_columns(what), result.retry_at, now, retry.failure_id, retry.lease_token)
    if not tx.write(_AGAIN, [row]):
        raise LeaseLostError
    outcome = "dead" if result.retry_at is None else "waiting"
    attempts.note(tx, [told._replace(outcome=outcome, error_class=result.error_class, message=result.message)])
    return Outcome.FAILED


def expire(tx: Transaction, now: int) -> int:
    """Give up failures that take their process down again and again, as a lease that never came back tells."""
    rows = tx.run(
        f"""UPDATE failure SET state = 'dead', next_attempt_at = NULL, lease_until = NULL, lease_token = NULL
        WHERE state = 'waiting' AND kind = 'payload' AND coalesce(lease_until, 0) <= ? AND {_CRASHED}
        RETURNING source, item_key, id, attempts""",  # noqa: S608 (constants)
        now,
    )
    why = "the process that tried it never came back"
    attempts.note(
        tx,
        (
            Attempt("retry", source, item_key, failure_id, now, "upkeep", made, "dead", "Poison", why)
            for source, item_key, failure_id, made in rows
        ),
    )
    return len(rows)
