"""What is where, for ``penstock status``, the demo's progress and, later, the console."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from worker.audit import accepted_total, overlap
from worker.runtime import open_store, open_stream, runtime

if TYPE_CHECKING:
    from worker.store import SqlStore
    from worker.stream import PageStream


def read_status(stream: PageStream | None = None, store: SqlStore | None = None) -> dict[str, Any]:
    """Return the object that ``status --json`` prints.

    ``accepted`` counts payloads; ``stream`` those not settled yet, ``pending`` the part of them that a worker holds,
    ``parked`` the part that waits for a paused source; ``paused`` has the reason of each paused source by name;
    ``drift`` the fields of which parsing finds less than before, see ``tasks.steps.drift``;
    ``outcomes``, ``failures`` (by state), ``items`` (by state), ``bounded`` (those of that state by bound: ``depth``,
    ``page``, ``trap``), ``hosts_alone`` (hosts that are left alone, by reason), ``over_budget`` (items that are due and
    wait for the budget of their source, by its name; that of a run only counts where the run has a name) and
    ``sources`` (by name) are counts.
    """
    rt = runtime()
    stream = stream or open_stream(rt)
    store = store or open_store(rt)
    snapshot, paused = stream.snapshot(), store.paused_sources()
    counts = store.counts()
    now = time.time_ns() // 1000
    due = store.due_counts(now=now, run=rt.run, budgets=rt.profiles.budgets())
    return {
        "accepted": accepted_total(snapshot, store.ledger()),
        "stream": snapshot.length - overlap(snapshot, stream, store),
        "pending": snapshot.pending,
        "parked": snapshot.parked,
        "paused": paused,
        "drift": store.field_drifts(),
        "outcomes": counts.outcomes,
        "failures": counts.failures,
        "items": counts.items,
        "bounded": counts.bounded,
        "hosts_alone": store.hosts_alone(now=now),
        "over_budget": due.over_budget,
        "sources": counts.sources,
    }
