"""Documents that list pages: sitemaps and pages of links."""

from __future__ import annotations

import gzip

import pytest

from tasks.errors import Malformed, PenstockError, TooLarge, Truncated
from tasks.steps.page import ParsedPage, Payload, SourceProfile
from tasks.steps.parse import choose, parse

PROFILE = SourceProfile(name="quay")
URLSET = '<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9" xmlns:news="http://www.google.com/schemas/sitemap-news/0.9">'


def read(body: str | bytes, *, parser: str | None = None, content_type: str | None = None) -> ParsedPage:
    raw = body.encode() if isinstance(body, str) else body
    payload = Payload(source="quay", body=raw, url="https://quay.example/map.xml", content_type=content_type)
    return parse(payload, SourceProfile(name="quay", parser=parser))


def named(page: ParsedPage) -> list[tuple[str, str | None]]:
    return [(one.id, one.title) for one in page.related]


def urlset(*entries: str) -> str:
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{URLSET}{"".join(f"<url>{one}</url>" for one in entries)}</urlset>'


MAP = urlset(
    "<loc>https://quay.example/old?b=1&amp;a=2</loc><lastmod>2024-01-02</lastmod>",
    "<loc> https://quay.example/new </loc><lastmod>2024-05-06T07:08:09+02:00</lastmod><priority>0.5</priority>",
    "<loc>/relative</loc>",
    "<loc>ftp://quay.example/x</loc>",
    "<lastmod>2025-01-01</lastmod>",
    "<loc>https://quay.example/news</loc><news:news><news:publication><news:name>Q</news:name></news:publication>"
    "<news:publication_date>2024-05-05</news:publication_date><news:title>A ferry &amp; a fog</news:title></news:news>",
)


@pytest.mark.parametrize("content_type", [None, "text/xml", "text/html", "application/xml; charset=utf-8"])
def test_a_sitemap_names_its_pages_the_latest_first(content_type: str | None) -> None:
    page = read(MAP, content_type=content_type)
    assert page.parser == "sitemap"
    assert named(page) == [
        ("https://quay.example/new", None),
        ("https://quay.example/news", "A ferry & a fog"),
        ("https://quay.example/old?b=1&a=2", None),
        ("https://quay.example/relative", None),
    ]


def test_a_gzipped_sitemap_is_the_same() -> None:
    packed = gzip.compress(MAP.encode())
    assert choose(Payload(source="quay", body=packed, content_type="application/gzip"), PROFILE) == "sitemap"
    assert named(read(packed)) == named(read(MAP))


def test_an_index_names_its_sitemaps() -> None:
    page = read("<sitemapindex><sitemap><loc>https://quay.example/1.xml.gz</loc></sitemap></sitemapindex>")
    assert (page.title, named(page)) == (
        "Sitemap index of https://quay.example/map.xml",
        [("https://quay.example/1.xml.gz", None)],
    )


def test_fifty_thousand_pages_are_read() -> None:
    page = read(urlset(*(f"<loc>https://quay.example/{n}</loc><lastmod>2024-01-02</lastmod>" for n in range(50_001))))
    assert len(named(page)) == 50_000


@pytest.mark.parametrize(
    "body,kind,message",
    [
        (MAP[:-3], Truncated, "does not end in its closing tag"),
        (gzip.compress(MAP.encode())[:-30], Truncated, "the gzip stream ends early"),
        (gzip.compress(MAP.encode())[:20] + b"\xff" * 20, Malformed, "the gzip stream is broken"),
        (gzip.compress(bytes(17_000_000)), TooLarge, "more than 16777216 bytes unpacked"),
        (
            "<sitemap><loc>https://quay.example/</loc></sitemap>",
            Malformed,
            "<sitemap> is no sitemap: its root is <urlset>",
        ),
        ('<!DOCTYPE urlset [<!ENTITY a "b">]><urlset></urlset>', Malformed, "not XML"),
        ("", Truncated, "empty"),
    ],
)
def test_what_is_wrong_with_a_sitemap_is_told(body: str | bytes, kind: type[PenstockError], message: str) -> None:
    with pytest.raises(kind, match=message):
        read(body, parser="sitemap")


def test_a_list_page_names_what_it_links_to() -> None:
    page = read(
        "<html lang=de><head><title>Hafen</title><base href=https://quay.example/de/></head><body><h1>Hafen</h1>"
        "<a href=eins><img src=x></a><a href='eins'>Die\n <b>Fähre</b></a><a href=/zwei?utm_source=x#oben>Nebel</a>"
        "<a href=https://other.example/>Fremd</a><a href=mailto:a@quay.example>Post</a><a>nichts</a>"
        "<a href=https://quay.example/map.xml#top>selbst</a></body></html>",
        parser="links",
    )
    assert (page.title, page.language, page.paragraphs) == ("Hafen", "de", ("Hafen",))
    assert named(page) == [
        ("https://quay.example/de/eins", "Die Fähre"),
        ("https://quay.example/zwei", "Nebel"),
        ("https://other.example/", "Fremd"),
    ]


def test_a_list_page_without_text_is_one() -> None:
    page = read("<div><a href=/a></a></div>", parser="links")
    assert (page.title, named(page)) == ("Links of https://quay.example/map.xml", [("https://quay.example/a", None)])
