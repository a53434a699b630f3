"""Robots.txt beyond the rules: whom it names, the pace and sitemaps that it tells, its encoding, and its size."""

from __future__ import annotations

import pytest

from tasks.steps.robots import MOST_BYTES, Rules, product_token, read_rules, robots_text

SITE = "https://quay.example"


def rules(text: str) -> Rules:
    return read_rules(text, "foobot")


@pytest.mark.parametrize(
    "user_agent, token",
    [
        ("penstock/0.1 (crawler without a configured contact)", "penstock"),
        ("Quay-Bot/2.1 (+https://quay.example/bot)", "quay-bot"),
        ("Mozilla/5.0 (compatible; QuayBot/2.1; +https://quay.example/bot)", "quaybot"),
        ("Mozilla/5.0 (X11; Linux x86_64)", "mozilla"),
        ("quay_bot", "quay_bot"),
        ("bot2000/1", "bot2000"),
        ("(quay)", ""),
    ],
)
def test_the_product_token_of_a_user_agent(user_agent: str, token: str) -> None:
    assert product_token(user_agent) == token


def test_a_crawler_without_a_name_obeys_what_is_said_to_all() -> None:
    assert not read_rules("User-agent: x\nAllow: /\nUser-agent: *\nDisallow: /", "").allowed(f"{SITE}/a")


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("User-agent: *\nCrawl-delay: 10", 10.0),
        ("User-agent: *\nCrawl-delay: 0.5\nDisallow: /a", 0.5),
        ("User-agent: *\nDisallow:\nCrawl-delay: 5 # seconds", 5.0),
        ("User-agent: *\nCrawl-delay: 5\nUser-agent: foobot\nCrawl-delay: 2", 2.0),
        ("User-agent: *\nCrawl-delay: 5\nUser-agent: foobot\nDisallow:", 0.0),
        ("User-agent: foobot\nCrawl-delay: 5\nUser-agent: x\nCrawl-delay: 2\nDisallow: /", 5.0),
        ("User-agent: x\nCrawl-delay: 5\nUser-agent: foobot\nDisallow: /", 0.0),
        ("User-agent: x\nUser-agent: foobot\nCrawl-delay: 5", 5.0),
        ("User-agent: *\nRequest-rate: 1/10", 10.0),
        ("User-agent: *\nRequest-rate: 4/2m 0800-1700", 30.0),
        ("User-agent: *\nRequest-rate: 10/1s\nCrawl-delay: 2", 2.0),
        ("User-agent: *\nRequest-rate: 1/1h", 60.0),
        ("User-agent: *\nCrawl-delay: 100000", 60.0),
        ("User-agent: *\nCrawl-delay: -1\nCrawl-delay: x\nCrawl-delay: inf\nCrawl-delay: nan\nRequest-rate: 0/0", 0.0),
        ("Crawl-delay: 5\nUser-agent: *\nDisallow: /", 0.0),
        ("User-agent: *\nDisallow: /", 0.0),
    ],
)
def test_the_delay_that_a_file_asks_for(text: str, seconds: float) -> None:
    assert rules(text).crawl_delay == seconds


def test_sitemaps_are_told_wherever_they_stand() -> None:
    text = "Sitemap: https://Quay.example/a.xml\nUser-agent: x\nsitemap:https://quay.example/b.xml#x\nSitemap: c.xml"
    text += "\nSite-map https://quay.example/a.xml\nSitemap: ftp://quay.example/"
    assert rules(text).sitemaps == ("https://quay.example/a.xml", "https://quay.example/b.xml")


def test_what_is_no_utf_8_is_told_by_its_octets() -> None:
    text = robots_text("User-agent: *\nDisallow: /ميناء\nDisallow: /a\0b".encode("cp1256"))
    assert not rules(text).allowed(f"{SITE}/%E3%ED%E4%C7%C1")
    assert not rules(text).allowed(f"{SITE}/a%00b")
    assert text.encode().find(b"\0") == -1


def test_500_kib_are_read_and_no_half_line() -> None:
    head, last = b"User-agent: *\n", b"Disallow: /last"
    fill = b"#" * (MOST_BYTES - len(head) - len(last) - 1) + b"\n"
    for end in (b"", b"\n", b"\r\n", b"\nDisallow: /beyond\n"):
        found = rules(robots_text(head + fill + last + end))
        assert not found.allowed(f"{SITE}/last")
        assert found.allowed(f"{SITE}/beyond")
    assert rules(robots_text(head + b"#" + fill + last)).allowed(f"{SITE}/las")
    assert rules(robots_text(head + fill + last + b"-only")).allowed(f"{SITE}/last-only")


@pytest.mark.parametrize(
    "body",
    [
        b"".join(b"User-agent: bot-%d\n" % number for number in range(12_000)) + b"Disallow: /a\n" * 20_000,
        b"User-agent: *\n" + b"Disallow: /" + b"*a" * 250_000,
        b"User-agent: *\n" + b"Disallow: /*a*a*a*a*a*a*a*a*a*b$\n" * 15_000,
        b"User-agent: *\n" + b"Disallow" + b" " * 400_000 + b"x\n",
        b"User-agent: *\n" + b"\r" * 500_000,
        b"Sitemap: https://quay.example/%d\n" * 15_000,
    ],
    ids=["agents times rules", "one long pattern", "many patterns", "blanks", "empty lines", "sitemaps"],
)
def test_a_hostile_file_is_read_in_a_time_that_grows_with_its_size(body: bytes) -> None:
    found = rules(robots_text(body))  # what grows with its square takes longer than a test may, and gigabytes
    assert found.allowed(f"{SITE}/{'a' * 2000}")
