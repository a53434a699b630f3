"""The task functions on a real Redis and a real SQLite store, in this process."""

from __future__ import annotations

import gc
import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog

from tasks.base import Context, Limits
from tasks.compare import compare_due
from tasks.errors import (
    HostDown,
    MemoryLimit,
    ParserCrash,
    PenstockError,
    Permanent,
    Poison,
    SandboxAway,
    StoreUnavailable,
    Undecided,
)
from tasks.events import Event
from tasks.fetch import fetch_due
from tasks.ingest import next_count, pull
from tasks.manners import Manners
from tasks.notes import note_accepted
from tasks.ports import Entry, Settled
from tasks.retry import retry_due
from tasks.steps.page import Arrival, Outcome, PageResult, Payload, RetryArrival, SourceProfile
from tasks.steps.understand import understand
from tasks.upkeep import keep
from tests.support.corpus import page
from tests.support.hosts import Hosts, fetched
from worker.app import SystemClock
from worker.audit import acknowledge, audit
from worker.audit.watch import LedgerScales
from worker.host_gate import HostGate
from worker.sandbox import Sandbox
from worker.sources import SourceProfiles
from worker.store import FailureFilter, SqlStore, open_store
from worker.stream import PageStream, connect

_numbers = itertools.count()

SITE = SourceProfile(
    name="site",
    hosts=("site.example",),
    item_url="http://site.example/{id}",
    max_depth=2,
    max_attempts=3,
    delay_seconds=0,
)
LIMITS = Limits(
    max_body_bytes=1 << 20,
    batch_size=50,
    batch_bytes=1 << 20,
    batch_seconds=5.0,
    pull_seconds=0.05,
    max_deliveries=3,
    retry_base_us=0,
    retry_cap_us=0,
    retry_lease_us=60_000_000,
    fetch_batch=10,
    fetch_lease_us=60_000_000,
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    opened = open_store(f"sqlite:///{tmp_path / 'store.db'}")
    yield opened
    opened.close()


@pytest.fixture
def told() -> list[str]:
    """The error classes that were reported to Sentry."""
    return []


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    opened = Sandbox(page_seconds=2.0, memory=1 << 30, trial_seconds=20.0, stopping=lambda: False)
    opened.understand(Payload(source="site", body=_text(0)), SITE)  # started, since a pull here is short
    yield opened
    opened.close()


@pytest.fixture
def ctx(redis_url: str, store: SqlStore, sandbox: Sandbox, told: list[str]) -> Iterator[Context]:
    client = connect(redis_url)
    namespace = f"tasks-{os.getpid()}-{next(_numbers)}"
    stream = PageStream(client, namespace=namespace, high_water=1000, lease_ms=60_000, max_body=1 << 20)
    yield Context(
        store=store,
        stream=stream,
        scales=LedgerScales(stream, store),
        frontier=store,
        fetcher=Hosts({}),
        gate=HostGate(client, namespace, lease_us=60_000_000, now_us=SystemClock().now_us, draw=lambda: 0.5),
        manners=Manners(store, "penstock"),
        archive=None,
        profiles=SourceProfiles({"site": SITE}),
        clock=SystemClock(),
        limits=LIMITS,
        limited=nullcontext,
        sandbox=sandbox,
        worker="w",
        run="run",
        draw=lambda: 0.5,
        wait=lambda _: False,
        report=lambda error_class, *_, **__: told.append(error_class),
    )
    client.close()


def _text(number: int) -> bytes:
    return page((f"This is the text with the number {number}.",), (str(number + 1),))


def _push(ctx: Context, *bodies: bytes, **more: Any) -> list[str]:
    return ctx.stream.push(
        [Payload(source="site", item=str(number), body=body, **more) for number, body in enumerate(bodies)]
    )


def test_one_bad_page_harms_itself_only(ctx: Context, told: list[str]) -> None:
    _push(ctx, _text(1), b"\x00\xff\x00 no format at all", _text(2)[:-20], _text(3))
    assert pull(ctx) == {"new": 2, "failed": 2}
    assert pull(ctx) == {}
    assert sorted(told) == ["Truncated", "UnknownFormat"]


def test_a_bad_page_does_not_keep_its_batch_in_memory(ctx: Context) -> None:
    def held() -> list[Any]:
        return [one for one in gc.get_objects() if isinstance(one, Arrival | PenstockError)]

    _push(ctx, _text(1), _text(2)[:-20], b"{")
    gc.collect()
    gc.disable()
    try:
        before = held()  # other tests' own
        assert pull(ctx) == {"new": 1, "failed": 2}
        assert [one for one in held() if not any(one is other for other in before)] == []
    finally:
        gc.enable()


def test_a_bug_of_ours_that_one_page_meets_is_that_pages_failure(ctx: Context, store: SqlStore) -> None:
    odd = SourceProfile(name="odd", item_url=5, hosts=("site.example",))  # type: ignore[arg-type]
    profiles = SourceProfiles({"site": SITE, "odd": odd})
    _push(ctx, _text(1), _text(2))
    ctx.stream.push([Payload(source="odd", item="9", body=_text(3))])
    assert pull(replace(ctx, profiles=profiles)) == {"new": 2, "failed": 1}
    (failure,) = store.failures(FailureFilter())
    assert (failure["error_class"], failure["item"], failure["state"]) == ("ParserCrash", "9", "waiting")
    assert store.failure_payload(failure["id"]) == _text(3)
    assert retry_due(replace(ctx, profiles=profiles)) == {"failed_again": 2}  # its second and third try
    assert store.counts().failures == {"dead": 1}
    store.replay(FailureFilter(item="9"), now=ctx.clock.now_us())
    assert retry_due(ctx) == {"resolved": 1}


def test_an_entry_that_is_no_payload_is_kept_with_what_it_has(ctx: Context, store: SqlStore) -> None:
    assert isinstance(ctx.stream, PageStream)
    ctx.stream.epoch()
    ctx.stream._redis.xadd(ctx.stream._key, {"v": "9", "source": "site", "body": "what is this", "item": "4"})
    assert pull(ctx) == {"failed": 1}
    (failure,) = store.failures(FailureFilter())
    assert (failure["error_class"], failure["item"]) == ("Malformed", "4")
    assert store.failure_payload(failure["id"]) == b"what is this"


def test_a_page_that_was_delivered_too_often_is_poison_until_the_sandbox_understands_it(
    ctx: Context, store: SqlStore
) -> None:
    assert isinstance(ctx.stream, PageStream)
    _push(ctx, _text(1), _text(2))
    first, second = (entry.id for entry in ctx.stream.read(10, 10))
    me = ctx.stream.consumer
    ctx.stream.consumer = me.rsplit("|", 2)[0] + "|999999999|1"  # a process of this machine that has died
    ctx.stream._redis.xclaim(ctx.stream._key, "penstock", ctx.stream.consumer, 0, [first], retrycount=3)
    ctx.stream._redis.xclaim(ctx.stream._key, "penstock", ctx.stream.consumer, 0, [second], retrycount=1)
    ctx.stream.consumer = me
    assert pull(ctx) == {"failed": 1, "new": 1, "reclaimed": 2}
    (failure,) = store.failures(FailureFilter())
    assert (failure["error_class"], failure["item"]) == ("Poison", "0")
    assert store.failure_payload(failure["id"]) == _text(1)
    assert retry_due(ctx) == {"resolved": 1}


def test_an_entry_that_was_committed_but_not_acknowledged_is_not_applied_again(ctx: Context, store: SqlStore) -> None:
    assert isinstance(ctx.stream, PageStream)
    stream = ctx.stream
    _push(ctx, _text(1))

    class Forgetful(PageStream):
        def ack(self, entry_ids: Sequence[str]) -> None:
            """The process dies here."""

    forgetful = Forgetful(stream._redis, namespace="", high_water=1, lease_ms=1, max_body=1 << 20)
    forgetful._key, forgetful._keys = stream._key, stream._keys
    forgetful.consumer = stream.consumer.rsplit("|", 2)[0] + "|999999999|1"
    assert pull(replace(ctx, stream=forgetful))["new"] == 1
    assert stream.snapshot().pending == 1
    before = store.counts()
    assert pull(ctx) == {"reclaimed": 1}
    assert (store.counts(), stream.snapshot().length) == (before, 0)


class _Judge:
    """A sandbox that answers with what the test has for it, one answer a call."""

    def __init__(self, *answers: PageResult | PenstockError) -> None:
        self._answers = list(answers)

    def understand(self, payload: Payload, profile: SourceProfile) -> PageResult:
        answer = self._answers.pop(0) if self._answers else understand(payload, profile)
        if isinstance(answer, PenstockError):
            raise answer
        return answer


def _abandoned(ctx: Context, *entries: str) -> None:
    """Make entries those of a process of this machine that has died with them."""
    assert isinstance(ctx.stream, PageStream)
    dead = ctx.stream.consumer.rsplit("|", 2)[0] + "|999999999|1"
    ctx.stream._redis.xclaim(ctx.stream._key, "penstock", dead, 0, list(entries), justid=True)


def test_a_page_that_was_delivered_before_is_parsed_in_the_sandbox_and_alone(ctx: Context, store: SqlStore) -> None:
    _push(ctx, _text(1), _text(2), _text(3))
    _abandoned(ctx, *(entry.id for entry in ctx.stream.read(10, 10)))
    _push(ctx, _text(4))
    assert pull(replace(ctx, sandbox=_Judge(Poison("killed")))) == {"failed": 1, "new": 3, "reclaimed": 3}
    (failure,) = store.failures(FailureFilter())
    assert (failure["error_class"], failure["item"], failure["message"]) == ("Poison", "0", "killed")


def test_a_suspect_without_a_verdict_waits_and_new_pages_go_on(ctx: Context, store: SqlStore) -> None:
    assert isinstance(ctx.stream, PageStream)
    _push(ctx, _text(1), _text(2))
    _abandoned(ctx, *(entry.id for entry in ctx.stream.read(10, 10)))
    _push(ctx, _text(3))
    assert pull(replace(ctx, sandbox=_Judge(Undecided()))) == {"new": 1}
    assert pull(replace(ctx, sandbox=_Judge(SandboxAway()))) == {}
    assert ctx.stream.snapshot().pending == 2
    assert pull(ctx) == {"revision": 1, "new": 1, "reclaimed": 2}  # the first item was pushed twice
    assert store.counts().failures == {}


def test_a_sandbox_that_is_away_uses_up_no_delivery(ctx: Context) -> None:
    _push(ctx, _text(1))
    _abandoned(ctx, *(entry.id for entry in ctx.stream.read(10, 10)))
    for _ in range(LIMITS.max_deliveries + 2):
        assert pull(replace(ctx, sandbox=_Judge(SandboxAway()))) == {}
    assert pull(ctx) == {"new": 1, "reclaimed": 1}


def test_a_page_that_takes_too_much_memory_here_is_judged_in_the_sandbox(ctx: Context, store: SqlStore) -> None:
    @contextmanager
    def full() -> Iterator[None]:
        raise MemoryError
        yield

    _push(ctx, _text(1), _text(2))
    judge = _Judge(MemoryLimit("MemoryError: "))
    assert pull(replace(ctx, limited=full, sandbox=judge)) == {"failed": 1, "new": 1}
    (failure,) = store.failures(FailureFilter())
    assert (failure["error_class"], failure["item"]) == ("MemoryLimit", "0")


class _Away:
    """A store that does not answer for a while."""

    def __init__(self, store: SqlStore, *, commits: int = 0, pings: int = 0) -> None:
        self._store, self._commits, self._pings = store, commits, pings

    def ping(self) -> None:
        self._pings -= 1
        if self._pings >= 0:
            raise StoreUnavailable

    def commit(self, arrivals: Sequence[Arrival], *, worker: str, now: int) -> list[Settled]:
        self._commits -= 1
        if self._commits >= 0:
            raise StoreUnavailable
        return self._store.commit(arrivals, worker=worker, now=now)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def test_while_the_store_is_away_nothing_is_read(ctx: Context, store: SqlStore) -> None:
    assert isinstance(ctx.stream, PageStream)
    _push(ctx, _text(1))
    with pytest.raises(StoreUnavailable):
        pull(replace(ctx, store=_Away(store, pings=1)))
    assert (ctx.stream.snapshot().pending, ctx.stream.snapshot().length) == (0, 1)


def test_a_batch_in_hand_waits_for_a_store_that_went_away(ctx: Context, store: SqlStore) -> None:
    assert isinstance(ctx.stream, PageStream)
    _push(ctx, _text(1), _text(2))
    assert pull(replace(ctx, store=_Away(store, commits=10))) == {"new": 2}
    assert ctx.stream.snapshot().length == 0


def test_a_stop_gives_the_batch_in_hand_back(ctx: Context, store: SqlStore) -> None:
    assert isinstance(ctx.stream, PageStream)
    _push(ctx, _text(1))
    stopped = iter([False] * 3 + [True] * 100)
    with pytest.raises(StoreUnavailable):
        pull(replace(ctx, store=_Away(store, commits=10), wait=lambda _: next(stopped)))
    assert ctx.stream.snapshot().pending == 1


def test_a_store_that_takes_no_writes_for_long_makes_no_page_a_suspect(ctx: Context, store: SqlStore) -> None:
    _push(ctx, _text(1), _text(2))
    refusing = replace(ctx, store=_Away(store, commits=100), wait=lambda seconds: seconds > 0)
    for _ in range(25):
        with pytest.raises(StoreUnavailable):
            pull(refusing)
    assert pull(ctx) == {"reclaimed": 2, "new": 2}


def test_a_redis_that_lost_its_last_writes_goes_on_from_the_number_that_was_noted(
    ctx: Context, store: SqlStore
) -> None:
    assert isinstance(ctx.stream, PageStream)
    (lost,) = _push(ctx, _text(1))
    note_accepted(ctx)
    ctx.stream._redis.xdel(ctx.stream._key, lost)
    ctx.stream._redis.hset(ctx.stream._keys[1], mapping={"accepted": 0, "serial": 0})
    note_accepted(ctx)
    _push(ctx, _text(2))
    pull(ctx)
    found = audit(ctx.stream, store)
    assert (found.balanced, found.difference, found.missing_count) == (False, 1, 1)


def test_a_retry_that_could_not_be_tried_costs_no_attempt(ctx: Context, store: SqlStore) -> None:
    _push(ctx, _text(1)[:-20])
    pull(ctx)
    store.replay(FailureFilter(), now=ctx.clock.now_us())
    for _ in range(25):
        with pytest.raises(SandboxAway):
            retry_due(replace(ctx, sandbox=_Judge(SandboxAway())))
    assert retry_due(ctx) == {"failed_again": 1}
    assert store.failures(FailureFilter())[0]["attempts"] == 1


def test_reads_grow_while_pages_are_small_and_shrink_for_large_and_slow_ones() -> None:
    def after(count: int, size: int, seconds: float) -> int:
        return next_count(LIMITS, count, [Entry("1-1", "e", {b"body": b"x" * size})] * count, seconds)

    assert after(16, 5_000, 0.1) == 32
    assert after(50, 5_000, 0.1) == LIMITS.batch_size
    assert after(16, LIMITS.batch_bytes // 4, 0.1) == 4
    assert after(16, LIMITS.batch_bytes * 2, 0.1) == 1
    assert after(16, 5_000, 40.0) == 2
    assert next_count(LIMITS, 7, [], 1.0) == 7


class _Picky:
    """A store that refuses one page for good, as a database does with a value that it cannot hold."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store

    def commit(self, arrivals: Sequence[Arrival], *, worker: str, now: int) -> list[Settled]:
        if any(isinstance(one.result, PageResult) and one.payload.item == "1" for one in arrivals):
            message = "the value is too strange"
            raise Permanent(message)
        return self._store.commit(arrivals, worker=worker, now=now)

    def commit_retry(self, retry: RetryArrival, *, worker: str, now: int) -> Outcome | None:
        if isinstance(retry.result, PageResult):
            message = "the value is too strange"
            raise Permanent(message)
        return self._store.commit_retry(retry, worker=worker, now=now)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def test_a_page_that_the_store_refuses_is_a_failure_and_its_batch_is_stored(ctx: Context, store: SqlStore) -> None:
    _push(ctx, _text(1), _text(2), _text(3))
    assert pull(replace(ctx, store=_Picky(store))) == {"new": 2, "failed": 1}
    (failure,) = store.failures(FailureFilter())
    assert (failure["error_class"], failure["item"]) == (ParserCrash.__name__, "1")
    assert "too strange" in failure["message"]
    store.replay(FailureFilter(), now=ctx.clock.now_us())
    assert retry_due(replace(ctx, store=_Picky(store))) == {"failed_again": 1}
    assert store.counts().failures == {"dead": 1}
    store.replay(FailureFilter(), now=ctx.clock.now_us())
    assert retry_due(ctx) == {"resolved": 1}


def test_a_failure_of_an_older_parser_is_tried_again_by_itself(
    ctx: Context, store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    _push(ctx, b"one day penstock will understand this")
    assert pull(ctx) == {"failed": 1}
    assert retry_due(ctx) == {}
    versions = {"none": 2, "vardump": 1, "json": 1, "html": 1}
    monkeypatch.setattr("tasks.retry.PARSER_VERSIONS", versions)
    monkeypatch.setattr("tasks.steps.understand.PARSER_VERSIONS", versions)
    assert retry_due(ctx) == {"failed_again": 1}
    monkeypatch.setattr("tasks.retry.PARSER_VERSIONS", versions | {"none": 3})
    assert retry_due(replace(ctx, sandbox=_Knowing())) == {"resolved": 1}
    assert store.counts().failures == {"resolved": 1}
    assert store.counts().outcomes["new"] == 1
    assert store.counts().outcomes["failed"] == 0


class _Knowing:
    """A sandbox with a parser that understands everything."""

    def understand(self, payload: Payload, profile: SourceProfile) -> PageResult:
        return understand(replace(payload, body=_text(9)), profile)


def test_a_truncated_page_with_a_url_is_fetched_again_and_given_up_in_the_end(
    ctx: Context, store: SqlStore, told: list[str]
) -> None:
    _push(ctx, _text(1)[:-20], url="http://site.example/0")
    assert pull(ctx) == {"failed": 1}
    assert (store.counts().failures, told) == ({"waiting": 1}, [])
    assert retry_due(ctx)["failed_again"] >= 1
    while store.counts().failures == {"waiting": 1}:
        retry_due(ctx)
    assert (store.counts().failures, told) == ({"dead": 1}, ["Truncated"])
    assert store.counts().items["due"] == 1


def test_a_host_that_is_down_costs_its_items_no_attempt(ctx: Context, store: SqlStore) -> None:
    _push(ctx, _text(1))
    pull(ctx)
    down = replace(ctx, fetcher=Hosts({"http://site.example/2": HostDown("refused", status=None)}))
    for _ in range(SITE.max_attempts + 1):  # once more, and the breaker of the host opens
        assert fetch_due(down)["retry_later"] >= 1
    answer = fetched("http://site.example/2", _text(2))
    assert fetch_due(replace(ctx, fetcher=Hosts({answer.url: answer}))) == {"fetched": 1}
    assert pull(ctx) == {"new": 1}
    record = store.page_record("site", "2")
    assert record is not None
    assert (record["depth"], record["parent"], record["url"]) == (1, "0", "http://site.example/2")


def test_a_fault_of_ours_in_one_fetch_leaves_the_others_alone(ctx: Context, store: SqlStore) -> None:
    _push(ctx, page(("A page that names two items.",), ("2", "3")))
    pull(ctx)
    answer = fetched("http://site.example/3", _text(3))
    once = replace(LIMITS, pull_seconds=10.0, retry_base_us=60_000_000, retry_cap_us=60_000_000)
    wide = SourceProfiles({"site": replace(SITE, concurrency=2)})
    hosts = Hosts({"http://site.example/2": RuntimeError("a bug"), answer.url: answer})
    assert fetch_due(replace(ctx, fetcher=hosts, limits=once, profiles=wide)) == {"retry_later": 1, "fetched": 1}
    (failure,) = store.failures(FailureFilter())
    assert (failure["error_class"], failure["item"], failure["attempts"]) == ("HttpError", "2", 1)
    assert "RuntimeError: a bug" in failure["message"]


def _now() -> Any:
    from datetime import UTC, datetime  # noqa: PLC0415

    return datetime.now(UTC)


def test_every_line_and_report_about_a_page_has_ids_that_a_trace_knows(ctx: Context, store: SqlStore) -> None:
    reports: list[dict[str, Any]] = []
    watched = replace(ctx, report=lambda error_class, *_, **ids: reports.append({"error_class": error_class, **ids}))
    (entry,) = _push(ctx, _text(1)[:-20], url="http://site.example/0")
    with structlog.testing.capture_logs() as lines:
        pull(watched)
        while store.counts().failures == {"waiting": 1}:
            retry_due(watched)
        store.replay(FailureFilter(item="0"), now=ctx.clock.now_us())
        retry_due(watched)
    about = [line for line in lines if line["event"] == Event.FAILURE_KEPT]
    assert len(about) > SITE.max_attempts
    assert [(one["error_class"], one["item"]) for one in reports] == [("Truncated", "0")] * 2  # after the last attempts
    assert {(one["entry"], one["failure"]) for one in (*about, *reports)} == {(entry, 1)}
    by_entry, by_failure = store.trace(entry), store.trace("1")
    assert by_entry == by_failure
    assert by_entry[0]["identity"] == "site/0"
    assert {step["entry"] for step in by_entry[0]["steps"] if step["step"] == "retried"} == {entry}


def test_upkeep_says_once_that_the_ledger_is_out_of_balance(ctx: Context, store: SqlStore, told: list[str]) -> None:
    assert isinstance(ctx.stream, PageStream)
    ids = _push(ctx, _text(1), _text(2), _text(3))
    with structlog.testing.capture_logs() as lines:
        for minute, lost in enumerate([[], ids[:1], [], ids[1:2], []]):
            for entry in lost:
                ctx.stream._redis.xdel(ctx.stream._key, entry)
            keep(replace(ctx, clock=_Later(minute * 60)))
            keep(replace(ctx, clock=_Later(minute * 60 + 1)))  # the turn is taken
        acknowledge(ctx.stream, store, note="deleted by hand", now=ctx.clock.now_us())
        keep(replace(ctx, clock=_Later(600)))
    of_ledger = [line for line in lines if line["event"].startswith("ledger.")]
    assert [(line["event"], line["log_level"], line.get("difference")) for line in of_ledger] == [
        (Event.LEDGER_UNBALANCED, "error", 1),
        (Event.LEDGER_UNBALANCED, "error", 2),
        (Event.LEDGER_BALANCED, "info", None),
    ]
    assert told == ["LedgerUnbalanced"]


class _Later(SystemClock):
    """A clock that is ahead by so many seconds."""

    def __init__(self, seconds: int) -> None:
        self._ahead = seconds * 1_000_000

    def now_us(self) -> int:
        return super().now_us() + self._ahead


def test_upkeep_deletes_old_deliveries_but_none_that_waits_in_the_stream(ctx: Context, store: SqlStore) -> None:
    _push(ctx, _text(1), _text(2))
    assert pull(ctx) == {"new": 2}
    _push(ctx, _text(3))
    later = replace(ctx, clock=_Later(91 * 86_400))
    assert keep(later)["deliveries_pruned"] == 2
    assert pull(later) == {"revision": 1}
    assert keep(replace(ctx, clock=_Later(92 * 86_400)))["deliveries_pruned"] == 0  # it was handled just now
    assert audit(ctx.stream, store).balanced  # type: ignore[arg-type]


def test_texts_are_compared_a_portion_at_a_time_until_none_is_due(
    ctx: Context, store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.store.near.PORTION", 2)
    _push(ctx, *_alike(5))
    assert pull(ctx) == {"new": 5}
    rests: list[float] = []

    def rest(seconds: float) -> bool:
        rests.append(seconds)
        return False

    assert compare_due(replace(ctx, wait=rest)) == {"texts_compared": 5}
    assert len(rests) == 2
    assert compare_due(ctx) == {}
    assert sorted(len(one["near_duplicates"]) for one in store.export()) == [4] * 5


def test_a_worker_that_is_to_stop_compares_no_more(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.store.near.PORTION", 1)
    _push(ctx, *_alike(3))
    assert pull(ctx) == {"new": 3}
    assert compare_due(replace(ctx, wait=lambda _: True)) == {"texts_compared": 1}


def _alike(count: int) -> list[bytes]:
    words = " ".join(f"word{at}" for at in range(60))
    return [page((f"{words} {at}",), ()) for at in range(count)]
