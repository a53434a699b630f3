"""Items on their way through gate, robots.txt and redirects: real Redis and stores, hosts that a test scripts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tasks.base import Context
from tasks.errors import FetchTimeout, Gone, HostDown, HttpError, Throttled, TooLarge, Unsafe
from tasks.fetch import fetch_due
from tasks.fetch_ports import Answer, Fetched, NotModified, Redirect
from tasks.ingest import pull
from tasks.manners import Manners
from tasks.steps.page import SourceProfile, Start
from tasks.upkeep import keep
from tests.support.arrivals import commit, item
from tests.support.arrivals import page as arrived
from tests.support.contexts import Shifted, context_of
from tests.support.corpus import page
from tests.support.crawl import Crawl
from tests.support.hosts import Hosts, fetched
from worker.sources import SourceProfiles
from worker.store import FailureFilter, ItemFilter

SITE = "http://site.example"
PROFILE = SourceProfile(
    name="s",
    hosts=("site.example", "other.example"),
    item_url=SITE + "/{id}",
    max_depth=3,
    delay_seconds=0,
    concurrency=4,
)


@pytest.fixture
def ctx(either_crawl: Crawl, tmp_path: Path) -> Iterator[Context]:
    with context_of(either_crawl, tmp_path, PENSTOCK_RETRY_BASE_SECONDS="60") as built:
        yield replace(built, profiles=SourceProfiles({"s": PROFILE}))


def recrawl(ctx: Context) -> None:
    ctx.store.recrawl(ItemFilter(source="s", item_keys=("1",)), may_fetch=lambda _: True, now=time.time_ns() // 1000)  # type: ignore[attr-defined]


def text(number: int) -> bytes:
    return page((f"This is the text with the number {number}.",), ())


def due(ctx: Context, *numbers: int) -> None:
    """Make items due: a page names them."""
    items = [item(str(one), host="site.example") for one in numbers]
    commit(ctx.store, arrived("0", "the start", discovered=items))  # type: ignore[arg-type]


def crawl(ctx: Context, answers: dict[str, Answer | list[Answer]], **changes: Any) -> tuple[dict[str, int], Hosts]:
    hosts = Hosts({SITE + path if path.startswith("/") else path: one for path, one in answers.items()})
    limits = replace(ctx.limits, pull_seconds=10.0)  # it ends when nothing is due any more
    return dict(fetch_due(replace(ctx, **{"fetcher": hosts, "limits": limits, **changes}))), hosts


def ok(path: str, number: int = 1, **more: Any) -> Fetched:
    return fetched(SITE + path, text(number), **more)


def robots(body: str, **more: Any) -> Fetched:
    return fetched(f"{SITE}/robots.txt", body.encode(), **more)


def state(ctx: Context, key: str) -> str:
    with ctx.store._driver.transaction(write=False) as tx:  # type: ignore[attr-defined]
        return str(tx.run("SELECT state FROM item WHERE source = 's' AND item_key = ?", key)[0][0])


def failures(ctx: Context) -> list[tuple[str, str, int]]:
    found = ctx.store.failures(FailureFilter())  # type: ignore[attr-defined]
    return [(one["item"], one["error_class"], one["attempts"]) for one in found]


def test_robots_txt_is_asked_for_first_and_once(ctx: Context) -> None:
    due(ctx, 1, 2, 3)
    counts, hosts = crawl(ctx, {f"/{one}": ok(f"/{one}", one) for one in (1, 2, 3)})
    assert counts == {"fetched": 3}
    assert hosts.urls(robots=True)[0] == f"{SITE}/robots.txt"
    assert sorted(hosts.urls()) == [f"{SITE}/{one}" for one in (1, 2, 3)]
    assert len(hosts.asked) == 4
    assert pull(ctx) == {"new": 3}


def test_another_process_knows_it_from_the_store(ctx: Context) -> None:
    due(ctx, 1)
    crawl(ctx, {"/robots.txt": robots("User-agent: *\nDisallow: /2"), "/1": ok("/1")})
    due(ctx, 2, 3)
    other = Manners(ctx.frontier, "penstock")
    counts, hosts = crawl(ctx, {"/3": ok("/3", 3)}, manners=other)
    assert counts == {"fetched": 1, "given_up": 1}
    assert hosts.urls(robots=True) == [f"{SITE}/3"]


def test_what_robots_txt_disallows_is_an_outcome_and_never_asked_for(ctx: Context) -> None:
    due(ctx, 1, 2)
    counts, hosts = crawl(ctx, {"/robots.txt": robots("User-agent: penstock\nDisallow: /2"), "/1": ok("/1")})
    assert counts == {"fetched": 1, "given_up": 1}
    assert hosts.urls() == [f"{SITE}/1"]
    assert failures(ctx) == [("2", "Disallowed", 1)]
    assert state(ctx, "2") == "failed"


def test_a_host_without_a_robots_txt_to_be_had_is_left_alone_with_its_items_untouched(ctx: Context) -> None:
    due(ctx, 1, 2)
    broken = Throttled("the host answered 503", status=503, url=f"{SITE}/robots.txt", retry_after=1.0)
    counts, hosts = crawl(ctx, {"/robots.txt": broken}, limits=ctx.limits)
    assert counts == {"postponed": 1}  # the other one was not begun
    assert hosts.urls() == []
    assert failures(ctx) == []
    answers: dict[str, Answer | list[Answer]] = {"/robots.txt": robots(""), "/1": ok("/1"), "/2": ok("/2", 2)}
    assert crawl(ctx, answers, limits=ctx.limits)[0] == {}
    fetched_then = 0
    ends = time.monotonic() + 20
    while fetched_then < 2 and time.monotonic() < ends:  # and slowly, as the host asked for
        fetched_then += crawl(ctx, answers, limits=ctx.limits)[0].get("fetched", 0)
    assert fetched_then == 2


def test_a_redirect_is_a_request_of_its_own_by_the_rules_of_where_it_leads(ctx: Context) -> None:
    due(ctx, 1, 2)
    there = "http://other.example"
    counts, hosts = crawl(
        ctx,
        {
            "/1": Redirect(url=f"{SITE}/1", to=f"{there}/a", status=301),
            "/2": Redirect(url=f"{SITE}/2", to=f"{there}/b", status=302),
            f"{there}/robots.txt": fetched(f"{there}/robots.txt", b"User-agent: *\nDisallow: /b"),
            f"{there}/a": fetched(f"{there}/a", text(1)),
        },
    )
    assert counts == {"fetched": 1, "given_up": 1}
    assert f"{there}/robots.txt" in hosts.urls(robots=True)
    assert f"{there}/b" not in hosts.urls()
    assert pull(ctx) == {"new": 1}
    record = ctx.store.page_record("s", "1")  # type: ignore[attr-defined]
    assert record["url"] == f"{there}/a"


@pytest.mark.parametrize(
    "to,error_class",
    [
        ("http://elsewhere.example/", "Unsafe"),
        ("http://site.example:8080/", "Unsafe"),
        (f"{SITE}/1", "HttpError"),  # endless
    ],
)
def test_a_redirect_that_leads_nowhere_ends_the_item(ctx: Context, to: str, error_class: str) -> None:
    due(ctx, 1)
    counts, hosts = crawl(ctx, {"/1": Redirect(url=f"{SITE}/1", to=to, status=302)})
    assert sum(counts.values()) == 1
    assert [(name, kind) for name, kind, _ in failures(ctx)] == [("1", error_class)]
    assert len(hosts.urls()) == (6 if error_class == "HttpError" else 1)


@pytest.mark.parametrize(
    "error,counts",
    [
        (HostDown("refused", status=None), False),
        (Throttled("slow", status=429, retry_after=30.0), False),
        (FetchTimeout("slow", status=200), True),
        (HttpError("the host answered 500", status=500), True),
    ],
)
def test_what_is_the_hosts_fault_costs_an_item_no_attempt(ctx: Context, error: Exception, counts: bool) -> None:
    due(ctx, 1)
    assert crawl(ctx, {"/1": error})[0] == {"retry_later": 1}
    assert [attempts for *_, attempts in failures(ctx)] == [int(counts)]
    assert state(ctx, "1") == "scheduled"


@pytest.mark.parametrize(
    "error,state_of_it",
    [
        (Gone("the host answered 410", status=410), "gone"),
        (Unsafe("10.0.0.1 is not a public address", status=None), "failed"),
        (TooLarge("the body has more than 10 bytes", status=200), "failed"),
    ],
)
def test_what_will_not_work_is_given_up(ctx: Context, error: Exception, state_of_it: str) -> None:
    due(ctx, 1)
    assert crawl(ctx, {"/1": error})[0] == {"given_up": 1}
    assert state(ctx, "1") == state_of_it


def test_a_host_that_asks_for_a_pause_gets_it_for_all_its_items(ctx: Context) -> None:
    due(ctx, 1)
    slow = Throttled("slow", status=503, retry_after=60.0)
    assert crawl(ctx, {"/1": slow})[0] == {"retry_later": 1}
    due(ctx, 2)
    assert crawl(ctx, {})[0] == {}
    fresh = Manners(ctx.frontier, "penstock")  # another process
    ctx.gate._redis.flushdb()  # type: ignore[attr-defined]
    assert crawl(ctx, {}, manners=fresh)[0] == {}, "the store knows it too"


def test_what_has_not_changed_is_neither_pushed_nor_parsed(ctx: Context) -> None:
    due(ctx, 1)
    counts, _ = crawl(ctx, {"/1": ok("/1", etag='"a"', last_modified="Mon, 06 May 2024 07:08:09 GMT")})
    assert counts == {"fetched": 1}
    assert pull(ctx) == {"new": 1}
    recrawl(ctx)
    same = NotModified(url=f"{SITE}/1", fetched_at=ok("/1").fetched_at)
    counts, hosts = crawl(ctx, {"/1": same})
    assert counts == {"not_modified": 1}
    (asked,) = hosts.asked
    assert (asked.etag, asked.last_modified) == ('"a"', "Mon, 06 May 2024 07:08:09 GMT")
    assert pull(ctx) == {}
    assert state(ctx, "1") == "fetched"


def test_a_page_that_was_lost_on_its_way_is_asked_for_without_validators(ctx: Context) -> None:
    due(ctx, 1)
    crawl(ctx, {"/1": ok("/1", etag='"a"')})
    with ctx.store._driver.transaction() as tx:  # type: ignore[attr-defined]
        tx.run("UPDATE item SET state = 'due' WHERE item_key = '1'")
    _, hosts = crawl(ctx, {"/1": ok("/1", etag='"a"')})
    assert [one.etag for one in hosts.asked] == [None]


def test_a_worker_that_is_to_stop_gives_back_what_it_has_in_hand(ctx: Context) -> None:
    due(ctx, 1, 2)
    crawl(ctx, {"/1": HttpError("x", status=500), "/2": HttpError("x", status=500)})
    hosts = Hosts({f"{SITE}/1": ok("/1"), f"{SITE}/2": ok("/2")}, silent=True)
    stop_after(4, ctx, hosts)
    assert {state(ctx, "1"), state(ctx, "2")} == {"due"}


def stop_after(looks: int, ctx: Context, hosts: Hosts) -> None:
    calls = iter(range(1000))
    wait: Callable[[float], bool] = lambda _: next(calls) >= looks  # noqa: E731
    fetch_due(replace(ctx, fetcher=hosts, wait=wait, clock=Shifted(7200)))
    assert len(hosts.asked) == 2


def lists(ctx: Context) -> Context:
    """Return the context of a source that is looked at by an index of sitemaps."""
    profile = replace(PROFILE, start=(Start(url=f"{SITE}/index.xml", every=3_600_000_000),))
    return replace(ctx, profiles=SourceProfiles({"s": profile}))


def sitemap(path: str, *listed: str, kind: str = "url", **more: Any) -> Fetched:
    root = "urlset" if kind == "url" else "sitemapindex"
    entries = "".join(f"<{kind}><loc>{SITE}{one}</loc></{kind}>" for one in listed)
    return fetched(SITE + path, f"<{root}>{entries}</{root}>".encode(), **more)


def later(ctx: Context, hours: float) -> Context:
    return replace(ctx, clock=Shifted(hours * 3600))


def test_a_source_is_crawled_from_its_start_url_again_and_again(ctx: Context) -> None:
    ctx = lists(ctx)
    index = sitemap("/index.xml", "/a.xml", kind="sitemap")
    answers: dict[str, Answer | list[Answer]] = {
        "/index.xml": index,
        "/a.xml": [
            sitemap("/a.xml", "/1", "/2", etag='"a"'),
            NotModified(url=f"{SITE}/a.xml", fetched_at=index.fetched_at),
            sitemap("/a.xml", "/1", "/2", "/3"),
        ],
        **{f"/{one}": ok(f"/{one}", one) for one in (1, 2, 3)},
    }
    assert keep(ctx)["starts_due"] == 1
    for fetches in ({"fetched": 1}, {"fetched": 1}, {"fetched": 2}, {}):
        counts, hosts = crawl(ctx, answers)
        assert counts == fetches
        pull(ctx)
    pages = [ctx.store.page_record("s", key) for key in ("1", "2")]  # type: ignore[attr-defined]
    assert [(one["depth"], one["parent"]) for one in pages] == [(0, f"{SITE}/a.xml")] * 2
    answers["/a.xml"] = answers["/a.xml"][1:]  # type: ignore[index]
    soon = later(ctx, 1.2)
    assert keep(soon)["starts_due"] == 0  # it is due by itself
    counts, hosts = crawl(soon, answers)
    assert counts == {"fetched": 1, "not_modified": 1}
    assert [one.etag for one in hosts.asked if one.url.endswith("a.xml")] == ['"a"']
    assert pull(ctx) == {"unchanged": 1}
    answers["/a.xml"] = answers["/a.xml"][1:]  # type: ignore[index]
    assert crawl(later(ctx, 2.2), answers)[0] == {"fetched": 1}  # the index: its sitemap waits for longer by now
    assert pull(ctx) == {"unchanged": 1}
    assert crawl(later(ctx, 3.4), answers)[0] == {"fetched": 2}
    assert pull(ctx) == {"unchanged": 1, "revision": 1}
    counts, hosts = crawl(ctx, answers)
    assert hosts.urls() == [f"{SITE}/3"]


def test_a_redirect_gets_through_where_the_host_is_slower_than_items_wait(
    ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.crawl.HELD_US", 100_000)
    ctx = replace(ctx, profiles=SourceProfiles({"s": replace(PROFILE, delay_seconds=0.4)}))
    due(ctx, 1)
    secure = SITE.replace("http:", "https:")
    counts, hosts = crawl(
        ctx,
        {
            "/1": Redirect(url=f"{SITE}/1", to=f"{secure}/1", status=301),
            f"{secure}/robots.txt": fetched(f"{secure}/robots.txt", b""),
            f"{secure}/1": fetched(f"{secure}/1", text(1)),
        },
    )
    assert counts["fetched"] == 1
    assert hosts.urls()[-1] == f"{secure}/1"


def test_a_refused_redirect_was_a_request_all_the_same(ctx: Context) -> None:
    ctx = replace(ctx, profiles=SourceProfiles({"s": replace(PROFILE, delay_seconds=0.3, concurrency=1)}))
    due(ctx, 1, 2)
    refused = Unsafe("the redirect may not be followed", status=302)
    _, hosts = crawl(ctx, {"/1": refused, "/2": refused})
    starts = [one.start for one in hosts.asked]
    assert len(starts) == 3
    assert all(later - earlier >= 300_000 for earlier, later in pairwise(starts))


def test_a_robots_txt_that_leads_elsewhere_may_not_reach_private_hosts(ctx: Context) -> None:
    profile = replace(PROFILE, allow_private_hosts=("inside.example", "site.example"))
    ctx = replace(ctx, profiles=SourceProfiles({"s": profile}))
    due(ctx, 1)
    inside = "http://inside.example:9200/"
    moved = Redirect(url=f"{SITE}/robots.txt", to=inside, status=302)
    _, hosts = crawl(ctx, {"/robots.txt": moved, inside: Gone("404", status=404), "/1": ok("/1")})
    private = {one.url: one.private_hosts for one in hosts.asked}
    assert private[inside] == ()
    assert private[f"{SITE}/1"] == private[f"{SITE}/robots.txt"] == profile.allow_private_hosts


@pytest.mark.parametrize(
    "end",
    [
        Unsafe("10.0.0.1 is not a public address", status=None),
        HostDown("refused", status=None),
        FetchTimeout("slow", status=200),
    ],
)
def test_a_robots_txt_that_leads_nowhere_stops_its_host_and_costs_its_items_nothing(
    ctx: Context, end: Exception
) -> None:
    due(ctx, 1, 2)
    elsewhere = "http://elsewhere.example/robots.txt"
    moved = Redirect(url=f"{SITE}/robots.txt", to=elsewhere, status=302)
    counts, hosts = crawl(ctx, {"/robots.txt": moved, elsewhere: end})
    assert counts == {"postponed": 2}
    assert hosts.urls(robots=True) == [f"{SITE}/robots.txt", elsewhere]
    assert failures(ctx) == []
    assert crawl(ctx, {})[0] == {}
    assert ctx.frontier.host_pauses({"site.example"}, now=ctx.clock.now_us())["site.example"].reason == "robots"


def test_a_task_gives_back_what_it_has_waited_for_too_long(ctx: Context) -> None:
    assert ctx.limits.fetch_tail_seconds > 30  # longer than a request may take
    due(ctx, 1)
    hosts = Hosts({f"{SITE}/1": ok("/1")}, silent=True)
    assert dict(fetch_due(replace(ctx, fetcher=hosts, limits=replace(ctx.limits, fetch_tail_seconds=0.2)))) == {
        "postponed": 1
    }
    assert state(ctx, "1") == "due"


def test_a_page_tells_where_redirects_led(ctx: Context) -> None:
    ctx = lists(ctx)
    keep(ctx)
    moved = Redirect(url=f"{SITE}/index.xml", to=f"{SITE}/maps/", status=301)
    relative = b"<urlset><url><loc>a</loc></url></urlset>"
    crawl(ctx, {"/index.xml": moved, "/maps/": fetched(f"{SITE}/maps/", relative)})
    pull(ctx)
    assert state(ctx, f"{SITE}/maps/a") == "due"
