from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import Malformed, ParserCrash
from tasks.steps.fingerprint import content_hash, failure_fingerprint, normalise, payload_hash, top_frame
from tasks.steps.page import ParsedPage, Payload, Related, SourceProfile
from tasks.steps.parse import parse
from tests.support.pages import VardumpPage, body_of, dump_of, vardump_pages


def page(*paragraphs: str, title: str | None = None, **other: str) -> ParsedPage:
    fields: dict[str, str | None] = {"title": title, **other}
    return ParsedPage(parser="json", parser_version=1, paragraphs=paragraphs, **fields)  # type: ignore[arg-type]


def test_the_hash_of_a_known_page_never_changes() -> None:
    assert content_hash(page("The “tide”\u00a0turned.", title="Tide")) == (
        "0117e688468a01f1731770b43210fcc384b75962a0f2ac6b2fe3776f421d2c88b7"
    )


@pytest.mark.parametrize(
    "one, other",
    [
        (page("A  b\tc ", "d"), page("A b c", "d")),
        (page("A b", "c"), page("A", "b c")),
        (page("“A” isn’t"), page('"A" isn\'t')),
        (page("cafe\u0301"), page("café")),
        (page("a\u200bb\u00ad\ufeff"), page("ab")),
        (page("a", title=""), page("a", title=None)),
        (page("a", language="en", desk_code="A/B 1-1"), page("a")),
    ],
)
def test_what_does_not_change_the_content_does_not_change_the_hash(one: ParsedPage, other: ParsedPage) -> None:
    assert content_hash(one) == content_hash(other)


@pytest.mark.parametrize(
    "one, other",
    [
        (page("a"), page("b")),
        (page("a"), page("A")),
        (page("a", title="b"), page("a")),
        (page("b", title="a"), page("a b")),
        (page("a", title="b"), page("b", title="a")),
        (page("می\u200cشود"), page("میشود")),
        (page("a b"), page("ab")),
    ],
)
def test_what_changes_the_content_changes_the_hash(one: ParsedPage, other: ParsedPage) -> None:
    assert content_hash(one) != content_hash(other)


@given(made=vardump_pages(), sort=st.integers(1, 10**9), number=st.integers(1, 4))
def test_neighbours_and_their_counters_do_not_change_the_hash(made: VardumpPage, sort: int, number: int) -> None:
    profile = SourceProfile(name="a")
    other = body_of(made.moment, made.paragraphs, made.desk, dump_of((("9", "Other"),) * number, sort))
    same = body_of(made.moment, made.paragraphs, made.desk, dump_of(made.related, sort))
    hashes = {content_hash(parse(Payload(source="a", body=body), profile)) for body in (made.body, other, same)}
    assert len(hashes) == 1


@given(blank=st.text(st.sampled_from(" \n\t"), min_size=1, max_size=5))
def test_white_space_in_markup_does_not_change_the_hash(blank: str) -> None:
    text = ("The tide turned at noon and the boats", "came home with the evening wind behind them.")
    bodies = (f"<html><body><article><p>{space.join(text)}</p></article></body></html>" for space in (" ", blank))
    pages = [parse(Payload(source="a", body=body.encode()), SourceProfile(name="a")) for body in bodies]
    assert content_hash(pages[0]) == content_hash(pages[1])


@given(text=st.text())
def test_normalising_twice_is_normalising_once(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert unicodedata.is_normalized("NFC", once)


white = "".join(char for char in map(chr, range(sys.maxunicode + 1)) if char.isspace())
odd = st.text(st.sampled_from(white + "\u00ad\u200b\u200c\u2060\ufeff‘’‚‛“”„‟\u0301\u0323\u037e\u212baeé ب\ud800"))


@given(text=st.text() | odd)
def test_normalising_takes_one_thing_after_the_other(text: str) -> None:
    """The plain way; ``normalise`` leaves out what a text does not need."""
    expected = text.translate(dict.fromkeys(map(ord, "\u00ad\u200b\u2060\ufeff")))
    expected = expected.translate(dict.fromkeys(map(ord, "‘’‚‛"), "'") | dict.fromkeys(map(ord, "“”„‟"), '"'))
    assert normalise(text) == " ".join(unicodedata.normalize("NFC", expected).split())


def test_what_white_space_and_invisible_characters_are_is_not_printable() -> None:
    assert not any(char.isprintable() for char in white + "\u00ad\u200b\u2060\ufeff" if char != " ")


@given(text=st.text(st.characters()))
def test_any_text_has_a_hash(text: str) -> None:
    assert len(content_hash(page(text, title=text))) == 66


def test_related_items_are_no_content() -> None:
    with_items = ParsedPage(parser="json", parser_version=1, paragraphs=("a",), related=(Related(id="1"),))
    assert content_hash(with_items) == content_hash(page("a"))


def test_a_payload_hash_is_the_sha256_of_the_bytes() -> None:
    assert payload_hash(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_failures_of_one_class_place_and_source_share_a_fingerprint() -> None:
    one = failure_fingerprint("Malformed", "tasks.a:b", "alalam")
    assert one == failure_fingerprint("Malformed", "tasks.a:b", "alalam")
    assert len(one) == 16
    assert int(one, 16) >= 0
    others = {
        failure_fingerprint(*parts) for parts in (("X", "tasks.a:b", "s"), ("X", "tasks.a", "bs"), ("X", "t", "s"))
    }
    assert len(others | {one}) == 4


def test_the_top_frame_is_the_deepest_of_ours() -> None:
    with pytest.raises(Malformed) as caught:
        parse(Payload(source="a", body=b"Tue Feb 24, 2022 07:41:09\nx.\n"), SourceProfile(name="a"))
    assert top_frame(caught.value) == "tasks.steps.parse.dates:date_line"


def test_the_top_frame_of_a_crash_is_where_its_cause_arose() -> None:
    with pytest.raises(ParserCrash) as caught:
        parse(
            Payload(source="a", body=b"Thu Feb 24, 2022 07:41:09\nx.\n"), SourceProfile(name="a", timezone="No/Where")
        )
    assert top_frame(caught.value) == "tasks.steps.parse.dates:zone_of"
    assert top_frame(KeyError("x")) == "unknown"
