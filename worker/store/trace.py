"""Everything that happened to one identity, in order of time: what ``penstock trace`` tells.

Read by index from all that is kept; deliveries and attempts beyond their retention are no longer there.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from tasks.steps.canonical import bounded_key
from tasks.steps.dedupe import Identity
from worker.store import clean, sources_state, told
from worker.store.driver import Transaction, statement

MOST_STEPS: Final = 2000  # of each kind, the newest: a page may be seen every minute for years
MOST_CHILDREN: Final = 20

_ITEM: Final = (
    "item, url, state, depth, discovered_by, discovered_at, next_fetch_at, lease_until, attempts, last_error, "
    "last_status, pushed_entry, pushed_at, bound, checked_at, gone_at"
)
_PAGE: Final = "id, url, first_seen, last_seen, content_hash, revisions, parent"
_FAILURE: Final = (
    "id, kind, state, error_class, message, fingerprint, parser, parser_version, payload_hash, size, attempts, "
    "next_attempt_at, lease_until, first_failed_at, last_failed_at, resolved_at, resolved_by"
)
_DELIVERY: Final = (
    "epoch, ms, seq, serial, outcome, payload_hash, failure_id, error_class, worker, attempt, observed_at, handled_at"
)
_OF_PAGE: Final = f"SELECT {_DELIVERY} FROM delivery WHERE page_id = ? ORDER BY observed_at DESC LIMIT {MOST_STEPS}"  # noqa: S608 (constants)
_OF_FAILURE: Final = f"SELECT {_DELIVERY} FROM delivery WHERE failure_id = ? LIMIT {MOST_STEPS}"  # noqa: S608 (constants)
_ATTEMPTS: Final = f"""SELECT at, kind, worker, number, outcome, error_class, message, entry, failure_id FROM attempt
  WHERE source = ? AND item_key = ? ORDER BY at DESC, id DESC LIMIT {MOST_STEPS}"""  # noqa: S608 (constant)
_REVISION: Final = "first_seen, content_hash, payload_hash, parser, parser_version, title"
_REVISIONS: Final = f"""SELECT {_REVISION} FROM revision
  WHERE page_id = ? ORDER BY first_seen, content_hash LIMIT {MOST_STEPS}"""  # noqa: S608 (constant)
# The items that a page names are found by its lists of related ones: there is no index by parent.
_RELATED: Final = f"SELECT packed, fields, related FROM revision WHERE page_id = ? LIMIT {MOST_STEPS}"  # noqa: S608 (constant)
_STATE_OF: Final = statement(
    """SELECT item.item_key, item.state, item.discovered_by FROM {rows}
    JOIN item ON item.source = r.source AND item.item_key = r.item_key""",
    source="text",
    item_key="text",
)

_STEP_OF: Final = {"retry": "retried", "fetch": "fetch_failed", "replay": "replayed", "drop": "dropped"}
_TIMES: Final = ("next_attempt_at", "lease_until", "first_failed_at", "last_failed_at", "resolved_at")

Fields = dict[str, Any]
Steps = list[tuple[int, int, dict[str, Any]]]  # when, in which order within one instant, what


def trace(tx: Transaction, of: Identity) -> dict[str, Any]:
    """Return steps, parent, children and the state now of one identity; the steps' times are RFC 3339."""
    item = _one(tx, _ITEM, "item", of)
    page = _one(tx, _PAGE, "page", of)
    failures = _all(tx, _FAILURE, "failure", of)
    deliveries = _deliveries(tx, page, failures)
    steps = _item_steps(of, item) + _delivery_steps(deliveries) + _attempt_steps(tx, of)
    steps += _revision_steps(tx, page, _came(deliveries, failures)) + _resolved_steps(failures)
    return {
        "identity": "/".join(of),
        "steps": [{"at": clean.rfc3339(at)} | told for at, _, told in sorted(steps, key=lambda step: step[:2])],
        "parent": _parent(of, item, page),
        "children": _children(tx, of, page),
        "now": {
            "source": sources_state.states(tx).get(of.source, {"state": "active"}),
            "page": page and _page_now(page),
            "item": item and _item_now(item),
            "failures": [_failure_now(one) for one in failures],
        },
    }


def _all(tx: Transaction, names: str, table: str, of: Identity) -> list[Fields]:
    rows = tx.run(f"SELECT {names} FROM {table} WHERE source = ? AND item_key = ?", *of)  # noqa: S608 (constants)
    return [dict(zip(names.split(", "), row, strict=True)) for row in rows]


def _one(tx: Transaction, names: str, table: str, of: Identity) -> Fields | None:
    return next(iter(_all(tx, names, table, of)), None)


# --- steps --------------------------------------------------------------------------------------------------------


def _item_steps(of: Identity, item: Fields | None) -> Steps:
    steps: Steps = []
    if item and item["discovered_by"]:
        by = f"{of.source}/{item['discovered_by']}"
        steps.append((item["discovered_at"], 0, {"step": "named", "by": by, "depth": item["depth"]}))
    if item and item["pushed_at"]:
        steps.append((item["pushed_at"], 2, {"step": "fetched", "entry": item["pushed_entry"], "url": item["url"]}))
    return steps


def _deliveries(tx: Transaction, page: Fields | None, failures: list[Fields]) -> list[Fields]:
    rows = tx.run(_OF_PAGE, page["id"]) if page else []
    for failure in failures:
        rows += tx.run(_OF_FAILURE, failure["id"])
    unique = {row[:3]: row for row in rows}  # one that was tried again belongs to both
    return [dict(zip(_DELIVERY.split(", "), row, strict=True)) for row in unique.values()]


def _delivery_steps(deliveries: list[Fields]) -> Steps:
    steps: Steps = []
    for one in deliveries:
        entry = f"{one['ms']}-{one['seq']}"
        steps.append((one["ms"] * 1000, 3, {"step": "pushed", "entry": entry, "epoch": one["epoch"]}))
        told = {
            "step": "delivered",
            "entry": entry,
            "worker": one["worker"],
            "attempt": one["attempt"],
            "outcome": "failed" if one["error_class"] else one["outcome"],
            "outcome_now": one["outcome"],  # another one, where a retry has made a page of it
            "error_class": one["error_class"],
            "failure": one["failure_id"],
            "payload_hash": one["payload_hash"],
        }
        steps.append((one["handled_at"], 4, told))
    return steps


def _came(deliveries: list[Fields], failures: list[Fields]) -> dict[int, int]:
    """Return when the page was stored as it was at each time of observation."""
    resolved = {one["id"]: one["resolved_at"] for one in failures}
    came: dict[int, int] = {}
    for one in deliveries:
        if one["outcome"] != "failed":
            later = resolved.get(one["failure_id"]) if one["error_class"] else None
            came[one["observed_at"]] = later or one["handled_at"]
    return came


def _attempt_steps(tx: Transaction, of: Identity) -> Steps:
    steps: Steps = []
    for at, kind, worker, number, outcome, error_class, message, entry, failure_id in tx.run(_ATTEMPTS, *of):
        told = {"step": _STEP_OF[kind], "failure": failure_id, "outcome": outcome}
        if kind in {"replay", "drop"}:
            told |= {"who": worker, "note": message}
        else:
            told |= {"worker": worker, "number": number, "error_class": error_class, "message": message}
            told |= {"entry": entry} if entry else {}
        steps.append((at, 5, told))
    return steps


def _revision_steps(tx: Transaction, page: Fields | None, came: dict[int, int]) -> Steps:
    steps: Steps = []
    for number, row in enumerate(tx.run(_REVISIONS, page["id"]) if page else [], start=1):
        one = dict(zip(_REVISION.split(", "), row, strict=True))
        observed = one["first_seen"]
        told = {"step": "revision", "number": number, **one, "first_seen": clean.rfc3339(observed)}
        steps.append((came.get(observed, observed), 6, told))
    return steps


def _resolved_steps(failures: list[Fields]) -> Steps:
    return [
        (one["resolved_at"], 7, {"step": "resolved", "failure": one["id"], "by": one["resolved_by"]})
        for one in failures
        if one["state"] == "resolved" and one["resolved_at"] is not None
    ]


# --- around it ----------------------------------------------------------------------------------------------------


def _parent(of: Identity, item: Fields | None, page: Fields | None) -> str | None:
    by = (item and item["discovered_by"]) or (page and page["parent"])
    return f"{of.source}/{by}" if by else None


def _children(tx: Transaction, of: Identity, page: Fields | None) -> dict[str, Any]:
    """Count the items that the page's revisions name, by state, and show the first."""
    named: dict[str, None] = {}
    for row in tx.run(_RELATED, page["id"]) if page else []:
        named.update((clean.key(bounded_key(one["id"])), None) for one in told.unpacked(*row)["related"])
    found = {row[0]: row[1:] for row in tx.read(_STATE_OF, [(of.source, key) for key in sorted(named)])}
    listed = [
        {"identity": f"{of.source}/{key}", "state": found[key][0], "named_first_here": found[key][1] == of.item_key}
        for key in named
        if key in found
    ]
    states = Counter(one["state"] for one in listed)
    return {"count": len(listed), "states": dict(sorted(states.items())), "first": listed[:MOST_CHILDREN]}


def _page_now(page: Fields) -> dict[str, Any]:
    times = {name: clean.rfc3339(page[name]) for name in ("first_seen", "last_seen")}
    return {name: page[name] for name in ("url", "content_hash", "revisions")} | times


def _item_now(item: Fields) -> dict[str, Any]:
    plain = ("item", "url", "state", "depth", "attempts", "last_error", "last_status", "pushed_entry", "bound")
    times = ("next_fetch_at", "lease_until", "checked_at", "gone_at")
    return {name: item[name] for name in plain} | {name: clean.rfc3339(item[name]) for name in times}


def _failure_now(failure: Fields) -> dict[str, Any]:
    return {name: clean.rfc3339(value) if name in _TIMES else value for name, value in failure.items()}
