"""What has to be done now and then: each round at once, and chores in portions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from tasks.ports import Noted
from worker.store import clean, due, failures, folding, near, retention, retry
from worker.store.chores import Portion, Step, step
from worker.store.driver import Transaction
from worker.store.retention import Retention

_NOTE: Final = """INSERT INTO ledger_epoch (epoch, first_seen, last_seen, accepted) VALUES (?, ?, ?, ?)
  ON CONFLICT (epoch) DO UPDATE SET last_seen = excluded.last_seen,
    accepted = CASE WHEN excluded.accepted > ledger_epoch.accepted THEN excluded.accepted
      ELSE ledger_epoch.accepted END
  RETURNING accepted"""
_LOST_US: Final = 600_000_000  # how long a page's way into the stream and out of it may take to be noted


def note_accepted(tx: Transaction, *, epoch: str, accepted: int, first_waiting: str | None, now: int) -> Noted:
    """Note the epoch's accepted count, and make items due again that Redis lost; see ``Store.note_accepted``.

    All of them, when the stream is new; else those whose entry has been gone for long. (A count below what was noted
    says nothing here: another process may have counted later and noted first.)
    """
    is_new = _is_new(tx, epoch)
    noted = int(tx.run(_NOTE, clean.text(epoch), now, now, accepted)[0][0])
    oldest = now if first_waiting is None else min(now, int(first_waiting.partition("-")[0]) * 1000)
    before = now if is_new else oldest - _LOST_US
    return Noted(noted, due.push_again(tx, before, now))


def upkeep(tx: Transaction, *, now: int) -> Mapping[str, int]:
    """Do one round; see ``Store.upkeep``."""
    return {
        "items_freed": due.free_expired(tx, now),
        "items_woken": due.wake(tx, now),
        "failures_given_up": retry.expire(tx, now),
        "failures_resolved": step(
            tx, "superseded", partial(failures.resolve_superseded, now=now), every_us=0, now=now
        ).done,
    }


def _is_new(tx: Transaction, epoch: str) -> bool:
    """Tell whether the stream was made anew since the last note: what was in the old one is lost."""
    noted = {row[0] for row in tx.run("SELECT epoch FROM ledger_epoch WHERE last_seen > 0")}
    return bool(noted) and clean.text(epoch) not in noted


CHORES: Final = ("sums_folded", "deliveries_pruned", "attempts_pruned", "payloads_pruned")


def chore(tx: Transaction, name: str, keep: Retention, *, now: int) -> Step:
    """Do a portion of one of ``CHORES``."""
    if name == "payloads_pruned" and not keep.payloads_us:
        return Step(0, more=False)
    portions: dict[str, tuple[Portion, int]] = {
        "sums_folded": (partial(folding.fold, now=now), folding.EVERY_US),
        "deliveries_pruned": (partial(retention.prune_deliveries, keep=keep, now=now), retention.EVERY_US),
        "attempts_pruned": (partial(retention.prune_attempts, keep=keep, now=now), retention.EVERY_US),
        "payloads_pruned": (partial(retention.prune_payloads, keep=keep, now=now), retention.EVERY_US),
    }
    portion, every_us = portions[name]
    return step(tx, name, portion, every_us=every_us, now=now)


def near_chore(tx: Transaction, name: str, *, now: int) -> Step:
    """Do a portion of one of ``near.chores_due``. One ends for good, the other has to be done at once."""
    if name == "texts_sketched":
        return step(tx, name, near.sketch_earlier, every_us=now, now=now)
    return step(tx, name, near.compare, every_us=0, now=now)
