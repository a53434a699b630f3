from __future__ import annotations

import itertools
import os
from collections.abc import Callable

import pytest
import redis

from tasks.errors import StreamFull, StreamUnavailable, TooLarge
from tasks.steps.page import Payload
from tasks.steps.payload import decode_fields
from worker.consumers import consumer_name
from worker.stream import GROUP, PageStream, connect

_numbers = itertools.count()

OpenStream = Callable[..., PageStream]


@pytest.fixture
def open_stream(client: redis.Redis) -> OpenStream:
    """Opens streams of one namespace, each as another consumer."""
    namespace = f"stream-{os.getpid()}-{next(_numbers)}"

    def open_one(name: str = "one", *, high_water: int = 100, lease_ms: int = 60_000) -> PageStream:
        stream = PageStream(client, namespace=namespace, high_water=high_water, lease_ms=lease_ms, max_body=1000)
        stream.consumer = f"elsewhere|1|{name}|1"  # of another machine: whether it lives is not known
        return stream

    return open_one


def _payloads(count: int) -> list[Payload]:
    return [Payload(source="s", item=str(number), body=b"text") for number in range(count)]


def _key(stream: PageStream) -> str:
    return stream._key


def test_what_is_pushed_is_read_once_and_gone_when_acknowledged(open_stream: OpenStream) -> None:
    stream = open_stream()
    ids = stream.push(_payloads(3))
    entries = stream.read(10, 10)
    assert [entry.id for entry in entries] == ids
    assert entries[0].fields[b"source"] == b"s"
    assert open_stream("two").read(10, 10) == []
    stream.ack(ids[:2])
    stream.ack(ids[:2])
    snapshot = stream.snapshot()
    assert (snapshot.accepted, snapshot.length, snapshot.pending) == (3, 1, 1)
    assert stream.pending_ids() == ids[2:]


def test_an_entry_past_its_lease_is_taken_over_alone_and_counted(open_stream: OpenStream) -> None:
    first, second = open_stream("one"), open_stream("two", lease_ms=0)
    ids = first.push(_payloads(2))
    first.read(10, 10)
    assert open_stream("three").reclaim() is None
    taken = second.reclaim()
    assert taken is not None
    assert (taken.id, taken.deliveries) == (ids[0], 2)
    second.ack([taken.id])
    again = second.reclaim()
    assert again is not None
    assert (again.id, again.deliveries) == (ids[1], 2)


def test_an_entry_of_a_dead_process_of_this_machine_is_taken_over_at_once(open_stream: OpenStream) -> None:
    dead, alive = open_stream(), open_stream("two")
    host, namespace, _, _ = PageStream(
        connect("unix:///unused"), namespace="x", high_water=1, lease_ms=1, max_body=1
    ).consumer.rsplit("|", 3)
    dead.consumer = f"{host}|{namespace}|999999999|1"
    (entry_id,) = dead.push(_payloads(1))
    dead.read(1, 10)
    taken = alive.reclaim()
    assert taken is not None
    assert taken.id == entry_id
    assert alive.forget_dead_consumers() == 1


def test_what_is_in_hand_is_not_taken_over_again_while_the_dead_are_cleared(open_stream: OpenStream) -> None:
    dead, alive = open_stream(), open_stream()
    host, system, _, _ = consumer_name().rsplit("|", 3)
    dead.consumer, alive.consumer = f"{host}|{system}|1000000000|1", f"{host}|{system}|999|z"  # sorts behind the dead
    ids = dead.push(_payloads(3))
    dead.read(2, 10)
    alive.read(1, 10)
    taken = [alive.reclaim(own=True), *(alive.reclaim(own=False) for _ in range(3))]
    assert [one and (one.id, one.deliveries) for one in taken] == [(ids[2], 2), (ids[0], 2), (ids[1], 2), None]


def test_a_consumer_that_holds_entries_is_never_forgotten(open_stream: OpenStream) -> None:
    busy, other = open_stream("one"), open_stream("two")
    busy.push(_payloads(1))
    busy.read(1, 10)
    assert other.forget_dead_consumers(idle_ms=-1) == 0
    assert other.pending_ids()


def test_an_entry_deleted_under_its_consumer_leaves_the_pending_list(
    open_stream: OpenStream, client: redis.Redis
) -> None:
    stream = open_stream(lease_ms=0)
    ids = stream.push(_payloads(2))
    stream.read(10, 10)
    client.xdel(_key(stream), ids[0])
    while (entry := stream.reclaim()) is None:
        pass
    assert entry.id == ids[1]
    assert stream.pending_ids() == ids[1:]


def test_above_the_high_water_mark_nothing_is_taken_in(open_stream: OpenStream) -> None:
    stream = open_stream(high_water=3)
    stream.push(_payloads(3))
    with pytest.raises(StreamFull, match="high-water mark"):
        stream.push(_payloads(1))
    assert stream.snapshot().accepted == 3


def test_a_body_above_the_limit_is_refused_before_anything_is_pushed(open_stream: OpenStream) -> None:
    stream = open_stream()
    with pytest.raises(TooLarge, match="1001 bytes, the limit is 1000"):
        stream.push([*_payloads(1), Payload(source="s", body=b"x" * 1001)])
    assert stream.snapshot().length == 0


def test_a_field_with_the_name_of_ours_does_not_confuse_the_ledger(open_stream: OpenStream) -> None:
    stream = open_stream()
    stream.push([Payload(source="s", body=b"text", extra={"_epoch": "0" * 16, "e": "kept"})])
    (entry,) = stream.read(1, 10)
    assert entry.epoch == stream.epoch()
    payload = decode_fields(entry.fields, max_body=100)
    assert payload.extra == {"e": "kept"}
    stream.ack([entry.id])
    assert stream.snapshot().accepted == 1


def test_a_redis_that_is_nearly_full_takes_nothing_in(
    open_stream: OpenStream, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = open_stream()
    stream.push(_payloads(1))
    used = int(client.info("memory")["used_memory"])
    client.config_set("maxmemory", used + used // 20)
    monkeypatch.setattr("worker.stream_push.MEMORY_SECONDS", 0.0)
    try:
        with pytest.raises(StreamFull, match="bytes of memory"):
            open_stream("two").push(_payloads(1))
    finally:
        client.config_set("maxmemory", 0)
    stream.push(_payloads(1))
    assert stream.snapshot().accepted == 2


def test_a_bare_xadd_is_counted_when_it_is_done(open_stream: OpenStream, client: redis.Redis) -> None:
    stream = open_stream()
    stream.epoch()
    client.xadd(_key(stream), {"v": "1", "source": "s", "body": "text"})
    assert (stream.snapshot().accepted, stream.uncounted()) == (0, 1)
    (entry,) = stream.read(1, 10)
    assert entry.epoch == stream.epoch()
    stream.ack([entry.id])
    stream.ack([entry.id])
    assert (stream.snapshot().accepted, stream.uncounted()) == (1, 0)


def test_a_bare_xadd_to_an_empty_redis_is_read(open_stream: OpenStream, client: redis.Redis) -> None:
    stream = open_stream()
    client.xadd(_key(stream), {"v": "1", "source": "s", "body": "text"})
    (entry,) = stream.read(1, 10)
    assert entry.epoch


def test_a_lost_stream_has_another_epoch_and_a_lost_group_has_not(open_stream: OpenStream, client: redis.Redis) -> None:
    stream = open_stream()
    stream.push(_payloads(2))
    epoch = stream.epoch()
    client.xgroup_destroy(_key(stream), GROUP)
    assert len(stream.read(10, 10)) == 2
    assert stream.epoch() == epoch
    client.delete(_key(stream))
    assert stream.epoch() != epoch
    assert stream.snapshot().accepted == 0


def test_a_redis_that_does_not_answer_is_told(tmp_path: object) -> None:
    client = connect(f"unix://{tmp_path}/nothing.sock")
    stream = PageStream(client, namespace="n", high_water=1, lease_ms=1, max_body=10)
    with pytest.raises(StreamUnavailable, match="Redis does not answer"):
        stream.read(1, 10)


def _reclaimed(open_stream: OpenStream, *names: str) -> list[tuple[str, int]]:
    """Return what each of these consumers takes over, with its number of deliveries."""
    taken = [open_stream(name).reclaim() for name in names]
    return [(one.id, one.deliveries) for one in taken if one]


def test_what_was_read_and_not_begun_goes_to_the_next_at_once_and_uncounted(open_stream: OpenStream) -> None:
    first = open_stream()  # of another machine; the lease is a minute
    ids = first.push(_payloads(4))
    first.read(10, 10)
    first.ack(ids[:1])
    first.give_back(ids[1:3])
    assert _reclaimed(open_stream, "two", "three", "four") == [(ids[1], 1), (ids[2], 1)]  # the last is in hand
    open_stream("two").give_back([ids[1]])
    assert _reclaimed(open_stream, "five") == [(ids[1], 1)]


def test_only_what_one_holds_is_given_back(open_stream: OpenStream) -> None:
    first, second = open_stream("one"), open_stream("two")
    ids = first.push(_payloads(2))
    first.read(1, 10)
    second.read(1, 10)
    first.give_back(ids)
    assert _reclaimed(open_stream, "three", "four") == [(ids[0], 1)]


def test_what_came_with_an_answer_that_was_lost_is_taken_again_by_the_one_that_lost_it(open_stream: OpenStream) -> None:
    stream = open_stream()
    ids = stream.push(_payloads(2))
    stream.read(10, 10)
    assert _reclaimed(open_stream, "one") == [(ids[0], 2)]


def test_what_a_process_may_never_have_seen_goes_to_any_other_when_it_lets_go(open_stream: OpenStream) -> None:
    first, second = open_stream("one"), open_stream("two")
    first.let_go()  # there is no stream yet
    ids = first.push(_payloads(3))
    first.read(2, 10)
    second.read(1, 10)
    first.let_go()
    assert _reclaimed(open_stream, "three", "four", "five") == [(ids[0], 1), (ids[1], 1)]
