"""Rows of ``source_state``: which sources are paused, by whom and why, and what their failures are counted from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

from tasks.ports import Ceiling, Paused
from tasks.steps.policy import reached
from worker.store import clean
from worker.store.deliveries import HOUR_US
from worker.store.driver import Transaction

NOT_PAUSED: Final = "source NOT IN (SELECT source FROM source_state WHERE state = 'paused')"
CEILING: Final = "ceiling"
UPKEEP: Final = "upkeep"

_PAUSE: Final = """INSERT INTO source_state (source, state, since, reason, changed_by, parser_versions,
    baseline_hour, baseline_total, baseline_failed) VALUES (?, 'paused', ?, ?, ?, ?, 0, 0, 0)
  ON CONFLICT (source) DO UPDATE SET state = 'paused', since = excluded.since, reason = excluded.reason,
    changed_by = excluded.changed_by, parser_versions = excluded.parser_versions
  WHERE source_state.state <> 'paused' RETURNING source"""
_RESUME: Final = """UPDATE source_state SET state = 'active', since = ?, reason = ?, changed_by = ?, baseline_hour = ?,
  baseline_total = ?, baseline_failed = ? WHERE source = ? AND state = 'paused' RETURNING source"""
# Sums begin with the epoch in their key, and there are few epochs: upkeep notes each of them.
_SUMS: Final = """SELECT coalesce(sum(n), 0), coalesce(sum(CASE WHEN outcome = 'failed' THEN n ELSE 0 END), 0)
  FROM outcome_count
  WHERE epoch IN (SELECT epoch FROM ledger_epoch UNION SELECT ?) AND source = ? AND hour >= ? AND hour <= ?"""
_SINK: Final = "UPDATE source_state SET baseline_failed = baseline_failed - ? WHERE source = ? AND baseline_hour = ?"
_ACTION: Final = "INSERT INTO operator_action (at, action, filter, count, note, who) VALUES (?, ?, ?, 1, ?, ?)"


class SourceChange(NamedTuple):
    """A change of a source's state: why, by whom, when, with which parsers."""

    reason: str
    by: str
    now: int
    versions: Mapping[str, int]
    note: str = ""


class Sums(NamedTuple):
    """Deliveries of some hours."""

    total: int
    failed: int


def paused(tx: Transaction) -> dict[str, str]:
    """Return the reasons of the paused sources by name."""
    rows = tx.run("SELECT source, reason FROM source_state WHERE state = 'paused' ORDER BY source")
    return {row[0]: row[1] for row in rows}


def states(tx: Transaction) -> dict[str, dict[str, Any]]:
    """Return all that is known of the state of each source that was ever paused."""
    rows = tx.run("SELECT source, state, since, reason, changed_by FROM source_state ORDER BY source")
    return {
        row[0]: {"state": row[1], "since": clean.rfc3339(row[2]), "reason": row[3], "changed_by": row[4]}
        for row in rows
    }


def pause(tx: Transaction, source: str, change: SourceChange) -> bool:
    """Pause a source; return whether it was not paused before."""
    name, reason = clean.key(source, clean.SOURCE_BYTES), clean.text(change.reason, clean.MESSAGE_CHARS)
    by, versions = clean.text(change.by, 100), clean.to_json(dict(change.versions))
    if not tx.run(_PAUSE, name, change.now, reason, by, versions):
        return False
    _act(tx, "pause", name, change)
    return True


def resume(tx: Transaction, source: str, change: SourceChange, epoch: str) -> bool:
    """Resume a source; its failures count from now on. Return whether it was paused."""
    name, hour = clean.key(source, clean.SOURCE_BYTES), change.now // HOUR_US
    now = _sums(tx, epoch, name, hour, hour)
    reason, by = clean.text(change.reason, clean.MESSAGE_CHARS), clean.text(change.by, 100)
    if not tx.run(_RESUME, change.now, reason, by, hour, now.total, now.failed, name):
        return False
    _act(tx, "resume", name, change)
    return True


def became_pages(tx: Transaction, source: str, failed_at: Sequence[int]) -> None:
    """Forget failures of before the last resume in what the source's failures are counted from: they sink the sums."""
    for since, hour in tx.run("SELECT since, baseline_hour FROM source_state WHERE source = ?", source):
        count = sum(at < since and at // HOUR_US == hour for at in failed_at)
        if count:
            tx.run(_SINK, count, source, hour)


def past_ceiling(tx: Transaction, sources: Iterable[str], ceiling: Ceiling, *, epoch: str, now: int) -> list[Paused]:
    """Return those of the sources whose failures since the last resume are past the ceiling, with the reason."""
    found: list[Paused] = []
    for source in sorted({clean.key(source, clean.SOURCE_BYTES) for source in sources}):
        sums = _since_resume(tx, source, epoch, now // HOUR_US)
        if sums is not None and reached(sums.total, sums.failed, share=ceiling.share, least=ceiling.least):
            percent = 100 * sums.failed // sums.total
            reason = f"{sums.failed:,} of its last {sums.total:,} pages failed ({percent} %)"
            found.append(Paused(source, reason))
    return found


def resume_newer(tx: Transaction, versions: Mapping[str, int], *, epoch: str, now: int) -> list[Paused]:
    """Resume what the ceiling has paused under older parsers; return which, and why.

    Not what a person has paused, whose reasons a parser does not know.
    """
    resumed: list[Paused] = []
    for source, known in tx.run(
        "SELECT source, parser_versions FROM source_state WHERE state = 'paused' AND changed_by = ?", CEILING
    ):
        newer = _newer(orjson.loads(known), versions)
        reason = f"{newer} is newer than when it was paused"
        if newer and resume(tx, source, SourceChange(reason, UPKEEP, now, versions), epoch):
            resumed.append(Paused(source, reason))
    return resumed


def _newer(known: Mapping[str, int], versions: Mapping[str, int]) -> str:
    found = [f"parser {name} {version}" for name, version in sorted(versions.items()) if version > known.get(name, 0)]
    return ", ".join(found)


def _since_resume(tx: Transaction, source: str, epoch: str, hour: int) -> Sums | None:
    """Count this hour and the last, but nothing from before the last resume; None while it is paused."""
    rows = tx.run(
        "SELECT state, baseline_hour, baseline_total, baseline_failed FROM source_state WHERE source = ?", source
    )
    state, base_hour, total, failed = rows[0] if rows else ("active", 0, 0, 0)
    if state == "paused":
        return None
    first = max(hour - 1, base_hour)
    sums = _sums(tx, epoch, source, first, hour)
    if first != base_hour:
        return sums
    return Sums(max(0, sums.total - total), max(0, sums.failed - failed))


def _sums(tx: Transaction, epoch: str, source: str, first: int, last: int) -> Sums:
    row = tx.run(_SUMS, clean.text(epoch), source, first, last)[0]
    return Sums(int(row[0]), int(row[1]))


def _act(tx: Transaction, action: str, source: str, change: SourceChange) -> None:
    note = change.note or change.reason
    told = clean.to_json({"source": source})
    tx.run(_ACTION, change.now, action, told, clean.text(note, clean.MESSAGE_CHARS), clean.text(change.by, 100))
