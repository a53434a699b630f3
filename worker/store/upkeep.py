"""What has to be done now and then."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from worker.store import clean, failures, frontier, retry
from worker.store.driver import Transaction

_NOTE: Final = """INSERT INTO ledger_epoch (epoch, first_seen, last_seen, accepted) VALUES (?, ?, ?, ?)
  ON CONFLICT (epoch) DO UPDATE SET last_seen = excluded.last_seen,
    accepted = CASE WHEN excluded.accepted > ledger_epoch.accepted THEN excluded.accepted
      ELSE ledger_epoch.accepted END"""


def upkeep(tx: Transaction, *, epoch: str, accepted: int, now: int) -> Mapping[str, int]:
    """Do one round; see ``Store.upkeep``."""
    done = {
        "items_freed": frontier.free_expired(tx, now),
        "items_due_again": frontier.push_again(tx, now) if _is_new(tx, epoch) else 0,
        "failures_given_up": retry.expire(tx, now, retry.MOST_CRASHES),
        "failures_resolved": failures.resolve_superseded(tx, now),
    }
    tx.run(_NOTE, clean.text(epoch), now, now, accepted)
    return done


def _is_new(tx: Transaction, epoch: str) -> bool:
    """Tell whether the stream was made anew since the last round: what was in the old one is lost."""
    epochs = {row[0] for row in tx.run("SELECT epoch FROM ledger_epoch")}
    return bool(epochs) and clean.text(epoch) not in epochs
