"""The one rule of the host gate, over histories at random: two starts are a delay apart, and never too many at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.fetch_ports import Answered, Slot, Wanted
from tests.support.gates import LEASE, SECOND, Gates, ends, now_us, warm

WORKERS = 2


@dataclass
class Ask:
    wishes: list[Wanted]
    worker: int


@dataclass
class End:
    which: list[int]  # of what is under way
    how: Answered
    latency: int
    retry_after: int


@dataclass
class Pass:
    microseconds: int


@dataclass
class Flush:
    pass


Step = Ask | End | Pass | Flush

_wish = st.builds(
    Wanted,
    host=st.sampled_from(["a.example", "b.example"]),
    count=st.integers(0, 5),
    delay_us=st.sampled_from([0, 1, 100_000, SECOND, 7 * SECOND]),
    concurrency=st.integers(1, 4),
)
_step: st.SearchStrategy[Step] = st.one_of(
    st.builds(
        Ask,
        st.lists(_wish, min_size=1, max_size=4),
        st.integers(0, WORKERS - 1),
    ),
    st.builds(
        End,
        st.lists(st.integers(0, 20), max_size=4),
        st.sampled_from(Answered),
        st.sampled_from([0, 50_000, 4 * SECOND]),
        st.sampled_from([0, 0, 3 * SECOND]),
    ),
    st.builds(Pass, st.sampled_from([1, 300_000, SECOND, 10 * SECOND, 31 * SECOND, 2 * LEASE])),
    st.builds(Flush),
)


@dataclass
class Start:
    """When a request starts, the delay that its host was to have, and how often Redis had been flushed before."""

    at: int
    delay: int
    flushes: int
    token: str

    def is_apart_from(self, earlier: Start) -> bool:
        """Tell whether it may start that much later; after a flush, its own delay is all that is known."""
        if self.flushes == earlier.flushes:
            return self.at - earlier.at >= max(self.delay, earlier.delay)
        return self.delay == 0 or self.at - earlier.at >= self.delay


@dataclass
class History:
    """What is known of a host: its requests, and which are under way."""

    starts: list[Start] = field(default_factory=list)
    under_way: list[Slot] = field(default_factory=list)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_step, max_size=25), st.sampled_from([0, SECOND, 20 * SECOND]))
def test_starts_are_a_delay_apart_and_no_more_are_under_way_than_may_be(
    client: redis.Redis, steps: Sequence[Step], horizon: int
) -> None:
    with warm(client) as gates:
        world = World(gates, horizon)
        for step in steps:
            world.take(step)
        for told in world.hosts.values():
            assert all(later.is_apart_from(one) for at, later in enumerate(told.starts) for one in told.starts[:at])


class World:
    """Two workers, and what they were granted."""

    def __init__(self, gates: Gates, horizon: int) -> None:
        self._gates, self._horizon, self._flushes = gates, horizon, 0
        self._workers = [gates.open() for _ in range(WORKERS)]
        for worker in self._workers:
            worker.admit([Wanted("c.example", 1, 0, 100)], horizon_us=horizon)
        self.hosts: dict[str, History] = {"a.example": History(), "b.example": History()}

    def take(self, step: Step) -> None:
        match step:
            case Ask():
                self._ask(step)
            case End():
                self._end(step)
            case Pass():
                self._pass(step.microseconds)
            case Flush():
                self._gates.flush()
                self._flushes += 1
                for told in self.hosts.values():
                    told.under_way.clear()  # how many there are is forgotten; the pace is not

    def _ask(self, step: Ask) -> None:
        before = now_us()
        grants = self._workers[step.worker].admit(step.wishes, horizon_us=self._horizon)
        after = now_us()
        for wish, grant in zip(step.wishes, grants, strict=True):
            told = self.hosts[wish.host]
            assert len(grant.slots) <= wish.count
            assert bool(grant.reason) == bool(grant.again_at) == (len(grant.slots) < wish.count)
            assert all(before <= slot.start <= after + self._horizon for slot in grant.slots)
            told.starts += [Start(slot.start, wish.delay_us, self._flushes, slot.token) for slot in grant.slots]
            told.under_way += grant.slots
            assert not grant.slots or len(told.under_way) <= wish.concurrency

    def _end(self, step: End) -> None:
        alive = [slot for told in self.hosts.values() for slot in told.under_way]
        ended = [alive[at] for at in {at % len(alive) for at in step.which}] if alive else []
        more = {"latency_us": step.latency, "retry_after_us": step.retry_after}
        self._workers[0].report(ends(ended, step.how, **more))
        for slot in ended:
            told = self.hosts[slot.host]
            told.under_way.remove(slot)
            if step.how is Answered.UNUSED:
                told.starts = [one for one in told.starts if one.token != slot.token]

    def _pass(self, microseconds: int) -> None:
        slots = [slot for told in self.hosts.values() for slot in told.under_way]
        older = dict(zip([slot.token for slot in slots], self._gates.sleep(microseconds, slots), strict=True))
        for told in self.hosts.values():
            for one in told.starts:
                one.at -= microseconds
                one.token = older[one.token].token if one.token in older else one.token
            told.under_way = [older[slot.token] for slot in told.under_way]
            told.under_way = [slot for slot in told.under_way if slot.start + LEASE > now_us()]
