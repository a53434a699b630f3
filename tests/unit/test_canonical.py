from __future__ import annotations

import dataclasses
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.steps.canonical import MAX_KEY, bounded_key, canonical_url, failed_identity, host_of, page_identity
from tasks.steps.fingerprint import content_hash
from tasks.steps.page import ParsedPage, Payload

BARE = ParsedPage(parser="html", parser_version=1, paragraphs=("a",))
PAGE = dataclasses.replace(BARE, canonical_url="https://Quay.example/A?utm_x=1")


MERGE = [
    ("HTTP://Quay.Example:80/a", "http://quay.example/a"),
    ("https://quay.example:443", "https://quay.example/"),
    ("https://quay.example/a/./b/../c", "https://quay.example/a/c"),
    ("https://quay.example/a/%2e%2E/b", "https://quay.example/b"),
    ("https://quay.example/a#top", "https://quay.example/a"),
    ("https://quay.example/a?", "https://quay.example/a"),
    ("https://quay.example/a?#", "https://quay.example/a"),
    ("https://quay.example/a?utm_source=x&id=1&fbclid=2", "https://quay.example/a?id=1"),
    ("https://quay.example/a?UTM_Medium=x", "https://quay.example/a"),
    ("https://quay.example/a?mtm_campaign=x&pk_kwd=y&at_medium=z&hsa_acc=1", "https://quay.example/a"),
    ("https://quay.example/a?id=1&gclid", "https://quay.example/a?id=1"),
    ("https://quay.example/a?srsltid=x&id=1&ysclid=y&igsh=z", "https://quay.example/a?id=1"),
    ("https://bücher.example/", "https://xn--bcher-kva.example/"),
    ("https://BÜCHER.example/", "https://bu\u0308cher.example/"),
    ("  https://quay.example/a b\n", "https://quay.example/a%20b"),
    ("https://quay.example/a\n\tb", "https://quay.example/ab"),
    ("https:\\\\quay.example\\a", "https://quay.example/a"),
    ("http://0x7f.1/", "http://127.0.0.1/"),
    ("http://2130706433/", "http://127.0.0.1/"),
    ("http://[::0001]:80/", "http://[::1]/"),
    ("https://quay.example./a", "https://quay.example/a"),
    ("https://quay.example.:8443/a", "https://quay.example:8443/a"),
    ("https://reader:secret@quay.example/a", "https://quay.example/a"),
    ("https://quay.example/ميناء", "https://quay.example/%d9%85%d9%8a%d9%86%d8%a7%d8%a1"),
    ("https://quay.example/a?q=%c3%a9", "https://quay.example/a?q=é"),
]

APART = [
    ("https://quay.example/A", "https://quay.example/a"),
    ("https://quay.example/?q=A", "https://quay.example/?q=a"),
    ("https://quay.example/?a=1&b=2", "https://quay.example/?b=2&a=1"),
    ("https://quay.example/?a=1&a=2", "https://quay.example/?a=2"),
    ("https://quay.example/?a", "https://quay.example/?a="),
    ("https://quay.example/a", "https://quay.example/a/"),
    ("https://quay.example/a", "https://quay.example//a"),
    ("https://quay.example/a", "http://quay.example/a"),
    ("https://quay.example/?source=1", "https://quay.example/?source=2"),
    ("https://quay.example/?uid=1", "https://quay.example/?uid=2"),
    ("https://quay.example/?pk=1", "https://quay.example/?pk=2"),
    ("https://quay.example/?ref=1", "https://quay.example/?ref=2"),
    ("https://quay.example/?at_date=1", "https://quay.example/?at_date=2"),
    ("https://quay.example/?keyword=1", "https://quay.example/"),
    ("https://quay.example/?session=1", "https://quay.example/"),
    ("https://quay.example/?cid=1", "https://quay.example/"),
    ("https://quay.example/?myutm_id=1", "https://quay.example/"),
    ("https://quay.example/?xfbclid=1", "https://quay.example/"),
    ("https://quay.example/?a=utm_source", "https://quay.example/"),
    ("https://quay.example/utm_source=x", "https://quay.example/"),
    ("https://quay.example:8443/", "https://quay.example/"),
    ("https://quay.example:80/", "https://quay.example/"),
    ("https://quay.example/a%2Fb", "https://quay.example/a/b"),
    ("https://quay.example/a%3Fb", "https://quay.example/a?b"),
    ("https://quay.example/a+b", "https://quay.example/a%20b"),
    ("https://quay.example/index.html", "https://quay.example/"),
    ("https://www.quay.example/", "https://quay.example/"),
    ("https://quay.example/%E9", "https://quay.example/é"),
]


@pytest.mark.parametrize("one, other", MERGE)
def test_spellings_of_one_url_become_one(one: str, other: str) -> None:
    assert canonical_url(one) == canonical_url(other) is not None


@pytest.mark.parametrize("one, other", APART)
def test_different_pages_stay_apart(one: str, other: str) -> None:
    assert canonical_url(one) != canonical_url(other)
    assert canonical_url(one) is not None


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/a",
        "quay.example/a",
        "ftp://quay.example/",
        "javascript:alert(1)",
        "data:,x",
        "http://",
        "http://a b/",
        "https://[::1",
    ],
)
def test_what_is_no_http_url_is_none(url: str) -> None:
    assert canonical_url(url) is None
    assert host_of(url) is None


@given(url=st.text(st.characters()) | st.text(st.sampled_from("htps:/?#&=@[]%.aA1utm_ \\")).map("http://a/".__add__))
def test_canonical_is_canonical_and_nothing_raises(url: str) -> None:
    once = canonical_url(url)
    if once is not None:
        assert canonical_url(once) == once
        undotted = re.sub(r"\.+(?=:|$)", "", host_of(url) or "")
        assert host_of(once) in {host_of(url), host_of(f"http://{undotted}/")}


def test_the_host_is_lower_case_with_a_port_of_its_own() -> None:
    assert host_of("HTTPS://Quay.Example:8443/a") == "quay.example:8443"
    assert host_of("http://Quay.Example:80/{id}") == "quay.example"


def test_a_page_is_named_by_item_then_its_own_url_then_where_it_came_from_then_content() -> None:
    assert page_identity(Payload(item="17", url="http://a/", source="a", body=b""), PAGE, "01f") == "17"
    assert page_identity(Payload(item="", url="http://A/?gclid=1", source="a", body=b""), BARE, "01f") == "http://a/"
    assert page_identity(Payload(url="not a url", source="a", body=b""), PAGE, "01f") == "https://quay.example/A"
    assert page_identity(Payload(source="a", body=b""), PAGE, "01f") == "https://quay.example/A"
    assert page_identity(Payload(source="a", body=b""), BARE, content_hash(BARE)) == content_hash(BARE)
    assert failed_identity(Payload(source="a", body=b"", item="17"), "ff") == "17"
    assert failed_identity(Payload(source="a", body=b"", item="", url="http://A/"), "ff") == "http://a/"
    assert failed_identity(Payload(source="a", body=b""), "ff") == "raw:ff"


def named(own: str, declared: str) -> str:
    """Return the identity of a page at a URL that declares another as its canonical one."""
    page = dataclasses.replace(BARE, canonical_url=declared)
    return page_identity(Payload(source="a", body=b"", url=own), page, "01f")


@pytest.mark.parametrize(
    "own, declared",
    [
        ("https://quay.example/amp/a", "https://quay.example/a"),
        ("http://m.quay.example/a", "https://www.quay.example/a"),
        ("https://quay.example/a?ref=home", "https://quay.example/a"),
        ("https://quay.example/?p=17", "https://quay.example/2022/fog"),
        ("https://quay.example/a?id=17&from=home", "https://quay.example/a?id=17"),
        ("https://news.quay.co.uk/a", "https://quay.co.uk/a"),
        ("http://127.0.0.1:8000/a?b", "http://127.0.0.1:8000/a"),
        ("http://localhost/a?b", "http://localhost/a"),
        ("https://quay.example/?utm_source=x", "https://quay.example/"),
        ("https://www.quay.example/", "https://quay.example/"),
    ],
)
def test_a_page_is_believed_about_its_url_within_its_site(own: str, declared: str) -> None:
    assert named(own, declared) == declared


@pytest.mark.parametrize(
    "own, declared",
    [
        ("https://quay.example/a", "https://pier.example/a"),
        ("https://quay.co.uk/a", "https://pier.co.uk/a"),
        ("https://quay.github.io/a", "https://pier.github.io/a"),
        ("https://quay.example/a", "https://quay.example.pier.example/a"),
        ("http://127.0.0.1/a", "http://127.0.0.2/a"),
        ("http://10.0.0.1/a", "http://20.0.0.1/a"),
        ("http://[::1]/a", "http://[::2]/a"),
        ("http://localhost/a", "http://quay/a"),
        ("https://quay.example/a", "https://quay.example/"),
        ("https://quay.example/a", "http://www.quay.example/"),
        ("https://quay.example/?p=17", "https://quay.example/"),
        ("https://quay.example/article.php?id=17", "https://quay.example/article.php"),
        ("https://quay.example/a", "no url"),
    ],
)
def test_a_page_is_not_believed_about_another_site_or_where_it_would_swallow_others(own: str, declared: str) -> None:
    assert named(own, declared) == own


def test_a_key_fits_an_index_and_long_ones_stay_apart() -> None:
    one, other = "é" * 4000 + "a", "é" * 4000 + "b"
    assert len(bounded_key(one).encode()) <= MAX_KEY
    assert bounded_key(one) != bounded_key(other)
    assert bounded_key("x" * MAX_KEY) == "x" * MAX_KEY
