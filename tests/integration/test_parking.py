"""Paused sources: what is refused, parked and taken up again, on a real Redis and a real SQLite store."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis

from tasks.base import Context
from tasks.errors import SourcePaused, StoreUnavailable, StreamFull
from tasks.ingest import pull
from tasks.pausing import FailureWatch, keep_pauses
from tasks.ports import Ceiling
from tasks.retry import retry_due
from tasks.steps.page import Payload
from tests.support.corpus import page
from worker.app import build_context
from worker.audit import audit
from worker.runtime import runtime
from worker.store import SourceChange, SqlStore
from worker.stream import GROUP, PageStream

_numbers = itertools.count()


@pytest.fixture
def told() -> list[str]:
    """What was reported to Sentry."""
    return []


@pytest.fixture
def ctx(redis_url: str, tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    settings = {
        "HOME": str(tmp_path),
        "REDIS_URL": redis_url,
        "NAMESPACE": f"parking-{os.getpid()}-{next(_numbers)}",
        "PULL_SECONDS": "0.05",
        "FAILURE_CEILING_LEAST": "4",
    }
    for name, value in settings.items():
        monkeypatch.setenv(f"PENSTOCK_{name}", value)
    runtime.cache_clear()
    built = build_context()
    yield replace(built, report=lambda error_class, *_, **ids: told.append(f"{error_class} {ids.get('source')}"))
    built.sandbox.close()  # type: ignore[attr-defined]
    built.store.close()  # type: ignore[attr-defined]
    runtime.cache_clear()


def streamed(ctx: Context) -> PageStream:
    assert isinstance(ctx.stream, PageStream)
    return ctx.stream


def stored(ctx: Context) -> SqlStore:
    assert isinstance(ctx.store, SqlStore)
    return ctx.store


def push(ctx: Context, source: str, *items: str, good: bool = True, **more: Any) -> list[str]:
    bodies = {item: page((f"The text of page {item}.",), ()) if good else b"\x00 no format %r" % item for item in items}
    return ctx.stream.push([Payload(source=source, item=item, body=body) for item, body in bodies.items()], **more)


def pause(ctx: Context, source: str) -> None:
    stored(ctx).pause_source(source, _change(ctx))
    ctx.stream.set_paused(ctx.store.paused_sources())


def resume(ctx: Context, source: str) -> None:
    stored(ctx).resume_source(source, _change(ctx), epoch=ctx.stream.epoch())
    ctx.stream.set_paused(ctx.store.paused_sources())


def _change(ctx: Context) -> SourceChange:
    return SourceChange("a test", "ada", ctx.clock.now_us(), {})


def test_push_refuses_a_paused_source_and_says_why_and_what_to_do(ctx: Context) -> None:
    pause(ctx, "bad")
    with pytest.raises(SourcePaused, match=r"bad is paused: a test\. .*'penstock sources resume bad' and push again"):
        push(ctx, "bad", "1")
    assert push(ctx, "good", "1")
    with pytest.raises(SourcePaused):  # all of a batch or none of it
        ctx.stream.push([Payload(source="good", body=b"x"), Payload(source="bad", body=b"x")])
    assert streamed(ctx).snapshot().accepted == 1
    resume(ctx, "bad")
    assert push(ctx, "bad", "1")


def test_the_pages_of_a_paused_source_are_parked_and_taken_up_when_it_is_resumed(ctx: Context) -> None:
    push(ctx, "bad", "1", "2")
    push(ctx, "good", "3")
    pause(ctx, "bad")
    assert pull(ctx) == {"new": 1, "parked": 2}
    assert pull(ctx) == {}
    snapshot = streamed(ctx).snapshot()
    assert (snapshot.length, snapshot.pending, snapshot.parked) == (2, 0, 2)
    assert streamed(ctx).parked() == {"bad": 2}
    assert audit(streamed(ctx), stored(ctx)).balanced
    resume(ctx, "bad")
    assert streamed(ctx).snapshot().parked == 0
    assert pull(ctx) == {"new": 2}
    assert (streamed(ctx).snapshot().length, streamed(ctx).parked()) == (0, {})
    assert audit(streamed(ctx), stored(ctx)).balanced


def test_a_parked_page_keeps_its_id_its_number_and_its_count_of_deliveries(ctx: Context, client: redis.Redis) -> None:
    stream = streamed(ctx)
    (entry_id,) = push(ctx, "bad", "1")
    (before,) = stream.read(1, 10)
    pause(ctx, "bad")
    stream.park([replace(before, deliveries=3)])
    place = stream.find(entry_id)
    assert place is not None
    assert (place.parked, place.holder, place.deliveries) == (True, "bad", 2)
    resume(ctx, "bad")
    (after,) = stream.read(1, 10)
    assert (after.id, after.epoch, after.serial, after.fields) == (before.id, before.epoch, 1, before.fields)
    assert after.deliveries == 3
    assert client.xpending(stream._key, GROUP)["pending"] == 1


def test_a_bare_xadd_is_parked_and_still_counted_when_it_is_done(ctx: Context, client: redis.Redis) -> None:
    stream = streamed(ctx)
    stream.epoch()
    client.xadd(stream._key, {"v": "1", "source": "bad", "item": "1", "body": page(("A text.",), ())})
    pause(ctx, "bad")
    assert pull(ctx) == {"parked": 1}
    assert (stream.snapshot().accepted, stream.uncounted()) == (0, 1)
    resume(ctx, "bad")
    assert pull(ctx) == {"new": 1}
    assert (stream.snapshot().accepted, stream.snapshot().length) == (1, 0)
    assert audit(stream, stored(ctx)).balanced


def test_parked_pages_count_for_the_high_water_mark(ctx: Context) -> None:
    stream = streamed(ctx)
    stream._intake._high_water = 3
    push(ctx, "bad", "1", "2", "3")
    pause(ctx, "bad")
    pull(ctx)
    with pytest.raises(StreamFull, match="high-water mark"):
        push(ctx, "good", "1")


def test_a_full_redis_parks_and_resumes_and_loses_nothing(ctx: Context, client: redis.Redis) -> None:
    ids = push(ctx, "bad", *map(str, range(20)))
    stream = streamed(ctx)
    entries = stream.read(20, 10)
    pause(ctx, "bad")
    client.config_set("maxmemory", 1)
    try:
        with pytest.raises(redis.OutOfMemoryError):
            client.xadd(stream._key, {"v": "1"})
        stream.park(entries)
        assert stream.parked() == {"bad": 20}
        resume(ctx, "bad")
        assert [entry.id for entry in stream.read(50, 10)] == ids
    finally:
        client.config_set("maxmemory", 0)
    assert stream.parked() == {}


def test_a_page_is_parked_or_in_a_workers_hands_and_never_both(ctx: Context, client: redis.Redis) -> None:
    """Parking is one script. What does not exist any more is in neither place, and the others are parked."""
    stream = streamed(ctx)
    ids = push(ctx, "bad", "1", "2", "3")
    entries = stream.read(10, 10)
    client.xdel(stream._key, ids[1])
    stream.park(entries)
    stream.park(entries)
    assert stream.parked() == {"bad": 2}
    assert stream.pending_ids() == []
    stream.set_paused({})  # none of this source is paused: they come back at once
    assert [entry.id for entry in stream.read(10, 10)] == [ids[0], ids[2]]
    assert (stream.parked(), stream.pending_ids()) == ({}, [ids[0], ids[2]])


def test_an_entry_that_another_worker_parked_is_gone_when_its_first_worker_is_done(ctx: Context) -> None:
    stream = streamed(ctx)
    (entry_id,) = push(ctx, "bad", "1")
    entries = stream.read(1, 10)
    pause(ctx, "bad")
    stream.park(entries)
    stream.ack([entry_id])
    assert (stream.snapshot().length, stream.parked()) == (0, {})


def test_what_was_committed_and_not_acknowledged_is_acknowledged_and_not_parked(ctx: Context) -> None:
    stream = streamed(ctx)
    push(ctx, "bad", "1")

    class Forgetful(PageStream):
        def ack(self, entry_ids: Any) -> None:
            """The process dies here."""

    forgetful = Forgetful(stream._redis, namespace="", high_water=1, lease_ms=1, max_body=1 << 20)
    forgetful._key, forgetful._keys = stream._key, stream._keys
    forgetful.consumer = stream.consumer.rsplit("|", 2)[0] + "|999999999|1"
    assert pull(replace(ctx, stream=forgetful))["new"] == 1
    pause(ctx, "bad")
    stream._look(0)
    assert pull(ctx) == {"reclaimed": 1}
    assert (stream.snapshot().length, stream.parked()) == (0, {})


def test_a_lost_copy_of_what_is_paused_is_made_again_by_upkeep(ctx: Context, client: redis.Redis) -> None:
    pause(ctx, "bad")
    client.delete(streamed(ctx)._keys[2])
    assert push(ctx, "bad", "1")
    keep_pauses(ctx, epoch=ctx.stream.epoch())
    with pytest.raises(SourcePaused):
        push(ctx, "bad", "2")
    assert pull(ctx) == {"parked": 1}


def test_a_source_that_fails_past_the_ceiling_is_paused_and_told_once(ctx: Context, told: list[str]) -> None:
    push(ctx, "bad", *map(str, range(4)), good=False)
    push(ctx, "good", "1")
    assert pull(ctx) == {"failed": 4, "new": 1}
    assert ctx.store.paused_sources() == {"bad": "4 of its last 4 pages failed (100 %)"}
    assert told == ["UnknownFormat bad"] * 4 + ["SourcePaused bad"]
    with pytest.raises(SourcePaused, match="4 of its last 4 pages failed"):
        push(ctx, "bad", "9")
    push(ctx, "bad", "9", even_paused=True)
    push(ctx, "good", "2")
    assert pull(ctx) == {"new": 1, "parked": 1}


def test_a_source_is_paused_by_failures_of_a_batch_that_mostly_went_well(ctx: Context) -> None:
    push(ctx, "bad", *map(str, range(3)), good=False)
    pull(ctx)
    push(ctx, "bad", "3", good=False)
    push(ctx, "bad", "4", "5")
    assert pull(ctx) == {"failed": 1, "new": 2}
    assert ctx.store.paused_sources() == {"bad": "4 of its last 6 pages failed (66 %)"}


class _Asked:
    """A store that is away at first, and a clock that stands; notes the sources that it was asked about."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.now = 100.0
        self.away = True

    def pause_past_ceiling(self, sources: list[str], *_: object, **__: object) -> list[str]:
        self.asked.append(sorted(sources))
        if self.away:
            raise StoreUnavailable
        return []

    def now_us(self) -> int:
        return round(self.now * 1_000_000)

    def monotonic(self) -> float:
        return self.now


def test_the_ceiling_is_asked_for_at_once_then_once_a_second_and_in_the_end(ctx: Context) -> None:
    world = _Asked()
    watch = FailureWatch(replace(ctx, store=world, clock=world))  # type: ignore[arg-type]
    watch.look()
    watch.note("a", "e")
    watch.look()
    watch.note("b", "e")
    watch.look()
    assert world.asked == [["a"]]
    world.now, world.away = 101.5, False
    watch.look()
    watch.note("c", "e")
    watch.look()
    assert world.asked == [["a"], ["a", "b"]]
    watch.look(at_once=True)
    watch.look(at_once=True)
    assert world.asked == [["a"], ["a", "b"], ["c"]]


def test_below_the_ceiling_no_source_is_paused(ctx: Context, told: list[str]) -> None:
    strict = replace(ctx, limits=replace(ctx.limits, ceiling=Ceiling(share=1.0, least=4)))
    push(ctx, "bad", *map(str, range(4)), good=False)
    push(ctx, "bad", "good one")
    assert pull(strict) == {"failed": 4, "new": 1}
    assert ctx.store.paused_sources() == {}
    assert "SourcePaused bad" not in told


def test_a_newer_parser_resumes_the_source_and_its_failures_are_tried_again(
    ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(ctx, "bad", *map(str, range(4)), good=False)
    pull(ctx)
    push(ctx, "bad", "9", even_paused=True)
    assert pull(ctx) == {"parked": 1}
    assert keep_pauses(ctx, epoch=ctx.stream.epoch()) == {"sources_resumed": 0}
    assert retry_due(ctx) == {}
    newer = {"none": 2, "vardump": 1, "json": 1, "html": 1}
    for place in ("tasks.pausing", "tasks.retry", "tasks.steps.understand"):
        monkeypatch.setattr(f"{place}.PARSER_VERSIONS", newer)
    assert keep_pauses(ctx, epoch=ctx.stream.epoch()) == {"sources_resumed": 1}
    assert pull(ctx) == {"new": 1}
    assert retry_due(ctx)["failed_again"] >= 1
