"""The host gate: what it learns from answers. Slow hosts, hosts that ask to be left alone, hosts that are down."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from tasks.errors import StreamUnavailable
from tasks.fetch_ports import Answered, HostPause, HostView, Slot
from tests.support.gates import HORIZON, HOST, LEASE, SECOND, Gates, ends, now_us, slots_of, wanted, warm
from worker.host_gate import HostGate

DAY = 86_400 * SECOND


@pytest.fixture
def gates(client: redis.Redis) -> Iterator[Gates]:
    with warm(client) as made:
        yield made


def slot(gate: HostGate, delay: float = 1.0, concurrency: int = 100) -> Slot:
    """Return a slot, wherever within a minute."""
    (granted,) = slots_of(gate.admit([wanted(1, delay, concurrency)], horizon_us=60 * SECOND))
    return granted


def view(gate: HostGate) -> HostView:
    return gate.look([HOST])[HOST]


def told(gates: Gates, gate: HostGate, how: Answered, delay: float = 1.0) -> int:
    """Make a request, wait for its time, report how it ended, and return the delay since then."""
    one = slot(gate, delay)
    (one,) = gates.sleep(max(one.start - now_us(), 0) + 1000, [one])
    gate.report(ends([one], how))
    return view(gate).delay_us


def down(gate: HostGate, times: int) -> list[HostPause]:
    """Have requests fail that began together."""
    slots = slots_of(gate.admit([wanted(times, 0.0)], horizon_us=HORIZON))
    assert len(slots) == times
    return gate.report(ends(slots, Answered.DOWN))


def opened(gate: HostGate, times: int, seconds: int) -> None:
    """Have requests fail, of which the last one opens the breaker for so long."""
    before = now_us()
    (pause,) = down(gate, times)
    assert before <= pause.until - seconds * SECOND <= now_us()


def test_what_was_not_waited_for_says_nothing_of_its_host(gates: Gates) -> None:
    gate = gates.open()
    down(gate, 5)
    gates.sleep(60 * SECOND)
    (probe,) = slots_of(gate.admit([wanted(1, 0.0)], horizon_us=HORIZON))
    gate.report(ends([probe], Answered.CANCELLED))
    assert (view(gate).breaker, view(gate).failures, view(gate).under_way) == ("probing", 5, 0)
    assert len(slots_of(gate.admit([wanted(1, 0.0)], horizon_us=HORIZON))) == 1  # another one tries


def test_what_was_not_waited_for_was_asked_for_all_the_same(gates: Gates) -> None:
    gate = gates.open()
    one = slot(gate, 2.0)
    gate.report(ends([one], Answered.CANCELLED))
    assert slot(gate, 2.0).start == one.start + 2 * SECOND


def test_a_slow_host_is_asked_as_often_as_it_can_answer(gates: Gates) -> None:
    gate = gates.open()
    gate.report(ends([slot(gate, 1.0, 2)], latency_us=4 * SECOND))
    assert view(gate).delay_us == 2 * SECOND
    gate.report(ends([slot(gate, 1.0, 2)], latency_us=9 * SECOND))
    assert view(gate).latency_us == 5 * SECOND
    first, second = slots_of(gate.admit([wanted(2, 1.0, 2)], horizon_us=60 * SECOND))
    assert second.start - first.start == 5 * SECOND // 2
    gate.report(ends([first, second], latency_us=1))
    assert view(gate).latency_us == 3_200_000  # 5 s, two times a fifth nearer to nothing
    first, second = slots_of(gate.admit([wanted(2, 0.0, 2)], horizon_us=60 * SECOND))
    assert second.start == first.start  # without a delay, concurrency alone is the bound


def test_a_host_that_asks_to_slow_down_is_asked_half_as_often_each_time(gates: Gates) -> None:
    gate = gates.open()
    delays = [told(gates, gate, Answered.SLOW_DOWN) // SECOND for _ in range(7)]
    assert delays == [2, 4, 8, 16, 32, 60, 60]


def test_and_recovers_step_by_step_with_each_answer(gates: Gates) -> None:
    gate = gates.open()
    told(gates, gate, Answered.SLOW_DOWN)
    assert told(gates, gate, Answered.SLOW_DOWN) == 4 * SECOND
    delays = [told(gates, gate, Answered.OK) for _ in range(8)]
    assert delays == [3_200_000, 2_560_000, 2_048_000, 1_638_400, 1_310_720, 1_048_576, SECOND, SECOND]


def test_also_where_no_delay_was_wanted(gates: Gates) -> None:
    gate = gates.open()
    assert told(gates, gate, Answered.SLOW_DOWN, 0.0) == 2 * SECOND
    delays = [told(gates, gate, Answered.OK, 0.0) for _ in range(15)]
    assert delays[0] == 1_600_000
    assert 100_000 < delays[12] < 120_000
    assert delays[13:] == [0, 0]


def test_requests_that_began_before_it_asked_say_nothing_more(gates: Gates) -> None:
    gate = gates.open()
    slots = slots_of(gate.admit([wanted(6, 0.0)], horizon_us=HORIZON))
    gate.report(ends(slots[:3], Answered.SLOW_DOWN))
    assert view(gate).delay_us == 2 * SECOND
    gate.report(ends(slots[3:]))
    assert view(gate).delay_us == 2 * SECOND


def test_a_host_is_left_alone_for_as_long_as_it_asks(gates: Gates) -> None:
    gate, other = gates.open(), gates.open()
    before = now_us()
    (pause,) = gate.report(ends([slot(gate)], Answered.SLOW_DOWN, retry_after_us=100 * SECOND))
    assert before <= pause.until - 100 * SECOND <= now_us()
    assert (pause.host, pause.reason) == (HOST, "asked")
    (grant,) = other.admit([wanted()], horizon_us=HORIZON)
    assert (grant.slots, grant.reason, grant.again_at) == ((), "paused", pause.until - HORIZON)
    assert view(other).until == pause.until
    gates.sleep(96 * SECOND)
    (start,) = [one.start for one in slots_of(other.admit([wanted()], horizon_us=HORIZON))]
    assert start == pause.until - 96 * SECOND
    gates.sleep(5 * SECOND)
    assert view(other).until == 0


def test_a_shorter_pause_does_not_end_a_longer_one_and_a_day_is_the_longest(gates: Gates) -> None:
    gate = gates.open()
    first, second, third = slots_of(gate.admit([wanted(3, 0.0)], horizon_us=HORIZON))
    (pause,) = gate.report(ends([first], Answered.SLOW_DOWN, retry_after_us=100 * SECOND))
    assert gate.report(ends([second], Answered.SLOW_DOWN, retry_after_us=10 * SECOND)) == []
    assert view(gate).until == pause.until
    (longest,) = gate.report(ends([third], Answered.SLOW_DOWN, retry_after_us=10 * DAY))
    assert longest.until <= now_us() + DAY


def test_five_requests_in_a_row_that_find_nobody_open_the_breaker(gates: Gates) -> None:
    gate = gates.open()
    assert down(gate, 4) == []
    gate.report(ends([slot(gate)]))
    assert down(gate, 4) == []
    assert (view(gate).breaker, view(gate).failures) == ("closed", 4)
    before = now_us()
    (pause,) = down(gate, 1)
    assert before <= pause.until - 30 * SECOND <= now_us()
    assert (pause.host, pause.reason) == (HOST, "down")
    (grant,) = gates.open().admit([wanted()], horizon_us=HORIZON)
    assert (grant.slots, grant.reason, grant.again_at) == ((), "down", pause.until - HORIZON)
    assert (view(gate).breaker, view(gate).failures, view(gate).until) == ("open", 5, pause.until)


def test_what_fails_while_the_breaker_is_open_opens_it_no_longer(gates: Gates) -> None:
    gate = gates.open()
    slots = slots_of(gate.admit([wanted(9, 0.0)], horizon_us=HORIZON))
    (pause,) = gate.report(ends(slots[:7], Answered.DOWN))
    assert gate.report(ends(slots[7:], Answered.DOWN)) == []
    assert view(gate).until == pause.until


def test_then_one_request_tries_it_and_all_others_wait_for_it(gates: Gates) -> None:
    gate, other = gates.open(), gates.open()
    down(gate, 5)
    gates.sleep(30 * SECOND)
    begun = now_us()
    (first, second) = gate.admit([wanted(3, 0.0), wanted(1, 0.0)], horizon_us=HORIZON)
    (third,) = other.admit([wanted(1, 0.0)], horizon_us=HORIZON)
    assert [len(one.slots) for one in (first, second, third)] == [1, 0, 0]
    assert {one.reason for one in (first, second, third)} == {"down"}
    assert third.again_at >= begun + SECOND
    assert view(gate).breaker == "probing"
    assert gate.report(ends(first.slots)) == []
    assert (view(gate).breaker, view(gate).failures, view(gate).until) == ("closed", 0, 0)
    assert len(slots_of(other.admit([wanted(3, 0.0)], horizon_us=HORIZON))) == 3


def test_each_time_that_it_fails_again_the_breaker_stays_open_for_longer(gates: Gates) -> None:
    gate = gates.open()
    opened(gate, 5, 30)
    for seconds in (60, 120, 240, 480, 960, 1920, 3600, 3600):
        gates.sleep(view(gate).until - now_us())
        opened(gate, 1, seconds)
    gates.sleep(view(gate).until - now_us())
    gate.report(ends([slot(gate)]))
    opened(gate, 5, 30)


def test_chance_keeps_hosts_that_went_down_together_apart(gates: Gates) -> None:
    opened(gates.open(draw=0.8), 5, 36)


def test_a_host_that_throttles_is_not_down(gates: Gates) -> None:
    gate = gates.open()
    down(gate, 5)
    gates.sleep(30 * SECOND)
    gate.report(ends([slot(gate)], Answered.SLOW_DOWN))
    assert (view(gate).breaker, view(gate).failures, view(gate).delay_us) == ("closed", 0, 2 * SECOND)


def test_a_request_that_was_under_way_and_is_answered_closes_the_breaker(gates: Gates) -> None:
    gate = gates.open()
    late = slot(gate, 0.0)
    down(gate, 5)
    gate.report(ends([late]))
    assert view(gate).breaker == "closed"


@pytest.mark.parametrize("dies", [True, False])
def test_a_try_that_nobody_made_is_made_by_another(gates: Gates, dies: bool) -> None:
    gate = gates.open()
    down(gate, 5)
    gates.sleep(30 * SECOND)
    tried = slot(gate)
    if dies:
        (tried,) = gates.sleep(LEASE + SECOND, [tried])
    else:
        gate.report(ends([tried], Answered.UNUSED))
    assert view(gate).breaker == "probing"
    again = slot(gate)
    if dies:  # its time ran out: what it found is not asked any more
        assert gate.report(ends([tried], Answered.DOWN)) == []
    assert len(gate.report(ends([again], Answered.DOWN))) == 1


def test_a_full_redis_grants_nothing_and_still_takes_slots_back(gates: Gates) -> None:
    gate = gates.open()
    held = slot(gate)
    gates.client.config_set("maxmemory", 1)
    try:
        with pytest.raises(StreamUnavailable, match="out of memory"):
            gate.admit([wanted()], horizon_us=HORIZON)
        gate.report(ends([held], latency_us=1000))
    finally:
        gates.client.config_set("maxmemory", 0)
    assert (view(gate).under_way, view(gate).latency_us) == (0, 1000)
