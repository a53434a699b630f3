from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.steps.canonical import MAX_KEY, bounded_key, canonical_url, failed_identity, host_of, page_identity
from tasks.steps.fingerprint import content_hash
from tasks.steps.page import ParsedPage, Payload

PAGE = ParsedPage(parser="html", parser_version=1, paragraphs=("a",), canonical_url="https://Quay.example/A?utm_x=1")


@pytest.mark.parametrize(
    "one, other",
    [
        ("HTTP://Quay.Example:80/a", "http://quay.example/a"),
        ("https://quay.example:443", "https://quay.example/"),
        ("https://quay.example/a/./b/../c", "https://quay.example/a/c"),
        ("https://quay.example/a#top", "https://quay.example/a"),
        ("https://quay.example/a?", "https://quay.example/a"),
        ("https://quay.example/a?utm_source=x&id=1&fbclid=2", "https://quay.example/a?id=1"),
        ("https://quay.example/a?UTM_Medium=x", "https://quay.example/a"),
        ("https://bücher.example/", "https://xn--bcher-kva.example/"),
        ("  https://quay.example/a b\n", "https://quay.example/a%20b"),
        ("https:\\\\quay.example\\a", "https://quay.example/a"),
        ("http://0x7f.1/", "http://127.0.0.1/"),
    ],
)
def test_spellings_of_one_url_become_one(one: str, other: str) -> None:
    assert canonical_url(one) == canonical_url(other) is not None


@pytest.mark.parametrize(
    "one, other",
    [
        ("https://quay.example/A", "https://quay.example/a"),
        ("https://quay.example/?q=A", "https://quay.example/?q=a"),
        ("https://quay.example/?a=1&b=2", "https://quay.example/?b=2&a=1"),
        ("https://quay.example/a", "https://quay.example/a/"),
        ("https://quay.example/a", "http://quay.example/a"),
        ("https://quay.example/?source=1", "https://quay.example/?source=2"),
        ("https://quay.example/?uid=1", "https://quay.example/?uid=2"),
        ("https://quay.example/?keyword=1", "https://quay.example/"),
        ("https://quay.example/?session=1", "https://quay.example/"),
        ("https://quay.example/?myutm_id=1", "https://quay.example/"),
        ("https://quay.example:8443/", "https://quay.example/"),
        ("https://quay.example/a%2Fb", "https://quay.example/a/b"),
        ("https://www.quay.example/", "https://quay.example/"),
    ],
)
def test_different_pages_stay_apart(one: str, other: str) -> None:
    assert canonical_url(one) != canonical_url(other)


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
        assert host_of(once) == host_of(url)


def test_the_host_is_lower_case_with_a_port_of_its_own() -> None:
    assert host_of("HTTPS://Quay.Example:8443/a") == "quay.example:8443"
    assert host_of("http://Quay.Example:80/{id}") == "quay.example"


def test_a_page_is_named_by_item_then_url_then_its_own_url_then_content() -> None:
    assert page_identity(Payload(item="17", url="http://a/", source="a", body=b""), PAGE, "01f") == "17"
    assert page_identity(Payload(item="", url="http://A/?gclid=1", source="a", body=b""), PAGE, "01f") == "http://a/"
    assert page_identity(Payload(url="not a url", source="a", body=b""), PAGE, "01f") == "https://quay.example/A"
    bare = ParsedPage(parser="html", parser_version=1, paragraphs=("a",))
    assert page_identity(Payload(source="a", body=b""), bare, content_hash(bare)) == content_hash(bare)
    assert failed_identity(Payload(source="a", body=b"", item="17"), "ff") == "17"
    assert failed_identity(Payload(source="a", body=b"", item="", url="http://A/"), "ff") == "http://a/"
    assert failed_identity(Payload(source="a", body=b""), "ff") == "raw:ff"


def test_a_key_fits_an_index_and_long_ones_stay_apart() -> None:
    one, other = "é" * 4000 + "a", "é" * 4000 + "b"
    assert len(bounded_key(one).encode()) <= MAX_KEY
    assert bounded_key(one) != bounded_key(other)
    assert bounded_key("x" * MAX_KEY) == "x" * MAX_KEY
