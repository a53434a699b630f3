"""The host gate: pace and concurrency over all workers. How hosts fare is in test_host_gate_health.py."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import redis

from tasks.errors import StreamUnavailable
from tasks.fetch_ports import Answered, HostView, Wanted
from tests.support.gates import HORIZON, HOST, LEASE, SECOND, Gates, ends, hammer, now_us, slots_of, wanted, warm
from worker.host_gate import HostGate
from worker.redis_link import connect


@pytest.fixture
def gates(client: redis.Redis) -> Iterator[Gates]:
    with warm(client) as made:
        yield made


def starts(gate: HostGate, *wishes: Wanted, horizon: int = HORIZON) -> list[int]:
    return [slot.start for slot in slots_of(gate.admit(wishes, horizon_us=horizon))]


def gaps(times: list[int]) -> list[int]:
    return [later - earlier for earlier, later in pairwise(times)]


def test_the_first_request_starts_at_once_and_each_other_a_delay_after_the_one_before(gates: Gates) -> None:
    before = now_us()
    (grant,) = gates.open().admit([wanted(5)], horizon_us=HORIZON)
    times = [slot.start for slot in grant.slots]
    assert before <= times[0] <= now_us()
    assert gaps(times) == [SECOND] * 4
    assert (grant.host, grant.reason, grant.again_at) == (HOST, "", 0)
    assert len({slot.token for slot in grant.slots}) == 5


def test_no_slot_starts_beyond_the_horizon_and_it_is_told_when_the_next_one_may_be_had(gates: Gates) -> None:
    gate = gates.open()
    (grant,) = gate.admit([wanted(9, 2.0)], horizon_us=5 * SECOND)
    assert [slot.start - grant.slots[0].start for slot in grant.slots] == [0, 2 * SECOND, 4 * SECOND]
    assert (grant.reason, grant.again_at) == ("pace", grant.slots[0].start + SECOND)
    (grant,) = gates.open().admit([wanted(1, 2.0)], horizon_us=SECOND)
    assert (grant.slots, grant.reason) == ((), "pace")


def test_nothing_is_granted_where_nothing_is_wanted(gates: Gates) -> None:
    gate = gates.open()
    assert gate.admit([], horizon_us=HORIZON) == []
    (grant,) = gate.admit([wanted(0)], horizon_us=HORIZON)
    assert (grant.slots, grant.reason, grant.again_at) == ((), "", 0)
    assert gate.report([]) == []
    assert gate.look([]) == {}


def test_sources_with_different_delays_keep_the_longer_one_between_their_requests(gates: Gates) -> None:
    quick, slow = gates.open(), gates.open()
    times = [*starts(quick, wanted(2, 0.5)), *starts(slow, wanted(2, 1.5)), *starts(quick, wanted(1, 0.5))]
    assert gaps(times) == [500_000, 1_500_000, 1_500_000, 1_500_000]
    assert gaps(starts(quick, wanted(1, 1.0, host="b"), wanted(2, 0.0, host="b"), wanted(1, 2.0, host="b"))) == [
        SECOND,
        0,
        2 * SECOND,
    ]


def test_hosts_and_namespaces_do_not_wait_for_each_other(gates: Gates, client: redis.Redis) -> None:
    slots = slots_of(gates.open().admit([wanted(host=host) for host in ("a", "b", "a:80")], horizon_us=HORIZON))
    assert len({slot.start for slot in slots}) == 1
    assert len({slot.token for slot in slots}) == 3
    with warm(client) as others:
        assert starts(others.open(), wanted(host="a"))[0] - slots[0].start < SECOND


def test_four_processes_that_ask_without_a_pause_keep_each_hosts_pace(gates: Gates, redis_url: str) -> None:
    wishes = [
        *(wanted(2, delay, host=f"h{delay}") for delay in (0.001, 0.003, 0.02)),
        wanted(1, 0.002, host="both"),
        wanted(1, 0.005, host="both"),
    ]
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        work = [(redis_url, gates.namespace, wishes, 0.6)] * 4
        granted = [one for found in pool.starmap(hammer, work) for one in found]
    for host in ("h0.001", "h0.003", "h0.02", "both"):
        times = sorted((start, delay) for name, delay, start in granted if name == host)
        assert len(times) > 5
        assert all(b[0] - a[0] >= max(a[1], b[1]) for a, b in pairwise(times))


def test_no_more_requests_are_under_way_than_a_host_bears_over_all_workers(gates: Gates) -> None:
    one, other, begun = gates.open(), gates.open(), now_us()
    (grant,) = one.admit([wanted(2, 0.0, 3)], horizon_us=HORIZON)
    (second,) = other.admit([wanted(5, 0.0, 3)], horizon_us=HORIZON)
    assert (len(grant.slots), len(second.slots), second.reason) == (2, 1, "concurrency")
    assert second.again_at >= begun + SECOND // 10
    assert starts(other, wanted(5, 0.0, 2), wanted(5, 0.0, 3)) == []
    one.report(ends(grant.slots))
    assert len(starts(other, wanted(5, 0.0, 3))) == 2
    other.report(ends(grant.slots))  # again: they are free already
    assert starts(other, wanted(5, 0.0, 3)) == []


def test_the_slots_of_a_dead_worker_are_free_after_their_lease(gates: Gates) -> None:
    gate = gates.open(lease=60 * SECOND)
    starts(gate, wanted(1, 0.0, 2), wanted(1, 10.0, 2), horizon=20 * SECOND)
    gates.sleep(50 * SECOND)
    assert starts(gate, wanted(5, 0.0, 2)) == []
    gates.sleep(11 * SECOND)
    assert len(starts(gate, wanted(5, 0.0, 2))) == 1  # the other one began ten seconds later
    gates.sleep(10 * SECOND)
    assert len(starts(gate, wanted(5, 0.0, 2))) == 1


def test_a_slot_that_nobody_used_gives_its_time_back_if_none_was_granted_after_it(gates: Gates) -> None:
    gate = gates.open()
    first, *unused = slots_of(gate.admit([wanted(4)], horizon_us=HORIZON))
    gate.report(ends(unused, Answered.UNUSED))
    again = slots_of(gate.admit([wanted(3)], horizon_us=HORIZON))
    assert [slot.start for slot in again] == [first.start + n * SECOND for n in (1, 2, 3)]
    gate.report(ends([*again[:1], *unused], Answered.UNUSED))  # another came after it; the others had their turn
    assert starts(gate, wanted()) == [first.start + 4 * SECOND]


def test_also_where_several_start_at_the_same_time(gates: Gates) -> None:
    gate = gates.open()
    used, *unused = slots_of(gate.admit([wanted(), wanted(3, 0.0)], horizon_us=HORIZON))
    gate.report(ends(unused, Answered.UNUSED))
    gate.report(ends([used]))
    assert starts(gate, wanted()) == [used.start + SECOND]


def test_a_slot_that_was_used_gives_no_time_back(gates: Gates) -> None:
    gate = gates.open()
    slots = slots_of(gate.admit([wanted(2)], horizon_us=HORIZON))
    gate.report(ends(slots))
    gate.report(ends(slots, Answered.UNUSED))
    assert starts(gate, wanted()) == [slots[1].start + SECOND]


def test_the_next_request_waits_for_its_whole_delay_after_one_that_began_late(gates: Gates) -> None:
    gate = gates.open()
    slots = slots_of(gate.admit([wanted(2)], horizon_us=HORIZON))
    first, second = gates.sleep(3 * SECOND, slots)
    gate.report(ends([first], late_us=3 * SECOND))  # another was granted after it
    gate.report(ends([second], late_us=1_800_000))
    assert starts(gate, wanted()) == [second.start + 2_800_000]


def test_a_host_that_the_store_says_is_to_be_left_alone_is(gates: Gates) -> None:
    gate, until = gates.open(), now_us() + 100 * SECOND
    (grant,) = gate.admit([wanted(until=until)], horizon_us=HORIZON)
    assert (grant.slots, grant.reason) == ((), "paused")
    assert until - HORIZON <= grant.again_at <= until - HORIZON + SECOND
    assert starts(gate, wanted(until=until), horizon=200 * SECOND) == []  # a minute is the farthest
    near = now_us() + 3 * SECOND
    (start,) = starts(gate, wanted(until=near))
    assert near <= start <= near + SECOND
    assert len(starts(gate, wanted(until=now_us() - SECOND, host="b"))) == 1


def test_after_a_flush_no_host_is_asked_before_its_delay_is_over(gates: Gates) -> None:
    gate = gates.open()
    slots = slots_of(gate.admit([wanted(9, 2.0)], horizon_us=HORIZON))
    gates.flush()
    gate.report(ends(slots[:1], latency_us=1000))
    (grant,) = gate.admit([wanted(1, 2.0)], horizon_us=HORIZON)
    assert (grant.slots, grant.reason) == ((), "pace")
    assert len(starts(gate, wanted(1, 0.0, host="without a delay"), horizon=0)) == 1
    gates.sleep(2 * SECOND)
    (start,) = starts(gate, wanted(1, 2.0))
    assert start - (slots[-1].start - 2 * SECOND) >= 2 * SECOND  # though that one has not started yet


def test_after_a_flush_what_was_granted_before_gives_nothing_back(gates: Gates) -> None:
    gate = gates.open()
    slots = slots_of(gate.admit([wanted(3)], horizon_us=HORIZON))
    gates.flush()
    gate.report(ends(slots, Answered.UNUSED))
    assert gates.keys() == set()


def test_a_new_gate_asks_nobody_before_the_delay_is_over_but_once(client: redis.Redis) -> None:
    gates = Gates(client)
    assert starts(gates.open(), wanted(1, 10.0)) == []
    gates.sleep(10 * SECOND)
    assert len(starts(gates.open(), wanted(1, 10.0), wanted(1, 10.0, host="b"), horizon=0)) == 2
    gates.flush()


def test_what_says_nothing_any_more_expires(gates: Gates) -> None:
    gate = gates.open()
    slots = slots_of(gate.admit([wanted(2, 3.0)], horizon_us=HORIZON))
    assert 3600 < gates.client.ttl(gates.key(f"host:{HOST}")) <= 3600 + 6
    assert 50 < gates.client.ttl(gates.key(f"slots:{HOST}")) <= 64
    gate.report(ends(slots))
    assert gates.keys() == {"hosts:since", f"host:{HOST}"}
    starts(gate, wanted(2, 7200.0, host="long"))
    assert 10_790 < gates.client.ttl(gates.key("host:long")) <= 10_800
    gate.report(ends(slots, Answered.SLOW_DOWN, retry_after_us=7200 * SECOND))
    assert 10_790 < gates.client.ttl(gates.key(f"host:{HOST}")) <= 10_800


def test_slots_of_a_longer_lease_outlive_those_of_a_shorter_one(gates: Gates) -> None:
    starts(gates.open(lease=100 * SECOND), wanted(1, 0.0))
    starts(gates.open(lease=SECOND), wanted(1, 0.0))
    assert gates.client.ttl(gates.key(f"slots:{HOST}")) > 90


def test_workers_whose_clocks_differ_keep_the_same_pace(gates: Gates) -> None:
    times: list[int] = []
    late = 0  # what a worker may be behind Redis by: the longest of its calls
    begun = now_us()
    for skew in (3600 * SECOND, -3600 * SECOND, 0, 86_400 * SECOND):
        read = [now_us()]

        def skewed(skew: int = skew, read: list[int] = read) -> int:
            read.append(now_us())
            return read[-1] + skew

        gate = gates.open(now=skewed)
        for _ in range(5):
            times += [start - skew for start in starts(gate, wanted(2, 0.1))]
        late = max([late, *gaps(read)])
    assert len(times) == 40
    assert times[0] >= begun
    assert all(gap >= SECOND // 10 - late for gap in gaps(times))
    assert times[-1] - times[0] <= 39 * SECOND // 10 + late


def test_a_clock_of_redis_that_was_set_back_stops_no_host(gates: Gates) -> None:
    gate = gates.open()
    starts(gate, wanted())
    gates.sleep(-3600 * SECOND)
    begun = now_us()
    (start,) = starts(gate, wanted())
    assert begun + SECOND <= start <= now_us() + SECOND


def test_500_hosts_are_one_call(gates: Gates) -> None:
    gate = gates.open()
    wishes = [wanted(2, 1.0, 4, host=f"h{number}.example") for number in range(500)]

    def each_once(wishes: list[Wanted]) -> int:
        slots = slots_of(gate.admit(wishes, horizon_us=HORIZON))
        gate.report(ends(slots, latency_us=20_000))
        gate.look([one.host for one in wishes])
        return len(slots)

    each_once(wishes[:1])  # from now on Redis knows the scripts
    gates.client.config_resetstat()
    assert each_once(wishes) == 1000
    assert gates.client.info("commandstats")["cmdstat_evalsha"]["calls"] == 3


def test_how_hosts_stand_can_be_looked_at(gates: Gates) -> None:
    gate = gates.open()
    slots = slots_of(gate.admit([wanted(3, 1.0, 4)], horizon_us=HORIZON))
    gate.report(ends(slots[:1], latency_us=200_000))
    assert gate.look([HOST, "unknown.example"]) == {
        HOST: HostView(
            host=HOST,
            next_at=slots[2].start + SECOND,
            delay_us=SECOND,
            latency_us=200_000,
            under_way=2,
            failures=0,
            breaker="closed",
            until=0,
        )
    }


def test_a_redis_that_does_not_answer_is_told(tmp_path: Path) -> None:
    gate = HostGate(connect(f"unix://{tmp_path}/nothing.sock"), "n", lease_us=LEASE, now_us=now_us, draw=lambda: 0.0)
    with pytest.raises(StreamUnavailable, match="Redis does not answer"):
        gate.admit([wanted()], horizon_us=HORIZON)
