"""One batch, one transaction: each entry's effects, once.

Locks are taken in one order everywhere, so that two batches seldom deadlock: pages by key, contents by hash, revisions,
payloads, items by key, failures by key, deliveries, sums.

The deliveries are written last and not first: they then hold their outcome at once instead of being written twice.
Entries that were settled before are read at the start and left alone; if another worker settles one of the batch's
entries meanwhile, its row is in the way in the end, and the whole batch is run again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

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

    def settled(self, effects: Mapping[EntryKey, Effect], earlier: Mapping[EntryKey, Outcome]) -> list[Settled]:
        """Return how each arrival ended, in their order."""
        told: set[EntryKey] = set(earlier)
        result: list[Settled] = []
        for arrival in self.arrivals:
            key = EntryKey.of(arrival.epoch, arrival.entry_id)
            effect = Effect(earlier[key]) if key in earlier else effects[key]
            fresh, failure = key not in told, effect.failure_id
            result.append(Settled(arrival.entry_id, effect.outcome, fresh, failure, given_up=effect.given_up))
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
    return batch.settled({key: effect for key, (_, effect) in paired.items()}, earlier)


def apply(tx: Transaction, arrived: Sequence[Sighting | Broken], packed: Iterable[Packed], now: int) -> list[Effect]:
    """Write all that arrivals bring about but their deliveries; return what became of each."""
    seen = [one for one in arrived if isinstance(one, Sighting)]
    failed = [one for one in arrived if isinstance(one, Broken)]
    stored = store_pages(tx, seen)
    packed = list(packed)
    payloads.keep(tx, packed, now)
    payloads.hold(tx, (one.payload_hash for one in failed), packed, now)
    items.follow(tx, seen, now)
    items.fail(tx, failed)
    others = pages.read(tx, {one.identity for one in failed} - stored.last_seen.keys())
    times = stored.last_seen | {identity: page.state.last_seen for identity, page in others.items()}
    rows = failures.record(tx, failed, times, now)
    failures.resolve(tx, stored.last_seen, now)
    outcomes = iter(stored.outcomes)
    return [
        Effect(next(outcomes), page_id=stored.ids[one.identity])
        if isinstance(one, Sighting)
        else _failed(rows[one.identity, failures.superseded(one, times)])
        for one in arrived
    ]


def _failed(kept: failures.Kept) -> Effect:
    return Effect(Outcome.FAILED, failure_id=kept.id, given_up=kept.dead)


class Stored(NamedTuple):
    """The pages of a batch, decided and stored."""

    outcomes: Sequence[Outcome]
    ids: Mapping[Identity, int]
    last_seen: dict[Identity, int]


def store_pages(tx: Transaction, seen: Sequence[Sighting]) -> Stored:
    """Decide, and store pages, contents and revisions.

    First all is inserted as if nothing were known, which is right for new pages. What was there already is then
    locked or final; it is read, and the decision is made with it.
    """
    observations = [Observation(one.identity, one.content_hash, one.observed_at) for one in seen]
    by_identity: dict[Identity, list[Sighting]] = defaultdict(list)
    for one in seen:
        by_identity[one.identity].append(one)
    as_new = decide(Known({}, {}), observations)
    states = {identity: pages.next_state(None, as_new.segments[identity], own) for identity, own in by_identity.items()}
    made = pages.insert(tx, states)
    stored = pages.read(tx, states.keys() - made.keys())
    first = contents.take(tx, as_new.contents)
    known = Known(revisions.known(tx, stored, observations), first)
    decision = decide(known, observations)
    states |= {
        identity: pages.next_state(page, decision.segments[identity], by_identity[identity])
        for identity, page in stored.items()
    }
    ids = made | {identity: page.id for identity, page in stored.items()}
    pages.update(tx, stored, states)
    contents.earlier(tx, {content: one for content, one in decision.contents.items() if content in first})
    revisions.write(tx, ids, decision.segments, known.segments, seen)
    return Stored(decision.outcomes, ids, {identity: state.last_seen for identity, state in states.items()})
