from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
import redis

from tasks.errors import SourcePaused, StreamFull
from tasks.steps.page import Payload
from tasks.steps.payload import decode_fields
from tests.support.crawl import wait_for
from worker.producer import BATCH_PAGES, Producer
from worker.stream import PageStream

BODY = b"The ferry was late. " * 200
_numbers = itertools.count()

OpenProducer = Callable[..., Producer]


@pytest.fixture
def namespace() -> str:
    return f"push-{os.getpid()}-{next(_numbers)}"


@pytest.fixture
def stream(client: redis.Redis, namespace: str) -> PageStream:
    return PageStream(client, namespace=namespace, high_water=100_000, lease_ms=60_000, max_body=1 << 20)


@pytest.fixture
def open_producer(redis_url: str, namespace: str) -> Iterator[OpenProducer]:
    opened: list[Producer] = []

    def open_one(*, high_water: int = 100_000, wait: bool = False) -> Producer:
        opened.append(Producer(redis_url, namespace=namespace, high_water=high_water, wait=wait))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


def _page(number: int, *, source: str = "s") -> Payload:
    return Payload(source=source, item=str(number), body=b"text")


def _items(stream: PageStream) -> list[str | None]:
    """Return the items of all that waits in the stream, in order."""
    return [decode_fields(entry.fields, max_body=100_000).item for entry in stream.read(100_000, 10)]


def test_pages_with_other_fields_come_out_of_one_push_as_they_went_in(stream: PageStream) -> None:
    payloads = [
        Payload(source="a", body=b"1", item="7"),
        Payload(source="b", body=b"2", item="8"),
        Payload(source="a", body=b"3", url="http://host/", fetched_at=datetime(2024, 5, 1, tzinfo=UTC), depth=2),
        Payload(source="a", body=b"4", item="7", extra={"colour": "red"}),
        Payload(source="a", body=BODY, item="9"),
        Payload(source="c", body=b"5"),
    ]
    ids = stream.push(payloads)
    entries = stream.read(10, 10)
    assert [entry.id for entry in entries] == ids
    assert [decode_fields(entry.fields, max_body=100_000) for entry in entries] == payloads
    assert [entry.serial for entry in entries] == [1, 2, 3, 4, 5, 6]
    assert stream.snapshot().accepted == 6


def test_a_body_is_packed_unless_its_producer_does_not_want_it(stream: PageStream) -> None:
    stream.push([Payload(source="s", body=BODY)])
    stream.push([Payload(source="s", body=BODY)], compress=False)
    packed, plain = stream.read(10, 10)
    assert len(packed.fields[b"body"]) < len(BODY) / 10
    assert plain.fields[b"body"] == BODY
    assert decode_fields(packed.fields, max_body=100_000).body == BODY


def test_a_redis_that_forgot_the_scripts_is_told_them_again(
    open_producer: OpenProducer, stream: PageStream, client: redis.Redis
) -> None:
    client.script_flush()
    stream.push([_page(1)])
    client.script_flush()
    assert open_producer().push_all([_page(2)]) == 1
    client.script_flush()
    entries = stream.read(10, 10)
    client.script_flush()
    stream.ack([entry.id for entry in entries])
    assert (stream.snapshot().accepted, stream.snapshot().length) == (2, 0)


def test_any_number_of_pages_arrive_in_order_and_are_numbered_without_a_gap(
    open_producer: OpenProducer, stream: PageStream
) -> None:
    count = 2 * BATCH_PAGES + 7
    assert open_producer().push_all(map(_page, range(count))) == count
    assert [serial for _, _, serial in stream.numbers()] == list(range(1, count + 1))
    assert _items(stream) == [str(number) for number in range(count)]


def test_pages_are_read_no_further_ahead_than_one_batch(open_producer: OpenProducer, stream: PageStream) -> None:
    ahead: list[int] = []

    def pages() -> Iterator[Payload]:
        for number in range(4 * BATCH_PAGES):
            if number % BATCH_PAGES == BATCH_PAGES - 1:
                ahead.append(number - stream.snapshot().length)
            yield _page(number)

    open_producer().push_all(pages())
    assert max(ahead) < 2 * BATCH_PAGES


def test_what_was_sent_before_the_reading_failed_is_in_the_stream(
    open_producer: OpenProducer, stream: PageStream
) -> None:
    def pages() -> Iterator[Payload]:
        yield from map(_page, range(BATCH_PAGES + 1))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_producer().push_all(pages())
    assert stream.snapshot().length == BATCH_PAGES


def test_a_push_that_is_interrupted_counts_what_was_under_way(stream: PageStream) -> None:
    taken: list[str] = []

    def batches() -> Iterator[list[Payload]]:
        yield [_page(1)]
        yield [_page(2)]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stream.push_each(batches(), otherwise=stream.push, taken=taken.extend)
    assert taken == [name for name, _, _ in stream.numbers()]
    assert len(taken) == 2


def test_a_stream_that_fills_up_holds_the_first_pages_and_no_others(
    open_producer: OpenProducer, stream: PageStream
) -> None:
    with pytest.raises(StreamFull, match="high-water mark"):
        open_producer(high_water=BATCH_PAGES + 1).push_all(map(_page, range(5 * BATCH_PAGES)))
    assert _items(stream) == [str(number) for number in range(2 * BATCH_PAGES)]


def test_a_producer_that_waits_pushes_all_once_and_in_order(open_producer: OpenProducer, stream: PageStream) -> None:
    count = 4 * BATCH_PAGES
    pushed: list[int] = []
    producer = open_producer(high_water=BATCH_PAGES, wait=True)
    pushing = threading.Thread(target=lambda: pushed.append(producer.push_all(map(_page, range(count)))))
    pushing.start()
    got: list[str | None] = []
    while len(got) < count:
        entries = stream.read(BATCH_PAGES, 5_000)
        assert entries, "the producer stands still"
        got += [decode_fields(entry.fields, max_body=100).item for entry in entries]
        stream.ack([entry.id for entry in entries])
    pushing.join()
    assert pushed == [count]
    assert got == [str(number) for number in range(count)]


def test_a_paused_source_stops_the_push_behind_the_batches_before_it(
    open_producer: OpenProducer, stream: PageStream
) -> None:
    stream.epoch()
    stream.set_paused({"bad": "too many failures"})
    pages = [*map(_page, range(BATCH_PAGES)), _page(1, source="bad"), _page(2)]
    with pytest.raises(SourcePaused, match="the source bad is paused: too many failures"):
        open_producer().push_all(pages)
    assert _items(stream) == [str(number) for number in range(BATCH_PAGES)]


def test_pages_that_come_slowly_do_not_wait_for_a_whole_batch(
    open_producer: OpenProducer, stream: PageStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.producer.BATCH_SECONDS", 0.0)

    def pages() -> Iterator[Payload]:
        for number in range(4):
            yield _page(number)
            wait_for("the page to arrive", lambda: stream.snapshot().length == number + 1)  # noqa: B023 (called here)

    assert open_producer().push_all(pages()) == 4


def test_a_server_that_closes_idle_connections_does_not_disturb_a_producer_whose_pages_come_slowly(
    open_producer: OpenProducer, stream: PageStream, client: redis.Redis
) -> None:
    def pages() -> Iterator[Payload]:
        yield from map(_page, range(BATCH_PAGES))
        yield _page(BATCH_PAGES)
        wait_for("the first batch to arrive", lambda: stream.snapshot().length == BATCH_PAGES)
        client.client_kill_filter(_type="normal", skipme=True)
        yield _page(BATCH_PAGES + 1)

    assert open_producer().push_all(pages()) == BATCH_PAGES + 2
    assert stream.snapshot().length == BATCH_PAGES + 2
