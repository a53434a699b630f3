from __future__ import annotations

from pathlib import Path

import pytest

from tasks.errors import Malformed, PenstockError, TooLarge, Truncated
from tasks.steps.follow import discover
from tasks.steps.page import ItemState, ParsedPage, Payload, SourceProfile
from tasks.steps.parse import choose, parse
from tests.support.pages import CAPTURED

ANY = SourceProfile(name="quay")
FEED_URL = "https://quay.example/feed"
FEEDS = sorted(CAPTURED.glob("*.page.xml"))


def read(body: str | bytes, content_type: str | None = None) -> ParsedPage:
    raw = body.encode() if isinstance(body, str) else body
    return parse(Payload(source="quay", body=raw, content_type=content_type, url=FEED_URL), ANY)


def rss(*items: str, about: str = "<title>The Quay</title>") -> str:
    return f'<rss version="2.0"><channel>{about}{"".join(items)}</channel></rss>'


def entry(inner: str) -> ParsedPage:
    return read(rss(f"<item>{inner}<description>Fog.</description></item>"))


@pytest.mark.parametrize("path", FEEDS, ids=lambda path: path.name)
def test_a_feed_cut_at_any_byte_is_truncated(path: Path) -> None:
    body = path.read_bytes()
    profile = SourceProfile(name="quay", parser="feed")
    end = body.rindex(b"</") + 2
    for length in range(body.index(b">", end)):
        with pytest.raises(Truncated):
            parse(Payload(source="quay", body=body[:length]), profile)


@pytest.mark.parametrize("path", FEEDS, ids=lambda path: path.name)
@pytest.mark.parametrize(
    "content_type", [None, "application/xml", "text/xml; charset=utf-8", "text/html", "text/plain"]
)
def test_a_feed_is_known_by_its_first_tag(path: Path, content_type: str | None) -> None:
    assert choose(Payload(source="quay", body=path.read_bytes(), content_type=content_type), ANY) == "feed"


@pytest.mark.parametrize("kind", ["rss", "atom", "rdf"])
def test_a_feed_is_known_by_its_content_type(kind: str) -> None:
    assert choose(Payload(source="quay", body=b"<x/>", content_type=f"application/{kind}+xml"), ANY) == "feed"


@pytest.mark.parametrize(
    "body", [b"<?xml version='1.0'?><!DOCTYPE html><html><body><p>rss</p></body></html>", b"<div><rss></rss></div>"]
)
def test_what_only_mentions_a_feed_is_none(body: bytes) -> None:
    assert choose(Payload(source="quay", body=body), ANY) == "html"


@pytest.mark.parametrize(
    "inner, link",
    [
        ("<link>/a</link>", "https://quay.example/a"),
        ("<link> https://quay.example/a?b </link><guid>https://quay.example/c</guid>", "https://quay.example/a?b"),
        ("<link/><guid>https://quay.example/c</guid>", "https://quay.example/c"),
        ("<link>mailto:a@quay.example</link><guid>17</guid>", None),
        ('<guid isPermaLink="false">https://quay.example/c</guid>', None),
        ('<link rel="self" href="/b"/><link href="/a"/>', "https://quay.example/a"),
        ("", None),
    ],
)
def test_an_entry_is_where_its_link_says(inner: str, link: str | None) -> None:
    assert entry(inner).canonical_url == link


@pytest.mark.parametrize(
    "inner, authors",
    [
        ("<author>ida@quay.example (Ida Holm)</author>", ("Ida Holm",)),
        ("<author>ida@quay.example</author>", ()),
        ("<author>Ida Holm</author><author>Ida Holm</author>", ("Ida Holm",)),
        ("<author><name>Ida Holm</name><email>i@quay.example</email></author>", ("Ida Holm",)),
        ("<author/>", ()),
    ],
)
def test_authors_are_names(inner: str, authors: tuple[str, ...]) -> None:
    assert entry(inner).authors == authors


@pytest.mark.parametrize(
    "body, paragraphs",
    [
        ("<description>One.\n\nTwo &amp; three.</description>", ("One.", "Two & three.")),
        ("<description>&lt;p&gt;One.&lt;/p&gt;&lt;p&gt;Two &amp;amp; three.&lt;/p&gt;</description>",
         ("One.", "Two & three.")),
        ("<description><p>One.</p><p>Two.</p></description>", ("One.", "Two.")),
        ("<description> </description><summary>One.</summary>", ("One.",)),
        ("<description>caf&eacute;&nbsp;&hellip;</description>", ("café …",)),
    ],
)  # fmt: skip
def test_a_body_is_text_or_markup_escaped_or_not(body: str, paragraphs: tuple[str, ...]) -> None:
    assert read(rss(f"<item>{body}</item>")).paragraphs == paragraphs


def test_the_encoding_of_the_declaration_counts() -> None:
    body = (
        f'<?xml version="1.0" encoding="windows-1251"?>{rss("<item><description>Порт закрыли.</description></item>")}'
    )
    assert read(body.encode("cp1251")).paragraphs == ("Порт закрыли.",)
    assert read(body.replace("windows-1251", "utf-16").encode("utf-16")).paragraphs == ("Порт закрыли.",)


def test_the_entries_of_a_feed_are_followed_where_the_source_allows_them() -> None:
    items = "".join(
        f"<item><link>https://{host}/a?utm_source=rss</link></item>" for host in ("quay.example", "pier.example")
    )
    page = read(rss(items, "<item><guid>17</guid></item>", "<item><link>/feed</link></item>"))
    payload = Payload(source="quay", body=b"", url=FEED_URL)
    profile = SourceProfile(name="quay", hosts=("quay.example",), max_depth=1)
    found = discover(page, payload, profile)
    assert [(one.item_key, one.item, one.url, one.state) for one in found] == [
        ("https://quay.example/a", "https://quay.example/a", "https://quay.example/a", ItemState.DUE),
        ("https://pier.example/a", "https://pier.example/a", None, ItemState.UNROUTABLE),
        ("17", "17", None, ItemState.UNROUTABLE),
    ]
    assert {one.state for one in discover(page, payload, ANY)} == {ItemState.UNROUTABLE}


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
HOSTILE = {
    "a billion laughs": f'<?xml version="1.0"?><!DOCTYPE rss [<!ENTITY l0 "ha">{LAUGHS}]>'
    + rss("<item><description>&l9;</description></item>"),
    "an external entity": '<!DOCTYPE rss [<!ENTITY x SYSTEM "file:///etc/hostname">]>'
    + rss("<item><description>&x;</description></item>"),
    "a parameter entity": '<!DOCTYPE rss [<!ENTITY % x SYSTEM "http://127.0.0.1:9/x">%x;]>' + rss(),
    "an external subset": '<!DOCTYPE rss SYSTEM "http://127.0.0.1:9/x">' + rss("<item><title>&x;</title></item>"),
    "an unknown entity": rss("<item><description>&nosuch;</description></item>"),
    "deep nesting": rss("<item><description>" + "<b>" * 5_000 + "x" + "</b>" * 5_000 + "</description></item>"),
    "no entry": rss(),
    "an entry without text": rss("<item><title>A</title></item>"),
    "a feed without a name": rss("<item/>", "<item/>", about=""),
    "an unclosed element": rss("<item><title>A</item>"),
    "an unclosed prefix": rss("<item><x:y>A</x:y></item>"),
    "a control character": rss("<item><description>\x0b</description></item>"),
    "two roots": rss("<item><description>A</description></item>") * 2,
    "no tag": "<<<",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_or_empty_feed_is_malformed(name: str) -> None:
    payload = Payload(source="quay", body=HOSTILE[name].encode(), content_type="application/rss+xml")
    with pytest.raises(PenstockError) as caught:
        parse(payload, ANY)
    assert type(caught.value) is Malformed or (type(caught.value), name) == (Truncated, "no tag")


@pytest.mark.parametrize(
    "body",
    [
        rss("<item><description>" + "x " * 2_600_000 + "</description></item>"),
        rss("<item><description>x</description></item>" * 30_000),
        rss("<item " + " ".join(f'a{n}=""' for n in range(20_000)) + "/>"),
    ],
    ids=["5 MB", "too many tags", "too many attributes"],
)
def test_a_feed_beyond_the_caps_is_too_large(body: str) -> None:
    with pytest.raises(TooLarge):
        read(body)


def test_comments_without_end_before_the_root_are_read_once() -> None:
    body = "<!-- a --><!-- b -->" * 20_000
    with pytest.raises(Truncated):
        read(body, "application/rss+xml")
    with pytest.raises(PenstockError):
        read(body + "<!--" * 20_000)
