"""Failures as the operator sees them: grouped, one by one, tried again, given up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple

from tasks.errors import UsageError
from worker.store import attempts, clean, payloads
from worker.store.attempts import Attempt
from worker.store.driver import Row, Transaction, statement
from worker.store.failures import NO_PARSER, OPEN
from worker.store.filters import FailureFilter

_SINGLE: Final = (
    "id, kind, source, item_key, item, url, error_class, fingerprint, state, attempts, next_attempt_at, size, "
    "observed_at, first_failed_at, last_failed_at, resolved_at, resolved_by, message, parser, "
    "parser_version, payload_hash"
)
_TIMES: Final = ("next_attempt_at", "observed_at", "first_failed_at", "last_failed_at", "resolved_at")
_REPLAY: Final = statement(
    """UPDATE failure SET state = 'waiting', next_attempt_at = r.now, attempts = 0, lease_until = NULL,
      lease_token = NULL, resolved_at = NULL, resolved_by = NULL
    FROM {rows} WHERE failure.id = r.id""",
    id="int",
    now="int",
)
_DROP: Final = statement(
    """UPDATE failure SET state = 'dropped', next_attempt_at = NULL, lease_until = NULL, lease_token = NULL,
      resolved_at = r.now, resolved_by = 'operator'
    FROM {rows} WHERE failure.id = r.id""",
    id="int",
    now="int",
)
_FETCH_NOW: Final = statement(
    """UPDATE item SET state = 'due', next_fetch_at = r.now, attempts = 0, lease_until = NULL, lease_token = NULL
    FROM {rows} WHERE item.source = r.source AND item.item_key = r.item_key AND item.state <> 'fetched'""",
    source="text",
    item_key="text",
    now="int",
)
_IS_OPEN: Final = f"AND state IN {OPEN}"
_DROPPED_TOO: Final = f"""AND (state IN {OPEN} OR state = 'dropped' AND NOT EXISTS (
  SELECT 1 FROM failure AS other WHERE other.source = failure.source AND other.item_key = failure.item_key
    AND other.kind = failure.kind
    AND (other.state IN {OPEN} OR other.state = 'dropped' AND other.id > failure.id)))"""  # noqa: S608 (constants)


class Order(NamedTuple):
    """How an operator's action is to be done."""

    limit: int | None
    dry_run: bool
    now: int
    note: str
    who: str


def groups(tx: Transaction, where: FailureFilter) -> list[dict[str, Any]]:
    """Return failures grouped by fingerprint, class, source and state; ``sample`` is the id of the last one."""
    condition, parameters = where.where()
    rows = tx.run(
        f"""SELECT grouped.fingerprint, grouped.error_class, grouped.source, n, grouped.state, first_at, last_at,
          sample.message, sample.id
        FROM (SELECT fingerprint, error_class, source, state, count(*) AS n, min(first_failed_at) AS first_at,
            max(last_failed_at) AS last_at, max(id) AS sample_id
          FROM failure WHERE {condition} GROUP BY fingerprint, error_class, source, state) AS grouped
        JOIN failure AS sample ON sample.id = grouped.sample_id
        ORDER BY n DESC, last_at DESC, sample.id""",  # noqa: S608 (conditions are constants, values are bound)
        *parameters,
    )
    names = "fingerprint, error_class, source, count, state, first_failed_at, last_failed_at, message, sample"
    return [_named(names, row) for row in rows]


def singles(tx: Transaction, where: FailureFilter, limit: int | None = None) -> list[dict[str, Any]]:
    """Return single failures, oldest first."""
    condition, parameters = where.where()
    some = "" if limit is None else f"LIMIT {int(limit)}"
    rows = tx.run(f"SELECT {_SINGLE} FROM failure WHERE {condition} ORDER BY id {some}", *parameters)  # noqa: S608 (as above)
    return [_single(row) for row in rows]


def payload(tx: Transaction, failure_id: int) -> bytes:
    """Return the bytes of a failure. Raises ``UsageError`` if there are none."""
    rows = tx.run("SELECT payload_hash FROM failure WHERE id = ?", failure_id)
    if not rows:
        raise UsageError(f"there is no failure {failure_id}")
    if rows[0][0] is None:
        raise UsageError(f"failure {failure_id} is of a fetch: there was no page")
    return payloads.read(tx, rows[0][0])


def replay(tx: Transaction, where: FailureFilter, order: Order) -> int:
    """Make failures due now: a payload's bytes are parsed again, a failed fetch's item is fetched again.

    Resolved ones are left as they are, and dropped ones too, unless the filter names them by state or id and nothing
    else of their identity is open.
    """
    rows = _matching(tx, where, order.limit, _DROPPED_TOO if where.state == "dropped" or where.ids else _IS_OPEN)
    if not order.dry_run:
        fetches = sorted((source, item_key) for _, kind, source, item_key in rows if kind == "fetch")
        tx.write(_FETCH_NOW, [(*identity, order.now) for identity in fetches])
        tx.write(_REPLAY, [(row[0], order.now) for row in rows])
        _told(tx, "replay", rows, order)
        _note(tx, "replay", where, order, len(rows))
    return len(rows)


def drop(tx: Transaction, where: FailureFilter, order: Order) -> int:
    """Give open failures up; they stay on record with their bytes."""
    rows = _matching(tx, where, order.limit, _IS_OPEN)
    if not order.dry_run:
        tx.write(_DROP, [(row[0], order.now) for row in rows])
        _told(tx, "drop", rows, order)
        _note(tx, "drop", where, order, len(rows))
    return len(rows)


def _matching(tx: Transaction, where: FailureFilter, limit: int | None, also: str) -> list[Row]:
    condition, parameters = where.where()
    some = "" if limit is None else f"LIMIT {int(limit)}"
    return tx.run(
        f"SELECT id, kind, source, item_key FROM failure WHERE {condition} {also} ORDER BY id {some}",  # noqa: S608 (conditions are constants, values are bound)
        *parameters,
    )


def _told(tx: Transaction, action: Literal["replay", "drop"], rows: Sequence[Row], order: Order) -> None:
    """Note the order with each failure that it hit, so that a trace can tell."""
    outcome = {"replay": "waiting", "drop": "dropped"}[action]
    attempts.note(
        tx,
        (
            Attempt(action, source, item_key, failure_id, order.now, order.who, 0, outcome, message=order.note or None)
            for failure_id, _, source, item_key in rows
        ),
    )


def _note(tx: Transaction, action: str, where: FailureFilter, order: Order, count: int) -> None:
    tx.run(
        "INSERT INTO operator_action (at, action, filter, count, note, who) VALUES (?, ?, ?, ?, ?, ?)",
        order.now,
        action,
        clean.to_json(where.told() | ({} if order.limit is None else {"limit": order.limit})),
        count,
        clean.text(order.note, clean.MESSAGE_CHARS),
        clean.text(order.who, 100),
    )


def _single(row: Row) -> dict[str, Any]:
    found = _named(_SINGLE, row)
    found["parser"] = None if found["parser"] == NO_PARSER else found["parser"]
    return found


def _named(names: str, row: Row) -> dict[str, Any]:
    found = dict(zip(names.split(", "), row, strict=True))
    return found | {name: clean.rfc3339(found[name]) for name in _TIMES if name in found}
