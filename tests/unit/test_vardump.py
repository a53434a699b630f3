from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given

from tasks.errors import Malformed, Truncated
from tasks.steps.page import ParsedPage, Payload, Related, SourceProfile
from tasks.steps.parse import parse
from tasks.steps.parse.dates import date_line, starts_date_line
from tasks.steps.parse.vardump import wire_service
from tasks.steps.related import media_kind, tags_of, uploaded_at
from tests.support.pages import CAPTURED, VardumpPage, body_of, date_line_of, dump_of, moments, vardump_pages

PROFILE = SourceProfile(name="quay", timezone="Asia/Tehran", parser="vardump")
SNIFFED = SourceProfile(name="quay", timezone="Asia/Tehran")
MOMENT = datetime(2022, 2, 24, 7, 41, 9, tzinfo=UTC)
ITEMS = (("17", "One"), ("18", "Captain’s “two”"))


def read(body: bytes, profile: SourceProfile = PROFILE, content_type: str | None = None) -> ParsedPage:
    return parse(Payload(source="quay", body=body, content_type=content_type), profile)


def page(*paragraphs: str, dump: bytes | None = None, desk: str = "E/S 212-11") -> bytes:
    return body_of(MOMENT, paragraphs, desk, dump_of(ITEMS) if dump is None else dump)


def dumped(content: str) -> bytes:
    raw = content.encode()
    return b'string(%d) "%s"' % (len(raw), raw)


def sample_bodies() -> list[bytes]:
    """Own samples, and a real one where the environment names it."""
    bodies = [path.read_bytes() for path in sorted(CAPTURED.glob("harbour*.page.txt"))]
    seed = os.environ.get("PENSTOCK_SEED_FILE")
    return [*bodies, Path(seed).read_bytes()] if seed else bodies


def read_cut(body: bytes, profile: SourceProfile) -> ParsedPage | None:
    """Return the page, or None where it is Truncated; any other error fails the test."""
    try:
        return read(body, profile)
    except Truncated:
        return None


def check_cut(whole: ParsedPage, body: bytes, length: int, profile: SourceProfile) -> None:
    """A cut is Truncated, or it is the page up to a place that may be its end, with nothing made up."""
    cut = read_cut(body[:length], profile)
    if cut is None:
        return
    if not body[length:].strip():
        assert cut == whole, length
        return
    assert cut.paragraphs, length
    assert cut.published_at == whole.published_at
    assert cut.paragraphs[:-1] == whole.paragraphs[: len(cut.paragraphs) - 1], length
    assert whole.paragraphs[len(cut.paragraphs) - 1].startswith(cut.paragraphs[-1]), length
    assert cut.related == (), length
    assert cut.desk_code in (None, whole.desk_code), length
    assert cut.wire_service in (None, whole.wire_service), length
    assert cut.title is None


@pytest.mark.parametrize("body", sample_bodies(), ids=len)
@pytest.mark.parametrize("profile", [PROFILE, SNIFFED], ids=["told", "sniffed"])
def test_a_page_cut_at_any_byte_is_truncated_or_a_page_that_ends_there(body: bytes, profile: SourceProfile) -> None:
    whole = read(body, profile)
    assert whole.related
    for length in range(len(body)):
        check_cut(whole, body, length, profile)


@given(made=vardump_pages())
def test_any_page_cut_at_any_byte_is_truncated_or_a_page_that_ends_there(made: VardumpPage) -> None:
    whole = read(made.body, SNIFFED)
    for length in range(len(made.body)):
        check_cut(whole, made.body, length, SNIFFED)


@given(made=vardump_pages())
def test_a_page_becomes_what_it_was_made_from(made: VardumpPage) -> None:
    whole = read(made.body)
    assert whole.published_at == made.moment.replace(tzinfo=ZoneInfo("Asia/Tehran"))
    assert whole.paragraphs == made.paragraphs
    assert (whole.wire_service, whole.desk_code) == (made.wire, made.desk)
    assert tuple((one.id, one.title) for one in whole.related) == made.related


@given(made=vardump_pages())
def test_windows_line_ends_make_no_difference(made: VardumpPage) -> None:
    head, quote, dump = made.body.rpartition(b"\nstring(")
    assert read(head.replace(b"\n", b"\r\n") + b"\r" + quote + dump + b"\r\n") == read(made.body)


@given(made=vardump_pages())
def test_a_byte_order_mark_and_utf16_make_no_difference(made: VardumpPage) -> None:
    assert read(b"\xef\xbb\xbf" + made.body) == read(made.body)
    assert read(made.body.decode().encode("utf-16")) == read(made.body)


@given(moment=moments)
def test_a_date_line_is_read_back_and_each_start_of_it_known_as_one(moment: datetime) -> None:
    line = date_line_of(moment)
    assert date_line(line, UTC) == moment.replace(tzinfo=UTC)
    assert all(starts_date_line(line[:length]) for length in range(1, len(line) + 1))


@pytest.mark.parametrize(
    "line",
    [
        "Tue Feb 24, 2022 07:41:09",  # it was a Thursday
        "Tue Feb 30, 2022 07:41:09",
        "Thu Feb 24, 2022 24:00:00",
        "Thu Feb 24, 2022 07:61:09",
        "Thu Fab 24, 2022 07:41:09",
        "Thx Feb 24, 2022 07:41:09",
        "Thu Feb 24, 0001 07:41:09",
        "Thu Feb 24, 2022 07:41:0",
        "2022-02-24 07:41:09",
        "Good morning",
    ],
)
def test_a_date_that_is_none_is_told_and_not_bent(line: str) -> None:
    with pytest.raises(Malformed, match="line 1"):
        read(f"{line}\nText.\n".encode())


def test_the_count_is_of_bytes_and_inner_quotes_do_not_end_the_dump() -> None:
    dump = dumped('[{"id":"5","pic":null,"title":"A \\" string(2) \\"x\\" ’"}]')
    assert [(one.id, one.title) for one in read(page("Text.", dump=dump)).related] == [("5", 'A " string(2) "x" ’')]


@pytest.mark.parametrize(
    "dump, why",
    [
        (b'string(3) "[] "x', "follows the dump"),
        (b'string(2) "[]]"', "no closing quote"),
        (b'string(1) "[]"', "no closing quote"),
        (dumped("{"), "not JSON"),
        (dumped("{}"), "not a JSON array"),
        (dumped("[1]"), "not an object"),
        (dumped("[{}]"), "no id"),
        (dumped('[{"id":""}]'), "no id"),
        (dumped('[{"id":true}]'), "no id"),
        (dumped('[{"id":"1","title":3}]'), "not text"),
        (dumped('[{"id":"1","pic":[]}]'), "not text"),
        (b'string(99999999999999999999) "[]"', "impossible length"),
        (b"string(2) []", "no opening quote"),
    ],
)
def test_a_whole_dump_that_is_broken_is_malformed(dump: bytes, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        read(page("Text.", dump=dump))


@pytest.mark.parametrize(
    "dump", [b'string(3) "[]"', b'string(2) "[]', b'string(2) "', b"string(2) ", b"string(2", b"st"]
)
def test_a_dump_that_ends_before_its_count_is_truncated(dump: bytes) -> None:
    with pytest.raises(Truncated):
        read(page("Text.", dump=dump))


@pytest.mark.parametrize(
    "dump, ids", [(b'string(0) ""', []), (b'string(2) "[]"', []), (dumped('[{"id":7}]') + b"\n", ["7"])]
)
def test_empty_lists_and_numeric_ids_are_fine(dump: bytes, ids: list[str]) -> None:
    found = read(page("Text., Courier reported.", dump=dump))
    assert ([one.id for one in found.related], found.wire_service) == (ids, "Courier")


@pytest.mark.parametrize(
    "body", [b"", b" \n", b"Thu", b"Thu Feb 24, 2022 07:41:09", b"Thu Feb 24, 2022 07:41:09\nE/S 2-1\n"]
)
def test_a_page_without_its_text_is_truncated(body: bytes) -> None:
    with pytest.raises(Truncated):
        read(body, SNIFFED)


def test_a_whole_page_without_text_is_malformed() -> None:
    with pytest.raises(Malformed, match="no text"):
        read(page())


def test_no_wire_service_is_claimed_where_the_page_may_go_on() -> None:
    assert read(page("One.", "Two, Courier reported.")[: -len(dump_of(ITEMS))]).wire_service == "Courier"
    assert read(b"Thu Feb 24, 2022 07:41:09\nTwo, Courier reported.\n").wire_service is None


@pytest.mark.parametrize(
    "paragraph, name",
    [
        ("It rained., Independent reported.", "Independent"),
        ("It rained, the Al Jazeera English reported.", "Al Jazeera English"),
        ("امطرت، قالت., رويترز reported.", "رويترز"),
        ("It rained, he reported.", None),
        ("It rained, as Reuters reported.", None),
        ("Independent reported.", None),
        ("It rained, Independent reported. Then it stopped.", None),
        ("A, B, the " + "X" * 61 + ' reported."', "X" * 61),
        ("A, B, the " + "X" * 62 + " reported.", None),
        ("word " * 90 + "it rained, Quay “Post, Courier reported.”", "Courier"),
    ],
)
def test_a_wire_service_is_a_name_at_the_very_end(paragraph: str, name: str | None) -> None:
    assert wire_service(paragraph) == name


@pytest.mark.parametrize(
    "title, tags",
    [
        ("PHOTOS: A", ("PHOTOS",)),
        ("URGENT: VDO: A", ("URGENT", "VDO")),
        (" photos : A", ("PHOTOS",)),
        ("PHOTOS VDO: A", ()),
        ("Urgent/Video: A", ("URGENT", "VIDEO")),
        ("Videotape: A", ()),
        ("The VIDEO: A", ()),
        ("URGENT A", ()),
    ],
)
def test_tags_are_what_the_title_begins_with(title: str, tags: tuple[str, ...]) -> None:
    assert tags_of(title) == tags


def test_upload_time_and_kind_are_read_from_the_path() -> None:
    path = "/2022/02/20/quay_637809451551872335_25f_4x3.MP4?x=1.jpg"
    assert uploaded_at(path) == datetime(2022, 2, 20, 9, 12, 35, 187233, tzinfo=UTC)
    assert media_kind(path) == "video"


@pytest.mark.parametrize(
    "path",
    ["/a/b.jpg", "/a/1234.jpg", "/637809451551872335/b.jpg", "/a/999999999999999999.jpg", "/6378094515518723350.jpg"],
)
def test_nonsense_for_an_upload_time_is_none(path: str) -> None:
    assert uploaded_at(path) is None


def test_related_items_can_be_added_to_as_the_tuples_that_they_were() -> None:
    dump = b'string(47) "[{"id":"5","title":"VDO: Five","pic":"/5.mp4"}]"'
    found = read(page("Text.", dump=dump)).related
    five = Related(id="5", title="VDO: Five", tags=("VDO",), media_kind="video", media_path="/5.mp4")
    six = Related(id="6")
    assert found == (five,)
    assert (found + (six,), (six,) + found) == ((five, six), (six, five))  # noqa: RUF005 (a plug-in may do so)
    assert (found[0], found[-1:], len(found), hash(found)) == (five, (five,), 1, hash((five,)))
    assert "Five" not in repr(found)


def test_legacy_bytes_are_decoded_and_the_count_is_of_those_bytes() -> None:
    items = '[{"id":"5","title":"الميناء القديم مغلق اليوم"}]'.encode("cp1256")
    text = "Thu Feb 24, 2022 07:41:09\nأغلق الميناء يوم الخميس أمام القوارب الصغيرة.\nE/S 2-1\n".encode("cp1256")
    found = read(text + b'string(%d) "%s"' % (len(items), items), content_type="text/plain; charset=windows-1256")
    assert found.paragraphs == ("أغلق الميناء يوم الخميس أمام القوارب الصغيرة.",)
    assert found.related[0].title == "الميناء القديم مغلق اليوم"


@pytest.mark.parametrize(
    "content, why",
    [
        ('[{"id":"é"} ‘]'.encode("cp1252"), r"not JSON: .*char 12\)"),
        ("[{“id”:1}]".encode(), r"not JSON: .*char 2\)"),
        ('[{"id":"۵"}, é]'.encode(), r"not JSON: .*char 13\)"),
        ('[{"id":"۵"}, {"ид":1}]'.encode(), "item 2 of the dump has no id"),
    ],
)
def test_what_is_wrong_in_a_dump_is_told_of_its_text(content: bytes, why: str) -> None:
    with pytest.raises(Malformed, match=why) as caught:
        read(page("Text.", dump=b'string(%d) "%s"' % (len(content), content)), content_type="a/b; charset=windows-1252")
    assert not isinstance(caught.value.__context__, Malformed)


def test_blank_lines_around_the_page_make_no_difference() -> None:
    body = page("Text.")
    assert read(b"\r\n \n" + body + b"\n\n") == read(body)
