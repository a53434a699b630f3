from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families

from tasks.errors import Transient
from tasks.ports import Entry
from tasks.steps.page import Payload
from tests.support.arrivals import NOW, commit, moved, page
from worker.audit import acknowledge, audit
from worker.audit.metrics import exposition
from worker.store import SqlStore, open_store
from worker.stream import PageStream

OTHER = "0123456789abcdef"
_numbers = itertools.count()


@pytest.fixture
def stream(client: redis.Redis) -> PageStream:
    namespace = f"audit-{os.getpid()}-{next(_numbers)}"
    opened = PageStream(client, namespace=namespace, high_water=10_000, lease_ms=60_000, max_body=1000)
    opened.consumer = "elsewhere|1|one|1"
    opened.epoch()
    return opened


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    opened = open_store(f"sqlite:///{tmp_path / 'store.db'}")
    yield opened
    opened.close()


Settle = Callable[..., None]


@pytest.fixture
def settle(stream: PageStream, store: SqlStore) -> Settle:
    """Commits entries as a worker would; acknowledges them unless it is told to die first."""

    def settle_them(entries: Sequence[Entry], *, acked: bool = True) -> None:
        arrivals = [
            moved(page(f"p{next(_numbers)}", "t"), epoch=one.epoch, entry_id=one.id, serial=one.serial)
            for one in entries
        ]
        commit(store, *arrivals)
        if acked:
            stream.ack([one.id for one in entries])

    return settle_them


def _push(stream: PageStream, count: int) -> list[str]:
    return stream.push([Payload(source="s", item=str(number), body=b"text") for number in range(count)])


def _noted(store: SqlStore, stream: PageStream) -> None:
    epoch, accepted = stream.accepted()
    store.note_accepted(epoch=epoch, accepted=accepted, first_waiting=None, now=NOW)


def test_a_committed_entry_that_is_still_pending_counts_once_and_is_named(
    stream: PageStream, store: SqlStore, settle: Settle
) -> None:
    ids = _push(stream, 3)
    settle(stream.read(2, 10)[:1], acked=False)
    result = audit(stream, store)
    assert (result.balanced, result.accepted, result.in_stream, result.difference) == (True, 3, 2, 0)
    assert [one.entry for one in result.unacknowledged] == [ids[0]]
    assert f"entry {ids[0]}" in result.explained[0]
    assert "is not acknowledged yet" in result.explained[0]


def test_a_payload_that_vanished_is_named_with_the_entries_around_it(
    stream: PageStream, store: SqlStore, settle: Settle, client: redis.Redis
) -> None:
    ids = _push(stream, 3)
    more = _push(stream, 3)
    settle(stream.read(2, 10))
    client.xdel(stream._key, ids[2], more[1])
    result = audit(stream, store)
    assert (result.balanced, result.difference, result.missing_count) == (False, 2, 2)
    assert [(one.serial, one.after, one.before) for one in result.missing] == [
        (3, ids[1], more[0]),
        (5, more[0], more[2]),
    ]
    assert "neither in the stream nor in the store" in result.explained[0]
    assert "payload 3 is missing" in result.explained[1]
    assert result.missing[0].after_at is not None
    assert result.missing[0].after_at in result.explained[1]


def test_what_vanished_is_named_while_more_arrives_and_without_a_neighbour(
    stream: PageStream, store: SqlStore, client: redis.Redis
) -> None:
    ids = _push(stream, 40)
    client.xdel(stream._key, *ids)
    result = audit(stream, store)
    assert [(one.serial, one.last, one.count, one.after, one.before) for one in result.missing] == [
        (1, 40, 40, None, None)
    ]
    assert "payloads 1 to 40 are missing" in result.explained[1]


def test_bare_entries_and_deliveries_without_a_number_do_not_confuse_the_search(
    stream: PageStream, store: SqlStore, settle: Settle, client: redis.Redis
) -> None:
    for _ in range(2):
        client.xadd(stream._key, {"v": "1", "source": "s", "body": "text"})
        _push(stream, 2)
    settle(stream.read(5, 10))
    ids = _push(stream, 3)
    client.xadd(stream._key, {"v": "1", "source": "s", "body": "text"})
    client.xdel(stream._key, *ids[:2])
    result = audit(stream, store)
    assert result.difference == 1  # the bare entry that waits hides one of the two until it is done
    assert [(one.serial, one.last, one.before) for one in result.missing] == [(5, 6, ids[2])]


def test_an_outcome_whose_entry_redis_forgot_is_named(stream: PageStream, store: SqlStore, settle: Settle) -> None:
    _push(stream, 2)
    settle(stream.read(2, 10))
    _noted(store, stream)
    epoch = stream.epoch()
    commit(store, moved(page("x", "t"), epoch=epoch, entry_id="5-5", serial=3))
    result = audit(stream, store)
    assert (result.balanced, result.difference) == (False, -1)
    assert [(one.entry, one.serial, one.why) for one in result.forgotten] == [("5-5", 3, "above")]
    assert "entry 5-5 of 1970-01-01T00:00:00.005+00:00" in result.explained[1]


def test_a_redis_that_lost_its_last_writes_and_gave_numbers_again_is_told(
    stream: PageStream, store: SqlStore, settle: Settle, client: redis.Redis
) -> None:
    first = _push(stream, 4)
    settle(stream.read(3, 10))
    _noted(store, stream)
    client.xdel(stream._key, *first)
    client.hset(stream._keys[1], mapping={"accepted": 1, "serial": 1})  # as after a fail-over to a copy of then
    again = _push(stream, 2)
    settle(stream.read(1, 10))
    result = audit(stream, store)
    assert (result.accepted, result.difference) == (4, -1)
    assert [(one.entry, one.serial, one.why) for one in result.forgotten] == [
        (first[1], 2, "twice"),
        (first[2], 3, "twice"),
    ]
    assert "Redis counts 3 accepted payloads where the store noted 4" in " ".join(result.explained)
    assert again[1] not in {one.entry for one in result.forgotten}


def test_an_entry_that_outlived_its_lease_is_named(stream: PageStream, store: SqlStore) -> None:
    stream._lease_ms = 0
    (entry,) = _push(stream, 1)
    stream.read(1, 10)
    result = audit(stream, store)
    assert result.balanced
    assert [(one.entry, one.consumer, one.deliveries) for one in result.overdue] == [(entry, "elsewhere|1|one|1", 1)]
    assert "is held for longer than its lease" in result.explained[0]


def test_a_lost_epoch_is_told(stream: PageStream, store: SqlStore) -> None:
    _push(stream, 1)
    commit(store, moved(page("1", "t"), epoch=OTHER))
    store.note_accepted(epoch=OTHER, accepted=4, first_waiting=None, now=NOW)
    result = audit(stream, store)
    assert (result.balanced, result.difference, result.accepted) == (False, 3, 5)
    assert OTHER in result.explained[0]


def test_a_bare_xadd_is_counted_later(stream: PageStream, store: SqlStore, client: redis.Redis) -> None:
    _push(stream, 1)
    client.xadd(stream._key, {"v": "1", "source": "s", "body": "text"})
    result = audit(stream, store)
    assert (result.balanced, result.accepted, result.in_stream) == (True, 2, 2)


def test_an_acknowledged_difference_balances_and_anything_beyond_it_does_not(
    stream: PageStream, store: SqlStore, client: redis.Redis
) -> None:
    store.note_accepted(epoch=OTHER, accepted=4, first_waiting=None, now=NOW)
    ids = _push(stream, 3)
    client.xdel(stream._key, ids[0])
    differences = acknowledge(stream, store, note="the power cut of May", now=NOW)
    assert differences == {OTHER: 4, stream.epoch(): 1}
    result = audit(stream, store)
    assert (result.balanced, result.acknowledged, result.difference) == (True, 5, 0)
    assert result.accepted == 7 == sum(result.outcomes.values()) + result.in_stream + result.acknowledged
    assert f"a difference of 4 in epoch {OTHER} is acknowledged: the power cut of May" in result.explained
    client.xdel(stream._key, ids[1])
    worse = audit(stream, store)
    assert (worse.balanced, worse.difference, worse.missing_count) == (False, 1, 2)
    assert acknowledge(stream, store, note="again", now=NOW) == {stream.epoch(): 1}
    assert audit(stream, store).balanced
    assert acknowledge(stream, store, note="again", now=NOW) == {}


def test_an_outcome_that_comes_late_needs_no_acknowledgement_any_more(stream: PageStream, store: SqlStore) -> None:
    store.note_accepted(epoch=OTHER, accepted=4, first_waiting=None, now=NOW)
    acknowledge(stream, store, note="the power cut of May", now=NOW)
    commit(store, moved(page("x", "t"), epoch=OTHER))
    result = audit(stream, store)
    assert (result.balanced, result.accepted, result.acknowledged) == (True, 4, 3)


def test_an_acknowledged_surplus_is_still_known_when_its_epoch_is_lost(
    stream: PageStream, store: SqlStore, client: redis.Redis
) -> None:
    epoch = stream.epoch()
    _push(stream, 2)
    commit(store, moved(page("x", "t"), epoch=epoch, entry_id="5-5"))
    _noted(store, stream)
    acknowledge(stream, store, note="a fail-over", now=NOW)
    assert audit(stream, store).balanced
    client.delete(stream._key)
    stream.epoch()
    assert audit(stream, store).difference == 2


class _Moving:
    """A stream in which something is pushed whenever somebody looks."""

    def __init__(self, stream: PageStream) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> object:
        if name == "snapshot":
            _push(self._stream, 1)
        return getattr(self._stream, name)


def test_while_producers_push_only_what_is_missing_for_sure_counts(
    stream: PageStream, store: SqlStore, settle: Settle, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.audit.sums.PAUSE_SECONDS", 0.0)
    ids = _push(stream, 3)
    settle(stream.read(1, 10), acked=False)
    busy = _Moving(stream)
    result = audit(busy, store)  # type: ignore[arg-type]
    assert (result.balanced, result.quiet) == (True, False)
    client.xdel(stream._key, *ids[1:])
    result = audit(busy, store)  # type: ignore[arg-type]
    assert result.difference == 1  # one of the two is hidden by the entry that is in both sums
    assert [(one.serial, one.last) for one in result.missing] == [(2, 3)]
    with pytest.raises(Transient, match="busy"):
        acknowledge(busy, store, note="x", now=NOW)  # type: ignore[arg-type]


def test_the_metrics_are_what_prometheus_reads(stream: PageStream, store: SqlStore, settle: Settle) -> None:
    ids = _push(stream, 3)
    settle(stream.read(1, 10))
    now = int(ids[1].split("-")[0]) / 1000 + 60
    drift = {"source": 'a "b"', "field": "title", "kind": "fill", "after": 0.1}
    text = exposition(audit(stream, store), [drift], now=now)
    read = {family.name: family for family in text_string_to_metric_families(text)}
    assert all(family.documentation for family in read.values())
    outcomes = {one.labels["outcome"]: one.value for one in read.pop("penstock_ledger_outcomes").samples}
    assert (outcomes["new"], outcomes["failed"]) == (1, 0)
    (drifted,) = read.pop("penstock_field_drift").samples
    assert (drifted.labels, drifted.value) == ({"source": 'a "b"', "field": "title", "kind": "fill"}, 0.1)
    assert {name.removeprefix("penstock_ledger_"): one.samples[0].value for name, one in read.items()} == {
        "accepted": 3,
        "stream": 2,
        "pending": 0,
        "parked": 0,
        "difference": 0,
        "acknowledged": 0,
        "balanced": 1,
        "oldest_entry_age_seconds": 60,
        "audit_timestamp_seconds": round(now, 3),
    }
