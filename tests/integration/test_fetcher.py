from __future__ import annotations

import asyncio
import gzip
import multiprocessing
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
import redis
from aiohttp import web

from tasks.errors import (
    FetchTimeout,
    Gone,
    HostBusy,
    HostDown,
    HttpError,
    PenstockError,
    Throttled,
    TooLarge,
    Unsafe,
)
from tasks.ports import Fetched, ItemLease
from tasks.steps.page import SourceProfile
from worker.fetcher import Gate, HttpFetcher
from worker.hosts import HostGate
from worker.loop_thread import LoopThread

LIMIT = 200_000
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Farm:
    """A web server on loopback that answers by path and notes when each request began and how many were under way."""

    port: int = 0
    begun: list[float] = field(default_factory=list)
    requests: list[web.Request] = field(default_factory=list)
    under_way: int = 0
    most_under_way: int = 0

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, path: str) -> str:
        return f"http://{self.host}{path}"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.begun.append(time.monotonic())
        self.requests.append(request)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            return await HANDLERS[request.path.split("/")[1]](request)
        finally:
            self.under_way -= 1

    async def start(self) -> web.AppRunner:
        app = web.Application()
        app.router.add_get("/{path:.*}", self.answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        return runner


async def plain(_: web.Request) -> web.Response:
    return web.Response(body=b"<p>Bonjour</p>", content_type="text/html", charset="utf-8")


async def status(request: web.Request) -> web.Response:
    headers = {"Retry-After": request.query["after"]} if "after" in request.query else {}
    return web.Response(status=int(request.path.split("/")[2]), headers=headers)


async def redirect(request: web.Request) -> web.Response:
    return web.Response(status=302, headers={"Location": request.query["to"]})


async def loop(request: web.Request) -> web.Response:
    return web.Response(status=302, headers={"Location": f"/loop/{int(request.path.split('/')[2]) + 1}"})


async def drip(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b".")
        await asyncio.sleep(0.02)


async def flood(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(bytes(65_536))


async def announced(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": str(10_000_000_000)})
    await response.prepare(request)
    await asyncio.sleep(30)
    return response


async def bomb(_: web.Request) -> web.Response:
    return web.Response(body=gzip.compress(bytes(50_000_000)), headers={"Content-Encoding": "gzip"})


async def zipped(_: web.Request) -> web.Response:
    return web.Response(body=gzip.compress(b"Tr\xc3\xa8s bien"), headers={"Content-Encoding": "gzip"})


async def brotli(_: web.Request) -> web.Response:
    return web.Response(body=b"\x8b\x00\x80x\x03", headers={"Content-Encoding": "br"})


async def cut(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b"only this")
    assert request.transport is not None
    request.transport.close()
    return response


async def silent(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.close()
    return web.StreamResponse()


async def cookie(request: web.Request) -> web.Response:
    response = web.Response(text=request.headers.get("Cookie", "none"))
    response.set_cookie("session", "secret")
    return response


async def slow(_: web.Request) -> web.Response:
    await asyncio.sleep(0.05)
    return web.Response(text="slow")


HANDLERS: dict[str, Handler] = {
    "plain": plain,
    "status": status,
    "redirect": redirect,
    "loop": loop,
    "drip": drip,
    "flood": flood,
    "announced": announced,
    "bomb": bomb,
    "zipped": zipped,
    "brotli": brotli,
    "cut": cut,
    "silent": silent,
    "cookie": cookie,
    "slow": slow,
}


@pytest.fixture
def farm() -> Iterator[Farm]:
    thread = LoopThread("test-farm")
    served = Farm()
    runner = thread.run(served.start())
    yield served
    thread.run(runner.cleanup())
    thread.stop()


@pytest.fixture
def fetcher() -> Iterator[HttpFetcher]:
    yield from made()


def made(
    *, timeout_seconds: float = 20.0, max_wait_seconds: float = 30.0, gate: Gate | None = None
) -> Iterator[HttpFetcher]:
    made = HttpFetcher(
        user_agent="penstock-test/1 (+mailto:test@site.example)",
        timeout_seconds=timeout_seconds,
        max_body_bytes=LIMIT,
        gate=gate,
        max_wait_seconds=max_wait_seconds,
    )
    yield made
    made.close()


def lease(url: str, key: str = "t") -> ItemLease:
    return ItemLease(
        source="site",
        item_key=key,
        item=key,
        url=url,
        host="site.example",
        depth=1,
        parent=None,
        attempts=0,
        token=key,
        lease_until=0,
    )


def profile(
    farm: Farm,
    *,
    hosts: tuple[str, ...] | None = None,
    private: tuple[str, ...] | None = None,
    delay: float = 0.0,
    concurrency: int = 8,
) -> SourceProfile:
    return SourceProfile(
        name="site",
        hosts=(farm.host,) if hosts is None else hosts,
        allow_private_hosts=(farm.host,) if private is None else private,
        delay_seconds=delay,
        concurrency=concurrency,
    )


def fetch(fetcher: HttpFetcher, url: str, source: SourceProfile) -> Fetched | Exception:
    return fetcher.fetch_all([lease(url)], lambda _: source)["t"]


def refused(fetcher: HttpFetcher, url: str, source: SourceProfile) -> PenstockError:
    answer = fetch(fetcher, url, source)
    assert isinstance(answer, PenstockError), answer
    return answer


def test_a_page_comes_with_its_bytes_type_url_and_time(farm: Farm, fetcher: HttpFetcher) -> None:
    before = datetime.now(UTC)
    answer = fetch(fetcher, farm.url("/plain/a%2Fb?Q=1"), profile(farm))
    assert isinstance(answer, Fetched)
    assert (answer.status, answer.body, answer.content_type) == (200, b"<p>Bonjour</p>", "text/html; charset=utf-8")
    assert answer.url == farm.url("/plain/a%2Fb?Q=1")
    assert before <= answer.fetched_at <= datetime.now(UTC)
    assert farm.requests[0].path_qs == "/plain/a%2Fb?Q=1"
    assert farm.requests[0].headers["User-Agent"] == "penstock-test/1 (+mailto:test@site.example)"
    assert farm.requests[0].headers["Accept-Encoding"] == "gzip, deflate, br, zstd"


@pytest.mark.parametrize(
    "path, expected, code",
    [
        ("/status/404", Gone, 404),
        ("/status/410", Gone, 410),
        ("/status/500", HttpError, 500),
        ("/status/503", HttpError, 503),
        ("/status/403", HttpError, 403),
        ("/status/204", HttpError, 204),
        ("/status/302", HttpError, 302),
        ("/status/503?after=7", Throttled, 503),
        ("/status/429", Throttled, 429),
        ("/cut", HttpError, 200),
        ("/brotli", HttpError, 200),
        ("/bomb", TooLarge, 200),
        ("/flood", TooLarge, 200),
        ("/announced", TooLarge, 200),
        ("/loop/1", HttpError, None),
        ("/silent", HttpError, None),
    ],
)
def test_each_answer_that_is_no_page_has_its_error_and_its_status(
    farm: Farm, fetcher: HttpFetcher, path: str, expected: type[PenstockError], code: int | None
) -> None:
    error = refused(fetcher, farm.url(path), profile(farm))
    assert type(error) is expected
    assert error.details["status"] == code
    assert error.details["url"].startswith(farm.url("/"))


def test_a_pause_that_a_host_asks_for_is_told_in_seconds(farm: Farm, fetcher: HttpFetcher) -> None:
    assert refused(fetcher, farm.url("/status/503?after=7"), profile(farm)).details["retry_after"] == 7
    assert refused(fetcher, farm.url("/status/429?after=9"), profile(farm)).details["retry_after"] == 9
    assert refused(fetcher, farm.url("/status/429"), profile(farm)).details["retry_after"] is None


def test_a_compressed_answer_arrives_inflated(farm: Farm, fetcher: HttpFetcher) -> None:
    answer = fetch(fetcher, farm.url("/zipped"), profile(farm))
    assert isinstance(answer, Fetched)
    assert answer.body == "Très bien".encode()


def test_a_body_that_drips_ends_at_the_total_deadline(farm: Farm) -> None:
    for fetcher in made(timeout_seconds=0.5):
        error = refused(fetcher, farm.url("/drip"), profile(farm))
        assert type(error) is FetchTimeout
        assert error.details["status"] == 200


def test_a_redirect_is_followed_and_the_last_url_is_told(farm: Farm, fetcher: HttpFetcher) -> None:
    answer = fetch(fetcher, farm.url("/redirect?to=/plain/2"), profile(farm))
    assert isinstance(answer, Fetched)
    assert answer.url == farm.url("/plain/2")


def test_endless_redirects_end_after_five(farm: Farm, fetcher: HttpFetcher) -> None:
    refused(fetcher, farm.url("/loop/1"), profile(farm))
    assert len(farm.requests) == 6


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:{p}/plain", "http://localhost:{p}/plain", "http://[::ffff:127.0.0.1]:{p}/plain"],
)
def test_loopback_is_refused_unless_the_profile_allows_it_by_name(farm: Farm, fetcher: HttpFetcher, url: str) -> None:
    error = refused(fetcher, url.format(p=farm.port), profile(farm, hosts=(), private=()))
    assert type(error) is Unsafe
    assert "not a public address" in str(error)
    assert not farm.requests


@pytest.mark.parametrize("address", ["10.0.0.1", "169.254.169.254", "100.64.0.1", "[fd00::1]", "[64:ff9b::7f00:1]"])
def test_an_address_that_is_not_public_is_refused_before_it_is_connected_to(
    fetcher: HttpFetcher, farm: Farm, address: str
) -> None:
    assert type(refused(fetcher, f"http://{address}/", profile(farm, hosts=(address,)))) is Unsafe


@pytest.mark.parametrize("entry", ["127.0.0.1", "127.0.0.1:{p}"])
def test_a_private_host_is_allowed_with_its_port_or_with_all_of_them(
    farm: Farm, fetcher: HttpFetcher, entry: str
) -> None:
    names = (entry.format(p=farm.port),)
    assert isinstance(fetch(fetcher, farm.url("/plain"), profile(farm, hosts=names, private=names)), Fetched)


def test_an_allowance_is_for_the_name_and_not_for_its_address(farm: Farm, fetcher: HttpFetcher) -> None:
    other = f"localhost:{farm.port}"
    source = profile(farm, hosts=(farm.host, other))
    error = refused(fetcher, farm.url(f"/redirect?to=http://{other}/plain"), source)
    assert type(error) is Unsafe
    assert [request.path for request in farm.requests] == ["/redirect"]


def test_a_connection_opened_for_one_source_is_not_used_for_another(farm: Farm, fetcher: HttpFetcher) -> None:
    assert isinstance(fetch(fetcher, farm.url("/plain"), profile(farm)), Fetched)
    assert type(refused(fetcher, farm.url("/plain"), profile(farm, private=()))) is Unsafe


def test_a_redirect_to_a_host_that_is_not_the_sources_is_refused(farm: Farm, fetcher: HttpFetcher) -> None:
    error = refused(fetcher, farm.url("/redirect?to=http://elsewhere.example/"), profile(farm))
    assert type(error) is Unsafe
    assert "elsewhere.example" in str(error)


def test_without_listed_hosts_the_host_of_the_url_is_the_only_one(farm: Farm, fetcher: HttpFetcher) -> None:
    source = profile(farm, hosts=(), private=("127.0.0.1", "localhost"))
    assert isinstance(fetch(fetcher, farm.url("/plain"), source), Fetched)
    to = f"http://localhost:{farm.port}/plain"
    assert type(refused(fetcher, farm.url(f"/redirect?to={to}"), source)) is Unsafe


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/hostname",
        "ftp://127.0.0.1/",
        "http://user:secret@{host}/plain",
        "http://",
        "",
        "http://[::1",
        "http://127.0.0.1:99999/",
        "//{host}/plain",
        "gopher://{host}/",
    ],
)
def test_what_is_not_a_plain_http_url_is_refused(farm: Farm, fetcher: HttpFetcher, url: str) -> None:
    for hosts in ((farm.host, "127.0.0.1"), ()):
        assert type(refused(fetcher, url.format(host=farm.host), profile(farm, hosts=hosts))) is Unsafe
    assert not farm.requests


def test_a_redirect_to_a_file_is_refused(farm: Farm, fetcher: HttpFetcher) -> None:
    assert type(refused(fetcher, farm.url("/redirect?to=file:///etc/hostname"), profile(farm))) is Unsafe


def test_a_port_that_nobody_listens_on_is_a_host_that_is_down(farm: Farm, fetcher: HttpFetcher) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{reserved.getsockname()[1]}"
        error = refused(fetcher, f"http://{host}/", profile(farm, hosts=(host,), private=(host,)))
    assert type(error) is HostDown


def test_tls_that_fails_is_a_host_that_is_down(farm: Farm, fetcher: HttpFetcher) -> None:
    assert type(refused(fetcher, f"https://{farm.host}/plain", profile(farm))) is HostDown


def test_no_proxy_of_the_environment_connects_for_us(
    farm: Farm, fetcher: HttpFetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1/")
    assert isinstance(fetch(fetcher, farm.url("/plain"), profile(farm)), Fetched)


def test_a_cookie_never_comes_back(farm: Farm, fetcher: HttpFetcher) -> None:
    for _ in range(2):
        answer = fetch(fetcher, farm.url("/cookie"), profile(farm))
        assert isinstance(answer, Fetched)
        assert answer.body == b"none"


def test_one_bad_url_does_not_touch_the_others(farm: Farm, fetcher: HttpFetcher) -> None:
    paths = {"a": "/plain", "b": "/status/500", "c": "/cut", "d": "/plain", "e": "/bomb"}
    leases = [lease(farm.url(path), token) for token, path in paths.items()]
    answers = fetcher.fetch_all([*leases, lease("http://[", "f")], lambda _: profile(farm))
    kinds = {token: type(answer) for token, answer in answers.items()}
    assert kinds == {"a": Fetched, "b": HttpError, "c": HttpError, "d": Fetched, "e": TooLarge, "f": Unsafe}


def test_requests_to_one_host_keep_to_its_concurrency(farm: Farm, fetcher: HttpFetcher) -> None:
    leases = [lease(farm.url("/slow"), str(number)) for number in range(20)]
    answers = fetcher.fetch_all(leases, lambda _: profile(farm, concurrency=3))
    assert all(isinstance(answer, Fetched) for answer in answers.values())
    assert 1 < farm.most_under_way <= 3


def test_requests_to_one_host_lie_its_delay_apart(farm: Farm, fetcher: HttpFetcher) -> None:
    leases = [lease(farm.url("/plain"), str(number)) for number in range(8)]
    answers = fetcher.fetch_all(leases, lambda _: profile(farm, delay=0.2))
    assert all(isinstance(answer, Fetched) for answer in answers.values())
    # Seven gaps of 0.2 s; the first request alone may have been late on its way, so one gap of slack.
    assert max(farm.begun) - min(farm.begun) >= 6 * 0.2


def test_a_redirect_waits_for_its_turn_too(farm: Farm, fetcher: HttpFetcher) -> None:
    answer = fetch(fetcher, farm.url("/redirect?to=/redirect?to=/plain"), profile(farm, delay=0.3))
    assert isinstance(answer, Fetched)
    assert farm.begun[-1] - farm.begun[0] >= 0.3


def test_items_whose_turn_is_far_away_are_given_back_with_the_time_to_come_again(farm: Farm) -> None:
    for fetcher in made(max_wait_seconds=0.5):
        now = time.time_ns() // 1000
        leases = [lease(farm.url("/plain"), str(number)) for number in range(5)]
        answers = list(fetcher.fetch_all(leases, lambda _: profile(farm, delay=60)).values())
        assert sum(isinstance(answer, Fetched) for answer in answers) == 1
        busy = [answer for answer in answers if isinstance(answer, HostBusy)]
        assert len(busy) == 4
        assert all(now + 30_000_000 < int(error.details["until_us"]) < now + 120_000_000 for error in busy)
        assert len(farm.requests) == 1


def test_items_behind_a_slow_answer_are_given_back_instead_of_waiting_for_ever(farm: Farm) -> None:
    for fetcher in made(max_wait_seconds=0.2, timeout_seconds=1):
        leases = [lease(farm.url("/drip"), "slow"), lease(farm.url("/plain"), "behind")]
        answers = fetcher.fetch_all(leases, lambda _: profile(farm, concurrency=1))
        assert {token: type(answer) for token, answer in answers.items()} == {"slow": FetchTimeout, "behind": HostBusy}


def test_two_fetchers_that_share_a_gate_keep_one_delay(farm: Farm, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
        for one in made(gate=HostGate(client, "test")):
            for other in made(gate=HostGate(client, "test")):
                source = profile(farm, delay=0.2)
                threads = LoopThread("both")
                threads.run(_both(farm, one, other, source))
                threads.stop()
    assert len(farm.begun) == 8
    assert max(farm.begun) - min(farm.begun) >= 6 * 0.2


async def _both(farm: Farm, one: HttpFetcher, other: HttpFetcher, source: SourceProfile) -> None:
    leases = [lease(farm.url("/plain"), str(number)) for number in range(4)]
    work = [asyncio.to_thread(fetcher.fetch_all, leases, lambda _: source) for fetcher in (one, other)]
    for answers in await asyncio.gather(*work):
        assert all(isinstance(answer, Fetched) for answer in answers.values())


def test_a_shared_gate_hands_out_each_slot_once(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as one, redis.Redis.from_url(redis_url) as other:
        one.flushall()
        gates = [HostGate(one, "test"), HostGate(other, "test")]
        begun = time.monotonic()
        waits = [gates[turn % 2].reserve("h", delay_us=60_000_000, max_wait_us=10**9) for turn in range(6)]
        passed_us = (time.monotonic() - begun) * 1e6
    assert waits[0] == 0
    assert all(turn * 60_000_000 - passed_us <= wait <= turn * 60_000_000 for turn, wait in enumerate(waits))


def test_a_slot_that_is_too_far_away_is_not_booked(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
        gate = HostGate(client, "test")
        assert gate.reserve("h", delay_us=60_000_000, max_wait_us=0) == 0
        before = client.get("test:host:h")
        assert gate.reserve("h", delay_us=60_000_000, max_wait_us=5_000_000) > 5_000_000
        assert client.get("test:host:h") == before
        assert 60_000 < client.pttl("test:host:h") <= 61_000


def test_hosts_and_namespaces_do_not_share_slots(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
        for gate in (HostGate(client, "one"), HostGate(client, "two")):
            for host in ("a", "b", "a:8080"):
                assert gate.reserve(host, delay_us=60_000_000, max_wait_us=0) == 0


def test_a_gate_that_does_not_answer_gives_the_items_back(farm: Farm) -> None:
    with redis.Redis(unix_socket_path="/nonexistent/redis.sock") as client:
        for fetcher in made(gate=HostGate(client, "test")):
            error = refused(fetcher, farm.url("/plain"), profile(farm, delay=1))
            assert type(error) is HostBusy
            assert "gate does not answer" in str(error)
    assert not farm.requests


def _reuse_in_child(fetcher: HttpFetcher, farm: Farm, answers: multiprocessing.SimpleQueue[bytes]) -> None:
    answer = fetch(fetcher, farm.url("/plain"), profile(farm))
    answers.put(answer.body if isinstance(answer, Fetched) else str(answer).encode())
    fetcher.close()


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # the farm's thread; it is not used there
def test_a_fetcher_built_before_a_fork_works_in_the_child(farm: Farm, fetcher: HttpFetcher) -> None:
    context = multiprocessing.get_context("fork")
    answers: multiprocessing.SimpleQueue[bytes] = context.SimpleQueue()
    child = context.Process(target=_reuse_in_child, args=(fetcher, farm, answers))
    child.start()
    child.join(30)
    assert child.exitcode == 0
    assert answers.get() == b"<p>Bonjour</p>"


def test_a_fetcher_can_be_closed_twice_and_unused(farm: Farm) -> None:
    for fetcher in made():
        fetcher.close()
    for fetcher in made():
        assert isinstance(fetch(fetcher, farm.url("/plain"), profile(farm)), Fetched)
        fetcher.close()
