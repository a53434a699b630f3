from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import MemoryLimit, ParserCrash, PenstockError, TimeLimit, Truncated, UnknownFormat
from tasks.steps import parse as seam
from tasks.steps.page import ParsedPage, Payload, SourceProfile
from tasks.steps.parse import PARSER_VERSIONS, Parser, choose, parse
from tests.support.pages import CAPTURED, VardumpPage, vardump_pages

ALLOWED = {"Truncated", "Malformed", "UnknownFormat", "TooLarge", "Undecodable", "MemoryLimit"}
ANY = SourceProfile(name="any")
SAMPLES = [path.read_bytes() for path in sorted(CAPTURED.glob("*.page.*"))]
PARSERS = st.sampled_from([None, "vardump", "json", "html", "feed"])


def parsed(payload: Payload, profile: SourceProfile) -> ParsedPage | PenstockError:
    try:
        return parse(payload, profile)
    except PenstockError as error:
        return error


def check_quiet(body: bytes, parser: str | None) -> None:
    """Parse; anything but our own errors fails the test, and so does a crash of a parser that we do not expect."""
    found = parsed(Payload(source="a", body=body), SourceProfile(name="a", parser=parser))
    if isinstance(found, PenstockError):
        assert found.error_class in ALLOWED, found.__cause__
        assert found.details.get("parser") in PARSER_VERSIONS or found.error_class in {"UnknownFormat", "Truncated"}
        assert str(pickle.loads(pickle.dumps(found))) == str(found)  # noqa: S301 (errors cross processes)
        return
    assert found.paragraphs
    assert found.parser_version == PARSER_VERSIONS[found.parser]
    assert "\0" not in repr(found) + "".join(found.paragraphs)


@given(body=st.binary(max_size=300), parser=PARSERS)
def test_no_bytes_make_a_parser_raise_anything_else(body: bytes, parser: str | None) -> None:
    check_quiet(body, parser)


@given(data=st.data(), body=st.sampled_from(SAMPLES), parser=PARSERS)
def test_no_mutation_of_a_page_makes_a_parser_raise_anything_else(
    data: st.DataObject, body: bytes, parser: str | None
) -> None:
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body)))
        gone = data.draw(st.integers(0, 20))
        body = body[:at] + data.draw(st.binary(max_size=6)) + body[at + gone :]
    check_quiet(body, parser)


HOSTILE = {
    "nested elements": b"<html><body>" + b"<div>" * 20_000 + b"x</html>",
    "a tag with too many attributes": b"<html><body><p "
    + b" ".join(b"a%d=1" % n for n in range(20_000))
    + b">x</html>",
    "too many tags": b"<html><body>" + b"<b>x</b>" * 40_000 + b"</html>",
    "misnested elements": b"<html><body>" + b"<b i>" * 5_000 + b"<i i>" * 3_000 + b"x</b></html>",
    "a doubtful class at each level": b"<html><body>" + b"<div class=ad>" * 10_000 + b"x " * 100 + b"</html>",
    "tags that are opened again and again": b"<html><body>" + b"<b i>" * 4_500 + b"<i i>" * 3_000 + b"x</b></html>",
    "nested elements of 220 KB": b"<html><body>" + b"<div>" * 40_000 + b"x</html>",
    "microdata in microdata": b"<html><body>"
    b"<p itemscope itemtype=http://schema.org/Article itemprop=author>"
    + b"<b itemscope itemprop=author>" * 9_000
    + b"x</html>",
    "authors in authors": b"<html><body><h1>A b</h1>"
    + b"<b itemprop=author class=author>" * 9_000
    + b"Ida Holm</html>",
    "authors without end": b"<html><body><h1>A b</h1><article>" + b"<a rel=author>Ida Holm</a> " * 9_000 + b"</html>",
    "headings in headings": b"<html><title>A b</title><body>" + b"<h1><div>" * 9_000 + b"A<br>b</html>",
    "dates in dates": b"<html><body><article><h1>A b</h1>" + b"<time datetime=2024-03-12>" * 9_000 + b"x</html>",
    "a byline without end": b"<html><body><h1>A b</h1><p>" + b"By Ida 1 2024 | " * 60_000 + b"</html>",
    "a title without end": b"<html><title>" + b"a | " * 200_000 + b"</title><body><p>x</html>",
    "an author without end": b"<html><meta name=author content='" + b"A, " * 200_000 + b"'><h1>A b</h1><p>x</html>",
    "JSON-LD of white space": b"<html><script type='application/ld+json'>{," + b" " * 900_000 + b"</script><p>x</html>",
    "links without end": b"<html><body><article><p>" + b"<a href=/a/b?c>a word </a>" * 15_000 + b"</html>",
    "paragraphs without end": b"<html><body><article>"
    + b"<p>the same few words again and again, as if it were an article" * 20_000
    + b"</html>",
    "breaks without end": b"<html><body><article><div>" + b"a word and another one<br>" * 40_000 + b"</html>",
    "scripts that never end": b"<html><script \"'" * 40_000 + b"<p>x</html>",
    "scripts without end": b"<html>" + b"<script><" * 45_000 + b"</html>",
    "too many bytes": b"<html><body><p>" + b"x " * 1_100_000 + b"</html>",
    "unclosed quotes": b"<html><a \"'" * 4_000 + b"</html>",
    "nested JSON": b"[" * 100_000,
    "closed nested JSON": b"[" * 100_000 + b"]" * 100_000,
    "nested JSON-LD": b"<html><script type='application/ld+json'>"
    + b"[" * 9_999
    + b"]" * 9_999
    + b"</script><p>x</html>",
    "NUL": b"Thu Feb 24, 2022 07:41:09\nA\0b.\n",
    "NUL in JSON": b'{"body": "a\\u0000b", "title": "\\u0000"}',
    "NUL in HTML": b"<html><body><p>a&#0;b \0 c and more text to be kept here</p></body></html>",
    "surrogates": b'{"body": "\\ud800"}',
    "a number too long": b'{"body": "x", "related": [' + b"9" * 5_000 + b"]}",
    "dumps without end": b"Thu Feb 24, 2022 07:41:09\n" + b'x string(1) "' * 50_000,
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("parser", [None, "vardump", "json", "html", "feed"])
def test_hostile_pages_are_pages_or_our_errors(name: str, parser: str | None) -> None:
    check_quiet(HOSTILE[name], parser)


@pytest.mark.parametrize(
    "body, content_type, parser",
    [
        (b'{"a": 1}', None, "json"),
        (b" [1]", "text/plain; charset=utf-8", "json"),
        (b"<!doctype html><p>x", None, "html"),
        (b"\xef\xbb\xbf<p>x", "application/octet-stream", "html"),
        (b"x", "text/html", "html"),
        (b"<p>x", "application/ld+json", "json"),
        (b"Thu Feb 24, 2022 07:41:09\nx", None, "vardump"),
        (b"Thu Feb 24, 2022 07:41:09\nx", "text/html; charset=utf-8", "vardump"),
        (b"Th", None, "vardump"),
    ],
)
def test_the_parser_is_chosen_by_content_type_and_first_bytes(body: bytes, content_type: str, parser: str) -> None:
    assert choose(Payload(source="a", body=body, content_type=content_type), ANY) == parser


@pytest.mark.parametrize(
    "body", [b"Hello", b"\x89PNG\r\n", b"<?xml version='1.0'?><svg></svg>", b"%PDF-1.4", b"Thursday"]
)
def test_what_nobody_recognises_is_an_unknown_format(body: bytes) -> None:
    with pytest.raises(UnknownFormat) as caught:
        parse(Payload(source="a", body=body), ANY)
    assert "parser" not in caught.value.details


def test_an_empty_payload_is_truncated() -> None:
    with pytest.raises(Truncated):
        parse(Payload(source="a", body=b" \n "), ANY)


def test_the_profile_outweighs_everything() -> None:
    profile = SourceProfile(name="a", parser="html")
    assert choose(Payload(source="a", body=b"{}", content_type="application/json"), profile) == "html"


class SoftTimeLimitExceeded(Exception):
    pass


@pytest.mark.parametrize(
    "raised, expected",
    [
        (RecursionError("deep"), MemoryLimit),
        (MemoryError(), MemoryLimit),
        (KeyError("x"), ParserCrash),
        (SoftTimeLimitExceeded(), TimeLimit),
    ],
)
def test_a_foreign_error_of_a_parser_becomes_ours_with_the_original_as_its_cause(
    raised: Exception, expected: type[PenstockError], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_payload: Payload, _profile: SourceProfile) -> ParsedPage:
        raise raised

    monkeypatch.setattr(seam, "PARSERS", {"json": Parser(name="json", version=1, interface=1, parse=broken)})
    with pytest.raises(expected) as caught:
        parse(Payload(source="a", body=b"{}"), ANY)
    assert caught.value.__cause__ is raised
    assert caught.value.details["parser"] == "json"


@pytest.mark.parametrize("path", sorted(CAPTURED.glob("*.page.json")), ids=lambda path: path.name)
def test_a_json_page_cut_at_any_byte_is_truncated(path: Path) -> None:
    body = path.read_bytes()
    for length in range(len(body)):
        with pytest.raises(Truncated):
            parse(Payload(source="a", body=body[:length], content_type="application/json"), ANY)


@pytest.mark.parametrize("name", ["article", "leaked", "arabic"])
def test_an_html_page_cut_at_any_byte_is_no_page(name: str) -> None:
    body = (CAPTURED / f"{name}.page.html").read_bytes().rstrip()
    for length in range(0, len(body), 7):
        with pytest.raises(PenstockError) as caught:
            parse(Payload(source="a", body=body[:length], content_type="text/html"), ANY)
        assert caught.value.error_class in {"Truncated", "Malformed"}
        assert caught.value.error_class == "Truncated" or length < body.index(b"<head>")


@given(made=vardump_pages())
def test_parsing_is_a_function_of_the_bytes(made: VardumpPage) -> None:
    payload = Payload(source="a", body=made.body)
    assert parse(payload, ANY) == parse(payload, ANY)


@pytest.mark.parametrize(
    "value, name", [(Payload(source="s", body=b"text"), "body"), (SourceProfile(name="s"), "max_depth")]
)
def test_what_a_parser_is_handed_cannot_be_changed(value: Payload | SourceProfile, name: str) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, name, None)
