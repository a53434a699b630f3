"""One batch, one transaction: each entry's effects, once.

Locks are taken in one order everywhere, so that two batches seldom deadlock: stored pages by key, contents by hash, new
pages by key, payloads, items by key, revisions, failures by key, deliveries, sums.

What is sent needs no answer: the database works on payloads and items, its largest part, while the rows of revisions
are made, which is ours. So a batch has its locks for less time, and others wait for it less often.

The deliveries are written last and not first: they then hold their outcome at once instead of being written twice.
Entries that came before and may be settled are looked up at the start and left alone. If one of the batch's entries is
settled all the same, its row is in the way in the end, and the whole batch is run again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import NamedTuple

from tasks.ports import Settled
from tasks.steps.dedupe import Decision, Identity, Known, Observation, decide
from tasks.steps.page import Arrival, Outcome
from worker.store import again, contents, deliveries, failures, items, pages, payloads, revisions
from worker.store import near as near_texts
from worker.store.batch import Broken, Effect, EntryKey, Packed, Sighting, delivered
from worker.store.driver import Transaction
from worker.store.known import KnownItems
from worker.store.mentions import Mention


class Batch:
    """Arrivals made ready outside of the transaction, which may have to run more than once."""

    def __init__(self, arrivals: Sequence[Arrival], *, near: bool = True) -> None:
        self.near = near  # whether near-duplicates of its texts are looked for
        self.delivered = delivered(arrivals)
        self.entries = {one.key: one for one in reversed(self.delivered)}  # of one that is there twice, the first
        self.packed = payloads.pack((one.payload_hash, one.payload) for one in arrivals)
        # An entry that comes for the first time is not settled, but for rare accidents, which the ledger meets.
        self.doubtful = any(one.attempt > 1 for one in arrivals)

    def settled(self, effects: Mapping[EntryKey, Effect], earlier: Mapping[EntryKey, Outcome]) -> list[Settled]:
        """Return how each arrival ended, in their order."""
        told: set[EntryKey] = set(earlier)
        result: list[Settled] = []
        for key, *_ in self.delivered:
            effect = Effect(earlier[key]) if key in earlier else effects[key]
            fresh, failure = key not in told, effect.failure_id
            result.append(Settled(key.entry_id, effect.outcome, fresh, failure, given_up=effect.given_up))
            told.add(key)
        return result


class Done(NamedTuple):
    """What a transaction came to, to be told once it is committed."""

    settled: list[Settled]
    session: object
    told: Mapping[Identity, Mention]  # of items


def commit(tx: Transaction, batch: Batch, known: KnownItems, *, worker: str, now: int) -> Done:
    """Write a batch; see ``Store.commit``. Raises ``StoreConflict`` when it must run again."""
    earlier = deliveries.earlier(tx, batch.entries) if batch.doubtful else {}
    batch.doubtful = True  # should it run again
    fresh = [one for key, one in batch.entries.items() if key not in earlier]
    kept = {one.what.payload_hash for one in fresh}
    packed = [one for one in batch.packed if one.payload_hash in kept]
    applied = apply(tx, [one.what for one in fresh], packed, now, known=known.within(tx.session), near=batch.near)
    paired = {one.key: (one, effect) for one, effect in zip(fresh, applied.effects, strict=True)}
    deliveries.write(tx, paired, worker=worker, now=now)
    settled = batch.settled({key: effect for key, (_, effect) in paired.items()}, earlier)
    return Done(settled, tx.session, applied.told)


class Applied(NamedTuple):
    """What became of each arrival, and what the rows of items say by now at least."""

    effects: list[Effect]
    told: Mapping[Identity, Mention]


def apply(
    tx: Transaction,
    arrived: Sequence[Sighting | Broken],
    packed: Sequence[Packed],
    now: int,
    *,
    near: bool,
    known: KnownItems | None = None,
) -> Applied:
    """Write all that arrivals bring about but their deliveries; ``near``: with what finds near-duplicates."""
    seen = [one for one in arrived if isinstance(one, Sighting)]
    failed = [one for one in arrived if isinstance(one, Broken)]
    stored = decide_pages(tx, seen)
    last_seen = stored.last_seen
    planned = again.plan(tx, seen, stored.decision.outcomes, last_seen)
    payloads.keep(tx, packed, now)
    told = items.follow(tx, seen, now, known)
    again.write(tx, planned)
    items.fail(tx, failed, now)
    write_pages(tx, stored, seen, near=near)
    payloads.hold(tx, (one.payload_hash for one in failed), packed, now)
    others = pages.read(tx, {one.identity for one in failed} - last_seen.keys())
    times = last_seen | {identity: page.state.last_seen for identity, page in others.items()}
    times |= pages.last_seen_at_url(tx, (one for one in failed if one.identity not in times))
    rows = failures.record(tx, failed, times, now)
    failures.resolve(tx, _by_any_name(last_seen, seen), now)
    outcomes = iter(stored.decision.outcomes)
    effects = [
        Effect(next(outcomes), page_id=stored.ids[one.identity])
        if isinstance(one, Sighting)
        else _failed(rows[one.identity, failures.superseded(one, times)])
        for one in arrived
    ]
    return Applied(effects, told)


def _by_any_name(last_seen: Mapping[Identity, int], seen: Sequence[Sighting]) -> dict[Identity, int]:
    """Return when pages were seen last, also under the identities that their envelopes tell."""
    times = dict(last_seen)
    for one in seen:
        if one.named is not None:
            times[one.named] = max(last_seen[one.identity], times.get(one.named, 0))
    return times


def _failed(kept: failures.Kept) -> Effect:
    return Effect(Outcome.FAILED, failure_id=kept.id, given_up=kept.dead)


class Decided(NamedTuple):
    """The pages of a batch: what was stored of them, what was decided, and the ids that they have now."""

    stored: Mapping[Identity, pages.StoredPage]
    states: Mapping[Identity, pages.PageState]
    known: Known
    decision: Decision
    ids: Mapping[Identity, int]

    @property
    def last_seen(self) -> dict[Identity, int]:
        """When each page was seen last, this batch included."""
        return {identity: state.last_seen for identity, state in self.states.items()}


def decide_pages(tx: Transaction, seen: Sequence[Sighting]) -> Decided:
    """Lock pages and decide. New pages and contents are stored by then, and ``write_pages`` stores the rest.

    Pages that are there are locked as they are read, and contents are final. A page that another worker makes after
    that is in the way of ours; it is then locked too, and the decision is made with it.
    """
    observations = [Observation(one.identity, one.content_hash, one.observed_at) for one in seen]
    by_identity = _by_identity(seen)
    stored = pages.lock(tx, by_identity)
    first = contents.take(tx, contents.unknown(observations, stored))
    made: dict[Identity, int] = {}
    while True:
        known = Known(revisions.known(tx, stored, observations), first)
        decision = decide(known, observations)
        states = {
            identity: pages.next_state(stored.get(identity), decision.segments[identity], own)
            for identity, own in by_identity.items()
        }
        new = states.keys() - stored.keys() - made.keys()
        made |= pages.insert(tx, {identity: state for identity, state in states.items() if identity in new})
        if new <= made.keys():
            break
        stored |= pages.lock(tx, new - made.keys())
    ids = made | {identity: page.id for identity, page in stored.items()}
    return Decided(stored, states, known, decision, ids)


def write_pages(tx: Transaction, decided: Decided, seen: Sequence[Sighting], *, near: bool) -> None:
    """Store the pages that were there before, their earlier contents, and the revisions of all.

    With ``near`` also what finds near-duplicates of new texts.
    """
    known, decision = decided.known, decided.decision
    pages.update(tx, decided.stored, decided.states)
    contents.earlier(tx, {content: one for content, one in decision.contents.items() if content in known.contents})
    if near:
        near_texts.leave(tx, _of_new_texts(seen, decision.outcomes))
    revisions.write(tx, decided.ids, decision.segments, known.segments, seen)


def _of_new_texts(seen: Sequence[Sighting], outcomes: Sequence[Outcome]) -> list[Sighting]:
    return [one for one, outcome in zip(seen, outcomes, strict=True) if outcome in {Outcome.NEW, Outcome.REVISION}]


def _by_identity(seen: Sequence[Sighting]) -> dict[Identity, list[Sighting]]:
    """Return the sightings of each identity, in the order of identities; sorted later, that costs next to nothing."""
    found: dict[Identity, list[Sighting]] = {}
    for one in sorted(seen, key=attrgetter("identity")):
        found.setdefault(one.identity, []).append(one)
    return found
