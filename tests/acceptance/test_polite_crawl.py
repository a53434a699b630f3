"""What hosts see of whole crawls, from their own log: rates, robots.txt, and pauses that they ask for.

``RETRY_AFTER_SECONDS=60`` has the host ask for a minute.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance.conftest import Penstock, nonzero, wait_for
from tests.support.farm import rules
from tests.support.farm.running import Farm, farm
from tests.support.farm.sites import Robots, Site, Trouble

WORKERS = 4
SEED = 6
RETRY_AFTER_SECONDS = float(os.environ.get("RETRY_AFTER_SECONDS", "4"))


@pytest.fixture
def quick(penstock: Penstock) -> Penstock:
    penstock.environ.update(PENSTOCK_RETRY_BASE_SECONDS="0.2", PENSTOCK_RETRY_MAX_SECONDS="0.5")
    return penstock


@contextmanager
def _farm(penstock: Penstock, sites: list[Site], folder: Path) -> Iterator[Farm]:
    """Serve the sites, and let penstock know of them."""
    with farm(sites, folder) as made:
        penstock.home.mkdir(parents=True, exist_ok=True)
        (penstock.home / "sources.toml").write_text(made.profiles(), encoding="utf-8")
        yield made


def _start_workers(penstock: Penstock, count: int) -> None:
    """Start workers, each with a name of its own for the hosts, and wait until all of them look for work."""
    for number in range(count):
        penstock.environ["PENSTOCK_USER_AGENT"] = f"worker-{number} (a test)"
        penstock.start("work", "--only", "ingest,fetch", "--concurrency", "1")
    log = penstock.home.parent / "background.log"
    wait_for("the workers to be there", lambda: log.read_text().count('"pump.started"') == count)


def _wait_for_pages(made: Farm) -> None:
    """Wait until all pages but the roots, which are pushed, have been fetched."""
    pages = sum(len(one.pages) - 1 for one in made.reach)
    wait_for(f"{pages} pages to be fetched", lambda: made.pages_answered() >= pages, 60 + RETRY_AFTER_SECONDS)


def test_no_host_is_asked_faster_than_its_rate_by_four_workers(quick: Penstock, tmp_path: Path) -> None:
    sites = [
        Site(number=0, seed=SEED, items=60, delay_seconds=0.25),  # so long that each worker gets its turn
        Site(number=1, seed=SEED, items=16, delay_seconds=0.3, concurrency=2),
        Site(number=2, seed=SEED, items=14, delay_seconds=0.4, robots=Robots(digit="3")),
        Site(number=3, seed=SEED, items=16, delay_seconds=0.05, robots=Robots(crawl_delay=0.3)),
        Site(number=4, seed=SEED, items=900, concurrency=2, robots=Robots(status=404)),
        Site(number=5, seed=SEED, items=20, delay_seconds=0.25, robots=Robots(status=500)),
    ]
    with _farm(quick, sites, tmp_path) as made:
        _start_workers(quick, WORKERS)
        quick.push_lines(made.envelopes())
        _wait_for_pages(made)
        asked = made.asked()
    assert rules.broken(sites, asked) == []
    assert len({one.agent for one in asked if one.item}) == WORKERS
    assert max(rules.times_asked(asked).values()) == 1
    assert quick.json("status")["hosts_alone"] == {"robots": 1}
    assert "left alone     hosts: 1 robots; 'penstock hosts' shows which" in quick.run("status")


def test_a_site_that_asks_for_a_pause_gets_it_and_all_of_it_arrives(quick: Penstock, tmp_path: Path) -> None:
    busy = Trouble(after=5, seconds=RETRY_AFTER_SECONDS)
    sites = [
        Site(number=0, seed=SEED, items=60, delay_seconds=0.05, concurrency=2, busy=busy),
        Site(number=1, seed=SEED, items=60, delay_seconds=0.05, concurrency=2),
    ]
    with _farm(quick, sites, tmp_path) as made:
        _start_workers(quick, 1)
        quick.push_lines(made.envelopes())
        _wait_for_pages(made)
        asked = made.asked()
        wait_for("all pages to be stored", lambda: nonzero(quick.json("status")["items"]) == {"fetched": 120})
    assert rules.broken(sites, asked) == []
    turned_away = [one for one in asked if one.status == 503]
    assert 1 <= len(turned_away) <= sites[0].concurrency
    assert quick.json("status")["failures"].keys() <= {"resolved"}
    assert quick.json("audit")["balanced"] is True
