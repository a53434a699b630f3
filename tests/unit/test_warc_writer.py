"""Our raw archive, read by warcio, which shares no code with us, and by our own reader."""

from __future__ import annotations

import gzip
import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from warcio.archiveiterator import ArchiveIterator

from tasks.errors import UsageError
from tasks.steps.dedupe import Identity
from tasks.steps.fingerprint import payload_hash
from tasks.steps.page import Payload
from worker.readers import read_paths
from worker.store import Archived
from worker.warc_writer import MAX_EXTRA, records

NOW = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LIMIT = 100_000


def archived(payload: Payload, **changes: Any) -> Archived:
    moment = payload.fetched_at or NOW
    one = Archived(
        kind="revision",
        identity=Identity(payload.source, payload.item or "key"),
        observed_at=(moment - EPOCH) // timedelta(microseconds=1),
        payload_hash=payload_hash(payload.body),
        payload=payload,
    )
    return replace(one, **changes)


def written(*archive: Archived) -> bytes:
    return b"".join(record for record in records(iter(archive), "penstock/1", NOW) if record is not None)


def read(content: bytes, source: str | None = None) -> list[Payload | UsageError | None]:
    reads = read_paths(["-"], source=source, fmt="warc", stdin=io.BytesIO(gzip.decompress(content)), max_body=LIMIT)
    return [one.result for one in reads]


def by_warcio(content: bytes) -> list[tuple[dict[str, str], bytes]]:
    """Return header and content of each record; warcio checks the digests, and that each is a gzip member."""
    with io.BytesIO(content) as stream:
        iterator = ArchiveIterator(stream, check_digests="raise")
        return [(dict(record.rec_headers.headers), record.content_stream().read()) for record in iterator]


FULL = Payload(
    source="s",
    body=b"\xff\0<p>\r\n\r\nWARC/1.1\r\n",
    item="42",
    url="http://h/a?b=%20c&d[]=1",
    fetched_at=NOW,
    content_type="text/html; charset=windows-1256",
    status=203,
    depth=2,
    parent="41",
    extra={"crawler": "7"},
)


def test_warcio_reads_a_record_with_its_bytes_digests_and_fields() -> None:
    (info, _), (fields, body) = by_warcio(written(archived(FULL)))
    assert (info["WARC-Type"], info["Content-Type"]) == ("warcinfo", "application/warc-fields")
    assert body == FULL.body
    digest = fields.pop("WARC-Block-Digest")
    assert digest.startswith("sha256:")
    assert fields.pop("WARC-Payload-Digest") == digest
    assert fields.pop("WARC-Record-ID").startswith("<urn:uuid:")
    assert fields == {
        "WARC-Type": "resource",
        "WARC-Target-URI": FULL.url,
        "WARC-Date": "2024-05-06T07:08:09.123456Z",
        "Penstock-Kind": "revision",
        "Penstock-Source": "s",
        "Penstock-Item": "42",
        "Penstock-Status": "203",
        "Penstock-Depth": "2",
        "Penstock-Parent": "41",
        "Penstock-Extra": '{"crawler":"7"}',
        "Content-Type": "text/html; charset=windows-1256",
        "Content-Length": str(len(FULL.body)),
    }


def test_a_digest_that_does_not_fit_is_noticed_by_warcio_and_by_us() -> None:
    content = gzip.decompress(written(archived(replace(FULL, body=b"the bytes as they came"))))
    damaged = content.replace(b"the bytes", b"the lies!")
    with pytest.raises(Exception, match="digest failed"):
        by_warcio(damaged)
    _, error = read(gzip.compress(damaged))
    assert isinstance(error, UsageError)
    assert "do not match" in str(error)


def test_the_same_page_has_the_same_record_id_in_each_export() -> None:
    ids = [by_warcio(written(archived(FULL)))[1][0]["WARC-Record-ID"] for _ in range(2)]
    later = archived(FULL, observed_at=1)
    assert ids[0] == ids[1] != by_warcio(written(later))[1][0]["WARC-Record-ID"]


_characters = st.characters(codec="utf-8", exclude_characters="\0")
_texts = st.text(_characters, min_size=1, max_size=40)
_awkward = _texts | st.sampled_from(
    [
        "a\r\nWARC-Type: response",
        " x ",
        "%41",
        "caf%E9",
        "<http://h/>",
        "urn:penstock:s:1",
        "x: y",
        "é",
        "text/html\n",
        "\u2028",
    ]
)
_payloads = st.builds(
    Payload,
    source=_awkward,
    body=st.binary(max_size=200) | st.just(b"\r\n\r\nWARC/1.1\r\nContent-Length: 9\r\n\r\n"),
    item=st.none() | _awkward,
    url=st.none() | _awkward | st.just("http://h/1"),
    fetched_at=st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)),  # noqa: DTZ001
    content_type=st.none() | _awkward | st.sampled_from(["text/html", "application/octet-stream"]),
    status=st.none() | st.integers(100, 999),
    depth=st.integers(0, 1_000_000),
    parent=st.none() | _awkward,
    extra=st.dictionaries(_awkward.filter(lambda name: name not in {"v", "enc"}), _awkward | st.just("\0"), max_size=3),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(_payloads, max_size=3))
def test_whatever_an_envelope_holds_comes_back_as_it_was(payloads: list[Payload]) -> None:
    content = written(*(archived(one) for one in payloads))
    assert read(content) == [None, *payloads]
    found = by_warcio(content)
    assert [body for _, body in found[1:]] == [one.body for one in payloads]
    assert all(value.isascii() and value.isprintable() for fields, _ in found for value in fields.values())


def test_an_envelope_longer_than_a_line_of_the_reader_comes_back() -> None:
    long = replace(FULL, url="http://h/" + "ж" * 8000, extra={"long": "ж" * 80_000})
    assert read(written(archived(long))) == [None, long]
    assert len(by_warcio(written(archived(long)))) == 2


def test_unknown_fields_beyond_what_readers_take_are_left_out_and_it_is_said() -> None:
    content = written(archived(replace(FULL, extra={"long": "x" * MAX_EXTRA})))
    assert read(content) == [None, replace(FULL, extra={})]
    assert by_warcio(content)[1][0]["Penstock-Extra-Omitted"] == str(MAX_EXTRA + 11)


def test_a_page_without_bytes_has_no_record() -> None:
    assert list(records(iter([replace(archived(FULL), payload=None)]), "p", NOW))[1:] == [None]


def test_our_records_name_their_own_source_and_others_take_the_one_that_is_given() -> None:
    assert read(written(archived(FULL)), source="other") == [None, FULL]
    foreign = b"WARC/1.1\r\nWARC-Type: response\r\nContent-Length: 19\r\n\r\nHTTP/1.1 200 OK\r\n\r\n\r\n\r\n"
    assert isinstance(read(gzip.compress(foreign), source="other")[0], Payload)
    with pytest.raises(UsageError, match="give --source"):
        read(gzip.compress(foreign))


def test_an_envelope_that_could_not_be_read_is_told_instead_of_pushed_as_another() -> None:
    kept = replace(FULL, extra={"v": "2"})
    (_, error) = read(written(archived(kept, kind="failure")))
    assert isinstance(error, UsageError)
    assert "record at byte" in str(error)
    assert "field 'v'" in str(error)


@pytest.mark.parametrize(
    "old, new, message",
    [
        (b"Penstock-Depth: 2", b"Penstock-Depth: x", "penstock-depth is no number"),
        (b"Penstock-Item: 42", b"Penstock-Item: %ff", "penstock-item is not UTF-8"),
        (b'{"crawler":"7"}', b'{"crawler":7}', "no object of texts"),
        (b'{"crawler":"7"}', b"{", "no JSON"),
    ],
)
def test_a_field_that_we_did_not_write_is_told(old: bytes, new: bytes, message: str) -> None:
    content = gzip.decompress(written(archived(FULL)))
    assert old in content
    _, error = read(gzip.compress(content.replace(old, new)))
    assert message in str(error)
