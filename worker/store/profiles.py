"""Rows of ``source_profile``: the version of each source's profile, and what a new one sets going."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from worker.store import attempts, sources_state
from worker.store.attempts import Attempt
from worker.store.driver import Transaction
from worker.store.failures import OPEN

_NOTE: Final = """INSERT INTO source_profile (source, version, since) VALUES (?, ?, ?)
  ON CONFLICT (source) DO UPDATE SET version = excluded.version, since = excluded.since
  WHERE source_profile.version <> excluded.version RETURNING source"""
# The attempts that were made count: what fails again has its last chance behind it, unless it still had others.
_DUE: Final = f"""UPDATE failure SET state = 'waiting', next_attempt_at = ?
  WHERE source = ? AND kind = 'payload' AND state IN {OPEN} RETURNING item_key, id, attempts"""  # noqa: S608 (constant)
_STATE: Final = "SELECT 1 FROM source_state WHERE source = ? AND state = 'paused' AND changed_by = ?"
_REASON: Final = "its profile is another one"


class NewProfile(NamedTuple):
    """A source whose profile reads pages in another way than the last one: what is tried again because of that."""

    source: str
    failures: int
    resumed: bool


def note(
    tx: Transaction, versions: Mapping[str, str], *, parser_versions: Mapping[str, int], now: int
) -> list[NewProfile]:
    """Note the profiles' versions; where one is new, make open failures due and resume what the ceiling paused.

    Only a source that has a profile is looked at: workers with other files may share the store.
    """
    fresh = [source for source, version in sorted(versions.items()) if tx.run(_NOTE, source, version, now)]
    return [_tried_again(tx, source, parser_versions, now) for source in fresh]


def _tried_again(tx: Transaction, source: str, parser_versions: Mapping[str, int], now: int) -> NewProfile:
    rows = tx.run(_DUE, now, source)
    attempts.note(
        tx,
        (
            Attempt("replay", source, item_key, failure_id, now, sources_state.UPKEEP, made, "waiting", message=_REASON)
            for item_key, failure_id, made in rows
        ),
    )
    paused = tx.run(_STATE, source, sources_state.CEILING)
    change = sources_state.SourceChange(_REASON, sources_state.UPKEEP, now, parser_versions)
    return NewProfile(source, len(rows), bool(paused) and sources_state.resume(tx, source, change, ""))
