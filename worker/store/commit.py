"""One batch, one transaction: each entry's effects, once.

Locks are taken in one order everywhere, so that two batches seldom deadlock: pages by key, contents, revisions,
payloads, items by key, failures by key, deliveries, sums.

The deliveries are written last and not first: they then hold their outcome at once instead of being written twice.
Entries that were settled before are read at the start and left alone; if another worker settles one of the batch's
entries meanwhile, its row is in the way in the end, and the whole batch is run again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from tasks.ports import Settled
from tasks.steps.dedupe import Identity, Known, Observation, decide
from tasks.steps.page import Arrival, Outcome
from worker.store import contents, deliveries, failures, items, pages, payloads, revisions
from worker.store.batch import Broken, Effect, EntryKey, Packed, Sighting, delivered
from worker.store.driver import Transaction


class Batch:
    """Arrivals made ready outside of the transaction, which may have to run more than once."""

    def __init__(self, arrivals: Sequence[Arrival]) -> None:
        self.arrivals = arrivals
        self.entries = delivered(arrivals)
        self.packed = payloads.pack((one.payload_hash, one.payload) for one in arrivals)

    def settled(self, effects: Mapping[EntryKey, Outcome], earlier: Mapping[EntryKey, Outcome]) -> list[Settled]:
        """Return how each arrival ended, in their order."""
        told: set[EntryKey] = set(earlier)
        result: list[Settled] = []
        for arrival in self.arrivals:
            key = EntryKey.of(arrival.epoch, arrival.entry_id)
            outcome = earlier[key] if key in earlier else effects[key]
            result.append(Settled(arrival.entry_id, outcome, fresh=key not in told))
            told.add(key)
        return result


def commit(tx: Transaction, batch: Batch, *, worker: str, now: int) -> list[Settled]:
    """Write a batch; see ``Store.commit``. Raises ``StoreConflict`` when it must run again."""
    earlier = deliveries.earlier(tx, batch.entries)
    fresh = [one for key, one in batch.entries.items() if key not in earlier]
    kept = {one.what.payload_hash for one in fresh}
    effects = apply(tx, [one.what for one in fresh], [one for one in batch.packed if one.payload_hash in kept], now)
    paired = {one.key: (one, effect) for one, effect in zip(fresh, effects, strict=True)}
    deliveries.write(tx, paired, worker=worker, now=now)
    return batch.settled({key: effect.outcome for key, (_, effect) in paired.items()}, earlier)


def apply(tx: Transaction, arrived: Sequence[Sighting | Broken], packed: Iterable[Packed], now: int) -> list[Effect]:
    """Write all that arrivals bring about but their deliveries; return what became of each."""
    seen = [one for one in arrived if isinstance(one, Sighting)]
    failed = [one for one in arrived if isinstance(one, Broken)]
    stored = pages.lock(tx, {one.identity for one in arrived})
    outcomes, ids, last_seen = _store_pages(tx, seen, stored)
    payloads.keep(tx, packed, now)
    items.follow(tx, seen, now)
    items.fail(tx, failed)
    times = failures.last_seen(stored) | last_seen
    rows = failures.record(tx, failed, times, now)
    failures.resolve(tx, last_seen, now)
    by_sighting = iter(outcomes)
    return [
        Effect(next(by_sighting), page_id=ids[one.identity])
        if isinstance(one, Sighting)
        else Effect(Outcome.FAILED, failure_id=rows[one.identity, failures.superseded(one, times)])
        for one in arrived
    ]


def _store_pages(
    tx: Transaction, seen: Sequence[Sighting], stored: Mapping[Identity, pages.StoredPage]
) -> tuple[Sequence[Outcome], dict[Identity, int], dict[Identity, int]]:
    """Decide, and store pages, contents and revisions; return outcomes, page ids, and when each was seen last."""
    observations = [Observation(one.identity, one.content_hash, one.observed_at) for one in seen]
    known = Known(revisions.known(tx, stored, observations), contents.read(tx, {one.content_hash for one in seen}))
    decision = decide(known, observations)
    by_identity: dict[Identity, list[Sighting]] = defaultdict(list)
    for one in seen:
        by_identity[one.identity].append(one)
    states = {
        identity: pages.next_state(stored.get(identity), decision.segments[identity], own)
        for identity, own in by_identity.items()
    }
    ids = pages.write(tx, stored, states)
    contents.write(tx, known.contents, decision.contents)
    revisions.write(tx, ids, decision.segments, known.segments, seen)
    return decision.outcomes, ids, {identity: state.last_seen for identity, state in states.items()}
