"""The site farm over real sockets: latency, robots.txt, trouble, and what its log says of all that."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.crawl import wait_for
from tests.support.farm.log import CUT, DROPPED
from tests.support.farm.running import Farm, farm
from tests.support.farm.sites import Robots, Site, Trouble


def _get(made: Farm, site: Site, path: str) -> tuple[int, bytes, str | None]:
    connection = http.client.HTTPConnection(site.address, made.port, timeout=10)
    connection.request("GET", path, headers={"User-Agent": "tester (x)"})
    answer = connection.getresponse()
    found = answer.status, answer.read(), answer.headers["Retry-After"]
    connection.close()
    return found


def _status(made: Farm, site: Site, number: int) -> int:
    return _get(made, site, f"/news/{site.item(number)}")[0]


def _wait_for_lines(made: Farm, count: int) -> None:
    wait_for(f"{count} lines in the log", lambda: len(made.asked()) == count, 5)


def test_pages_and_robots_are_served_after_the_latency_and_noted(tmp_path: Path) -> None:
    site = Site(number=0, seed=1, items=10, gone_every=5, robots=Robots(digit="3", crawl_delay=0.5))
    with farm([site], tmp_path, latency_seconds=0.03) as made:
        assert _get(made, site, "/robots.txt") == (200, b"User-agent: *\nDisallow: /news/*3$\nCrawl-delay: 0.5\n", None)
        item = site.item(1)
        assert _get(made, site, f"/news/{item}") == (200, site.page(item), None)
        assert [_status(made, site, number) for number in (5, 10)] == [404, 404]
        _wait_for_lines(made, 4)
        assert [(one.status, one.item, one.under_way, one.agent) for one in made.asked()] == [
            (200, "", 1, "tester"),
            (200, item, 1, "tester"),
            (404, site.item(5), 1, "tester"),
            (404, site.item(10), 1, "tester"),
        ]
        assert all(one.ended - one.begun >= 30_000 for one in made.asked())
        assert made.pages_answered() == 1


def test_a_connection_is_kept_and_one_that_breaks_is_noted_as_cut(tmp_path: Path) -> None:
    site = Site(number=1, seed=1, items=10)
    with farm([site], tmp_path, latency_seconds=0.2) as made:
        connection = http.client.HTTPConnection(site.address, made.port, timeout=10)
        for number in (1, 2):
            connection.request("GET", f"/news/{site.item(number)}")
            socket = connection.sock
            connection.getresponse().read()
            assert connection.sock is socket
        connection.request("GET", f"/news/{site.item(3)}")
        connection.close()
        _wait_for_lines(made, 3)
        assert [one.status for one in made.asked()] == [200, 200, CUT]


def test_a_busy_host_asks_for_the_time_that_is_left(tmp_path: Path) -> None:
    site = Site(number=2, seed=1, items=10, busy=Trouble(after=1, seconds=1.2))
    with farm([site], tmp_path) as made:
        path = f"/news/{site.item(1)}"
        assert _get(made, site, path)[0] == 200
        assert _get(made, site, path)[::2] == (503, "2")
        assert _get(made, site, "/robots.txt")[0] == 200
        wait_for("the host to recover", lambda: _get(made, site, path)[0] == 200, 5)


def test_a_host_that_goes_down_refuses_and_comes_back(tmp_path: Path) -> None:
    sites = [Site(number=3, seed=1, items=10, down=Trouble(after=1, seconds=0.5)), Site(number=4, seed=1, items=10)]
    with farm(sites, tmp_path) as made:
        assert _status(made, sites[0], 1) == 200
        assert _raises(lambda: _status(made, sites[0], 2))  # dropped
        assert _raises(lambda: _status(made, sites[0], 3))  # refused
        assert _status(made, sites[1], 3) == 200
        time.sleep(0.6)
        assert _status(made, sites[0], 3) == 200
        _wait_for_lines(made, 4)
        assert [one.status for one in made.asked()] == [200, DROPPED, 200, 200]


def test_robots_txt_that_cannot_be_had_for_a_while(tmp_path: Path) -> None:
    site = Site(number=5, seed=1, items=10, robots=Robots(unavailable_seconds=0.3))
    with farm([site], tmp_path) as made:
        assert _get(made, site, "/robots.txt")[0] == 500
        wait_for("robots.txt", lambda: _get(made, site, "/robots.txt")[0] == 200, 5)


def _raises(what: Callable[[], object]) -> bool:
    try:
        what()
    except (OSError, http.client.HTTPException):
        return True
    return False
