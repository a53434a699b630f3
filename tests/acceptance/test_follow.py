"""Related items are followed: once, within bounds, with their parent and depth."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.acceptance.conftest import Penstock
from tests.support.corpus import page

Site = dict[str, list[tuple[int, bytes]]]  # item → the answers, one after the other; the last one stays


class _Server(ThreadingHTTPServer):
    def __init__(self, site: Site) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.site, self.asked = site, Counter[str]()  # pages
        self.lock = threading.Lock()


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        item = self.path.rpartition("/")[2]
        with self.server.lock:
            answers = self.server.site.get(item, [(404, b"nothing here")])
            status, body = answers[min(self.server.asked[item], len(answers) - 1)]
            if item != "robots.txt":  # of which there is none
                self.server.asked[item] += 1
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def _serve(site: Site) -> Iterator[_Server]:
    server = _Server(site)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _page(item: str, *related: str) -> bytes:
    return page((f"This is the article number {item} of the small site.",), related)


def _profile(penstock: Penstock, port: int, **more: object) -> None:
    fields = {
        "hosts": f'["127.0.0.1:{port}"]',
        "allow_private_hosts": f'["127.0.0.1:{port}"]',
        "item_url": f'"http://127.0.0.1:{port}/news/{{id}}"',
        "max_depth": 2,
        "delay_seconds": 0.001,
        "concurrency": 4,
        **more,
    }
    penstock.home.mkdir(parents=True, exist_ok=True)
    lines = "\n".join(f"{name} = {value}" for name, value in fields.items() if value is not None)
    (penstock.home / "sources.toml").write_text(f"[sources.small]\n{lines}\n", encoding="utf-8")


@pytest.fixture
def quick(penstock: Penstock) -> Penstock:
    penstock.environ.update(PENSTOCK_RETRY_BASE_SECONDS="0.2", PENSTOCK_RETRY_MAX_SECONDS="0.5")
    return penstock


def _crawl(penstock: Penstock, folder: Path, *start: str, related: tuple[str, ...]) -> None:
    for item in start:
        path = folder / f"{item}.txt"
        path.write_bytes(_page(item, *related))
        penstock.run("push", "--source", "small", "--item", item, path)
    penstock.run("work", "--drain")


def test_items_are_fetched_once_with_parent_and_depth(quick: Penstock, tmp_path: Path) -> None:
    site = {
        "1": [(200, _page("1", "2", "3"))],
        "2": [(200, _page("2", "3", "4"))],
        "3": [(200, _page("3", "1"))],
        "4": [(200, _page("4", "5"))],
        "5": [(200, _page("5"))],
    }
    with _serve(site) as server:
        _profile(quick, server.server_address[1])
        _crawl(quick, tmp_path, "0", related=("1", "2"))
    assert server.asked == {"1": 1, "2": 1, "3": 1, "4": 1}
    found = {key: (one["depth"], one["parent"]) for key, one in quick.export().items()}
    # 1 and 2 are fetched at the same time, and both name 3: whichever arrives first is its parent.
    assert found.pop("small/3") in {(2, "1"), (2, "2")}
    assert found == {"small/0": (0, None), "small/1": (1, "0"), "small/2": (1, "0"), "small/4": (2, "2")}
    assert quick.json("status")["items"] == {"fetched": 5, "bounded": 1}
    assert quick.json("audit")["balanced"] is True


def test_the_run_budget_is_kept(quick: Penstock, tmp_path: Path) -> None:
    site = {str(item): [(200, _page(str(item)))] for item in range(1, 10)}
    with _serve(site) as server:
        _profile(quick, server.server_address[1], max_items_per_run=4)
        _crawl(quick, tmp_path, "0", related=tuple(site))
        assert sum(server.asked.values()) == 4
        assert quick.json("status")["items"] == {"fetched": 5, "due": 5}
        quick.run("work", "--drain")  # another run, with a budget of its own
        assert sum(server.asked.values()) == 8


def test_a_truncated_page_is_fetched_again_until_it_is_whole(quick: Penstock, tmp_path: Path) -> None:
    whole = _page("1", "2")
    with _serve({"1": [(200, whole[:-30]), (200, whole[:-9]), (200, whole)], "2": [(200, _page("2"))]}) as server:
        _profile(quick, server.server_address[1])
        _crawl(quick, tmp_path, "0", related=("1",))
    assert server.asked["1"] == 3
    status = quick.json("status")
    assert status["failures"] == {"resolved": 1}
    assert (status["outcomes"]["failed"], status["outcomes"]["new"]) == (2, 3)
    assert quick.json("audit")["balanced"] is True


def test_what_cannot_be_fetched_is_told_and_can_be_replayed(quick: Penstock, tmp_path: Path) -> None:
    site = {"1": [(500, b"")] * 3 + [(200, _page("1"))]}
    with _serve(site) as server:
        _profile(quick, server.server_address[1], max_attempts=3)
        _crawl(quick, tmp_path, "0", related=("1", "2"))
        classes = {row["error_class"]: row for row in quick.json("failures")}
        assert {name: row["state"] for name, row in classes.items()} == {"HttpError": "dead", "Gone": "dead"}
        assert quick.json("status")["items"] == {"fetched": 1, "failed": 1, "gone": 1}
        assert server.asked == {"1": 3, "2": 1}
        assert quick.json("replay", "--class", "HttpError")["count"] == 1
        quick.run("work", "--drain")
    assert server.asked["1"] == 4
    assert quick.json("status")["items"] == {"fetched": 2, "gone": 1}
    assert quick.json("status")["failures"] == {"resolved": 1, "dead": 1}


def test_stored_pages_are_fetched_again_when_they_are_ordered(quick: Penstock, tmp_path: Path) -> None:
    site = {"1": [(200, _page("1")), (200, _page("1", "2"))], "2": [(404, b""), (200, _page("2"))]}
    quick.run(
        "push", "-", "--format", "ndjson", stdin=b'{"source": "other", "body": "<p>A page of another source.</p>"}'
    )
    with _serve(site) as server:
        _profile(quick, server.server_address[1])
        _crawl(quick, tmp_path, "0", related=("1", "2"))
        assert quick.json("recrawl", "--source", "small", "--older-than", "1h")["count"] == 0
        refused = {
            ("small", "--item", "77"): "nothing is known of '77' in small",
            ("other",): "nothing of other may be fetched: give its profile hosts, or an item_url",
            ("smal",): "there is no source 'smal'; did you mean 'small'?",
        }
        for arguments, why in refused.items():
            done = quick.attempt("recrawl", "--source", *arguments)
            assert (done.returncode, why in done.stderr.decode()) == (2, True), done
        told = quick.run("recrawl", "--source", "small", "--gone", "--dry-run")
        assert told.splitlines() == [
            "2 items would be fetched again; nothing was changed",
            "1 are left: their pages came from where nothing may be fetched, or under another URL",
        ]
        done = quick.json("recrawl", "--source", "small", "--item", "1", "--note", "a new layout")
        assert done == {"action": "recrawl", "count": 1, "left": 0, "dry_run": False}
        quick.run("work", "--drain")
        assert server.asked == {"1": 2, "2": 1}
        assert quick.json("recrawl", "--source", "small", "--gone", "--url", f"{_url(server)}/news/2")["count"] == 1
        quick.run("work", "--drain")
    assert server.asked == {"1": 2, "2": 2}
    assert quick.json("status")["items"] == {"fetched": 3}


def _url(server: _Server) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}"


def test_what_bounds_cut_off_is_shown(quick: Penstock, tmp_path: Path) -> None:
    site = {str(item): [(200, _page(str(item), "7", "8", "9"))] for item in range(1, 4)}
    with _serve(site) as server:
        _profile(quick, server.server_address[1], max_depth=1, max_items_per_page=3, max_items_per_run=2)
        quick.environ["PENSTOCK_RUN"] = "the only one"
        _crawl(quick, tmp_path, "0", related=("1", "2", "3", "4", "5"))
    status = quick.json("status")
    assert status["bounded"] == {"depth": 3, "page": 2}
    assert status["over_budget"] == {"small": 1}
    told = quick.run("status")
    assert "(bounded: 3 by depth, 2 by page)" in told
    assert "over budget    small: 1 items wait for its next run or day" in told
    cut = [(one["source"], one["bound"], one["count"]) for one in quick.json("hosts", "--bounded", "--source", "small")]
    assert cut == [("small", "depth", 3), ("small", "page", 2)]
    assert quick.run("hosts", "--bounded").splitlines()[2].split() == ["small", "page", "2", f"{_url(server)}/news/4"]


def test_a_private_address_is_not_fetched_unless_the_profile_names_it(quick: Penstock, tmp_path: Path) -> None:
    with _serve({"1": [(200, _page("1"))]}) as server:
        _profile(quick, server.server_address[1], allow_private_hosts="[]")
        _crawl(quick, tmp_path, "0", related=("1",))
    assert not server.asked
    (row,) = quick.json("failures")
    assert (row["error_class"], row["state"]) == ("Unsafe", "dead")


def test_the_entries_of_a_feed_are_followed_to_their_articles(quick: Penstock, tmp_path: Path) -> None:
    feed = tmp_path / "feed.xml"
    with _serve({"1": [(200, _page("1"))], "2": [(200, _page("2")[:-9]), (200, _page("2"))]}) as server:
        site = f"http://127.0.0.1:{server.server_address[1]}/news"
        _profile(quick, server.server_address[1], item_url=None)
        entries = "".join(f"<item><link>{site}/{item}?utm_source=rss</link></item>" for item in ("1", "2"))
        feed.write_text(f"<rss><channel><title>The small site</title>{entries}</channel></rss>", encoding="utf-8")
        quick.run("push", "--source", "small", "--url", f"{site}/feed", feed)
        quick.run("work", "--drain")
        assert server.asked == {"1": 1, "2": 2}
    found = {key: (one["parser"], one["depth"], one["parent"]) for key, one in quick.export().items()}
    assert found == {
        f"small/{site}/feed": ("feed", 0, None),
        f"small/{site}/1": ("vardump", 1, f"{site}/feed"),
        f"small/{site}/2": ("vardump", 1, f"{site}/feed"),
    }
    assert quick.json("status")["failures"].get("waiting", 0) == 0
    assert quick.json("audit")["balanced"] is True


def test_a_crawl_begins_at_its_start_urls_by_itself(quick: Penstock) -> None:
    site: Site = {one: [(200, _page(one, "9"))] for one in ("1", "2", "3")}
    with _serve(site) as server:
        port = server.server_address[1]
        base = f"http://127.0.0.1:{port}"
        index = f"<sitemapindex><sitemap><loc>{base}/a.xml</loc></sitemap></sitemapindex>"
        listed = "".join(f"<url><loc>{base}/news/{one}</loc></url>" for one in (1, 2))
        front = f'<!doctype html><title>Small</title><a href="/news/2">Two</a> <a href="{base}/news/3">Three</a>'
        site |= {
            "index.xml": [(200, index.encode())],
            "a.xml": [(200, f"<urlset>{listed}</urlset>".encode())],
            "front": [(200, front.encode())],
        }
        _profile(quick, port, max_depth=0, parser='"vardump"')
        with (quick.home / "sources.toml").open("a", encoding="utf-8") as profile:
            profile.writelines(
                f'[[sources.small.start]]\nurl = "{base}/{one}"\nevery = "1h"\n' for one in ("index.xml", "front")
            )
        assert f"{base}/news/{{id}}; 2 start URLs" in quick.run("sources", "check")
        quick.run("work", "--drain")
        quick.run("work", "--drain")  # nothing is due yet
    assert server.asked == {"index.xml": 1, "a.xml": 1, "front": 1, "1": 1, "2": 1, "3": 1}
    assert {key for key, one in quick.export().items() if one["parser"] == "vardump"} == {
        f"small/{n}" for n in (1, 2, 3)
    }
    assert quick.json("status")["items"] == {"fetched": 6, "bounded": 1}
    assert quick.json("audit")["balanced"] is True


def test_how_hosts_stand_is_shown(quick: Penstock, tmp_path: Path) -> None:
    with _serve({"1": [(200, _page("1"))]}) as server:
        host = f"127.0.0.1:{server.server_address[1]}"
        _profile(quick, server.server_address[1], max_items_per_run=1)
        assert "nothing is known of any host" in quick.run("hosts")
        assert "everything is followed" in quick.run("hosts", "--bounded")
        _crawl(quick, tmp_path, "0", related=("1", "2"))
        (told,) = quick.json("hosts", "--source", "small")
        assert (told["host"], told["source"], told["next_at"], told["reason"]) == (host, "small", None, None)
        assert (told["items"], told["is_least"]) == ({"due": 1, "fetched": 1}, False)
        assert (told["robots"]["state"], told["robots"]["status"]) == ("none", 404)
        assert (told["gate"]["breaker"], told["gate"]["under_way"]) == ("closed", 0)
        row = quick.run("hosts").splitlines()[1].split()
        assert row[:9] == [host, "small", "1", "0", "0", "1", "0", "0", "now"]
        assert row[-3:-1] == ["none", "until"]
        quick.environ["PENSTOCK_REDIS_URL"] = "redis://127.0.0.1:1/0"
        done = quick.attempt("hosts", "--json")
        assert (done.returncode, json.loads(done.stdout)[0]["gate"]) == (0, None)
        assert b"without the pace of hosts" in done.stderr
    assert "'nosuch'" in quick.attempt("hosts", "--source", "nosuch").stderr.decode()
