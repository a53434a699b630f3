"""The benchmark of fetching: what peers make of a page, and what is told of crawls."""

from __future__ import annotations

import pytest

from benchmarks import fetching
from benchmarks.crawlers.penstock import Penstock
from benchmarks.crawlers.reading import lines_and_items
from benchmarks.crawlers.scrapy import Scrapy
from benchmarks.fetching import Crawled
from tasks.errors import UsageError
from tests.support.farm.sites import plain_sites


def _crawled(per_s: float, *wrong: str) -> Crawled:
    return Crawled(
        fetches=1000, per_s=per_s, workers_ms=0.5, redis_ms=0.1, database_ms=0.2, farm_ms=0.1, peak_mb=200.0,
        most_under_way=8, robots_asked=True, wrong=wrong,
    )  # fmt: skip


def test_peers_read_the_items_that_a_page_names() -> None:
    (site,) = plain_sites(1, seed=2, items=40)
    lines, items = lines_and_items(site.page(site.item(0)).decode())
    assert items == [site.item(number) for number in range(1, 40)] == site.named(0)
    assert lines[1] == f"Report {site.item(0)} of site-00."


def test_the_report_has_medians_ratios_and_what_is_wrong() -> None:
    found = {"penstock": [_crawled(900), _crawled(600), _crawled(500)], "scrapy": [_crawled(300, "2 pages stored")]}
    text = fetching.report([Penstock(), Scrapy()], found)
    assert (
        "| penstock | 600 (500 to 900) | 2.0 |  | 0.80 | 0.50 | 0.10 | 0.20 | 200 | 1,000 | 8 | asked | right |" in text
    )
    assert "| scrapy | 300 (300 to 300) | 1.0 |" in text
    assert text.count("**wrong**") == 1
    assert Scrapy.settings in text


def test_an_unknown_crawler_is_told() -> None:
    with pytest.raises(UsageError, match="there is no crawler 'scrappy'; there are penstock-fetch, penstock, scrapy"):
        fetching._chosen("penstock,scrappy")
