"""Many requests at a time: when they begin, how they end, and what is left of them."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tasks.errors import HttpError, TooLarge, Unsafe
from tasks.fetch_ports import Fetched
from tests.support.fetching import all_of, answer, fetched, fetching, refused, request
from tests.support.raw_site import Answer, Asked, RawSite, drip, page, raw_site
from worker.http_connections import Network
from worker.http_fetcher import HttpFetcher


async def slow(_: Asked) -> bytes:
    await asyncio.sleep(0.2)
    return page(b"slow")


async def cut(asked: Asked) -> None:
    await asked.send(page(bytes(100))[:-1])


async def never(_: Asked) -> None:
    await asyncio.sleep(60)


def gathering(many: int) -> Answer:
    """Return an answer that comes when ``many`` requests are there."""
    there: list[asyncio.Event] = []

    async def together(asked: Asked) -> bytes:
        there.append(asyncio.Event())
        if len(there) == many:
            for event in there:
                event.set()
        await there[-1].wait()
        return page(asked.target.encode())

    return together


ANSWERS: Mapping[str, Answer] = {
    "plain": page(b"<p>Bonjour</p>"),
    "slow": slow,
    "never": never,
    "drip": drip,
    "error": page(b"", status="500 Internal Server Error"),
    "cut": cut,
    "large": page(bytes(900_000)),
    "no-http": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
}


@pytest.fixture(scope="module")
def shared_site() -> Iterator[RawSite]:
    with raw_site(ANSWERS) as served:
        yield served


def test_no_request_begins_before_its_time_and_none_waits_for_another(site: RawSite, fetcher: HttpFetcher) -> None:
    now = time.time_ns() // 1000
    starts = {"/plain/late": now + 600_000, "/plain/soon": now + 300_000, "/plain/now": now, "/plain/past": now - 10**9}
    done = all_of(fetcher, [request(site, path, start=start) for path, start in starts.items()])
    assert all(isinstance(one.answer, Fetched) for one in done.values())
    assert site.targets()[2:] == ["/plain/soon", "/plain/late"]
    begun = dict(zip(site.targets(), site.begun, strict=True))
    assert all(begun[path] * 1e6 >= start for path, start in starts.items())


def test_hundreds_of_requests_are_under_way_at_the_same_time(fetcher: HttpFetcher) -> None:
    with raw_site({"p": gathering(300)}) as crowded:
        done = all_of(fetcher, [request(crowded, f"/p/{number}") for number in range(300)])
    bodies = {one.answer.body for one in done.values() if isinstance(one.answer, Fetched)}
    assert bodies == {f"/p/{number}".encode() for number in range(300)}


def test_of_many_connections_only_some_are_kept() -> None:
    with raw_site({"p": gathering(20), "plain": page(b"")}) as crowded, fetching(max_open=5) as fetcher:
        all_of(fetcher, [request(crowded, f"/p/{number}") for number in range(20)])
        fetched(fetcher, request(crowded, "/plain"))
        ends = time.monotonic() + 10
        while len(crowded.lines) > 5 and time.monotonic() < ends:
            time.sleep(0.01)
        assert len(crowded.lines) <= 5
        assert crowded.connections == 20


def test_latency_is_the_time_from_the_request_to_the_head(site: RawSite, fetcher: HttpFetcher) -> None:
    assert all_of(fetcher, [request(site, "/slow")])["/slow"].latency_us >= 200_000


def test_how_late_a_request_was_made_is_told(site: RawSite, fetcher: HttpFetcher) -> None:
    now = time.time_ns() // 1000
    starts = {"/plain/late": now - 10_000_000, "/plain/soon": now + 300_000}
    done = all_of(fetcher, [request(site, path, start=start) for path, start in starts.items()])
    begun = dict(zip(site.targets(), site.begun, strict=True))
    assert 10_000_000 <= done["/plain/late"].late_us < begun["/plain/late"] * 1e6 - starts["/plain/late"] + 100_000
    assert 0 <= done["/plain/soon"].late_us < begun["/plain/soon"] * 1e6 - starts["/plain/soon"] + 100_000


def test_ended_waits_no_longer_than_it_is_told(site: RawSite, fetcher: HttpFetcher) -> None:
    assert fetcher.ended(0) == []
    fetcher.start([request(site, "/never"), request(site, "/plain")])
    (done,) = fetcher.ended(10)
    assert done.request.token == "/plain"
    assert (fetcher.under_way(), fetcher.ended(0.01), fetcher.ended(-1)) == (1, [], [])


def test_cancel_ends_what_has_no_answer_and_gives_it_back(site: RawSite, fetcher: HttpFetcher) -> None:
    later = time.time_ns() // 1000 + 3_600_000_000
    requests = [request(site, "/never"), request(site, "/drip"), request(site, "/plain/later", start=later)]
    fetcher.start([*requests, request(site, "/plain")])
    while not site.asked or {"/never", "/drip", "/plain"} - set(site.targets()):
        time.sleep(0.01)
    (done,) = fetcher.ended(10)
    assert done.request.token == "/plain"
    cancelled = fetcher.cancel()
    assert sorted(one.token for one in cancelled) == ["/drip", "/never", "/plain/later"]
    assert (fetcher.under_way(), fetcher.ended(0.05), fetcher.cancel()) == (0, [], [])
    assert fetched(fetcher, request(site, "/plain")).body == b"<p>Bonjour</p>"
    assert len(site.asked) == 4


def test_an_answer_that_came_before_the_cancelling_is_not_lost(site: RawSite, fetcher: HttpFetcher) -> None:
    fetcher.start([request(site, f"/plain/{number}") for number in range(50)])
    given_back = fetcher.cancel()
    came = fetcher.ended(0)
    assert sorted([*(one.token for one in given_back), *(one.request.token for one in came)]) == sorted(
        f"/plain/{number}" for number in range(50)
    )
    assert fetcher.under_way() == 0


def test_a_request_that_ends_without_an_answer_is_not_lost(site: RawSite, fetcher: HttpFetcher) -> None:
    for _ in range(2):
        fetcher.start([request(site, "/never")])
        fetcher._thread.post(lambda: [task.cancel() for task in fetcher._tasks])
        (done,) = fetcher.ended(10)
        assert type(done.answer) is HttpError
        assert (fetcher.under_way(), fetcher.cancel()) == (0, [])
        fetcher.start([request(site, "/never")])
        assert len(fetcher.cancel()) == 1


def test_a_fault_of_ours_is_kept_to_its_request(site: RawSite) -> None:
    def lookup(host: str, *_: object, **__: object) -> list[Any]:
        raise RuntimeError(f"no idea of {host}")

    with fetching(Network(lookup=lookup)) as fetcher:
        odd = request(site, "/odd", url="http://name.example/", hosts=("name.example",))
        done = all_of(fetcher, [odd, request(site, "/plain")])
    assert isinstance(done["/odd"].answer, RuntimeError)
    assert isinstance(done["/plain"].answer, Fetched)


def test_one_bad_answer_does_not_touch_the_others(site: RawSite, fetcher: HttpFetcher) -> None:
    expected = {
        "/plain": Fetched,
        "/error": HttpError,
        "/cut": HttpError,
        "/plain/again": Fetched,
        "/large": TooLarge,
        "/no-http": HttpError,
    }
    bad = request(site, "bad", url="http://[")
    done = all_of(fetcher, [bad, *(request(site, path) for path in expected)])
    assert {token: type(one.answer) for token, one in done.items()} == {**expected, "bad": Unsafe}


def _reuse_in_child(fetcher: HttpFetcher, site: RawSite, answers: multiprocessing.SimpleQueue[bytes]) -> None:
    answers.put(fetched(fetcher, request(site, "/plain")).body)
    fetcher.close()


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # the site's thread; it is not used there
def test_a_fetcher_built_before_a_fork_works_in_the_child(site: RawSite, fetcher: HttpFetcher) -> None:
    context = multiprocessing.get_context("fork")
    answers: multiprocessing.SimpleQueue[bytes] = context.SimpleQueue()
    child = context.Process(target=_reuse_in_child, args=(fetcher, site, answers))
    child.start()
    child.join(30)
    assert child.exitcode == 0
    assert answers.get() == b"<p>Bonjour</p>"


def test_close_leaves_nothing_behind(site: RawSite) -> None:
    def open_files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    def threads() -> set[str]:
        return {thread.name for thread in threading.enumerate() if thread.name.startswith("penstock")}

    before, there_before = open_files(), threads()
    for _ in range(2):
        with fetching() as fetcher:
            fetched(fetcher, request(site, "/plain"))
            local = request(
                site, "/plain", url=f"http://localhost:{site.port}/plain", hosts=(f"localhost:{site.port}",)
            )
            refused(fetcher, local)
            fetcher.start([request(site, f"/never/{number}") for number in range(5)])
            fetcher.start([request(site, "/drip")])
            while len(site.asked) % 7:
                time.sleep(0.01)
        fetcher.close()
        assert site.wait_until_left()
    ends = time.monotonic() + 10
    while threads() != there_before and time.monotonic() < ends:
        time.sleep(0.01)
    gc.collect()  # what was not closed warns, and a warning is an error
    assert (threads(), open_files()) == (there_before, before)


def test_a_fetcher_that_was_never_used_and_one_that_was_closed_can_be_closed_and_used(site: RawSite) -> None:
    with fetching() as fetcher:
        fetcher.close()
        assert isinstance(answer(fetcher, request(site, "/plain")), Fetched)
        fetcher.close()
        assert isinstance(answer(fetcher, request(site, "/plain")), Fetched)
