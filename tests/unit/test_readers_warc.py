"""WARC archives, written by warcio, which shares no code with our reader."""

from __future__ import annotations

import gzip
import io
import zlib
from datetime import UTC, datetime
from pathlib import Path

import brotli
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from tasks.errors import UsageError
from tasks.steps.page import Payload
from worker.readers import Read, read_paths

LIMIT = 100_000
DATE = "2024-05-06T07:08:09Z"


class Writer(WARCWriter):  # type: ignore[misc]  # warcio has no annotations
    """warcio's writer, which otherwise leaves the closing of its temporary files to chance."""

    @staticmethod
    def _create_temp_file() -> io.BytesIO:
        return io.BytesIO()


class Archive:
    """An archive under construction, and where each record of it starts."""

    def __init__(self, *, packed: bool) -> None:
        self.packed = packed
        self.starts: list[int] = []
        self._out = io.BytesIO()
        self._writer = Writer(self._out, gzip=packed)

    def response(self, url: str, body: bytes, status: str = "200 OK", **headers: str) -> Archive:
        fields = [(name.replace("_", "-"), value) for name, value in headers.items()]
        return self.record("response", url, body, StatusAndHeaders(status, fields, protocol="HTTP/1.1"))

    def record(self, kind: str, url: str, body: bytes, http: StatusAndHeaders | None = None) -> Archive:
        self.starts.append(self._out.tell())
        self._writer.write_record(
            self._writer.create_warc_record(
                url,
                kind,
                payload=io.BytesIO(body),
                http_headers=http,
                warc_headers_dict={"WARC-Date": DATE, "WARC-Record-ID": f"<urn:uuid:{len(self.starts):036}>"},
            )
        )
        return self

    def content(self) -> bytes:
        return self._out.getvalue()


def three(*, packed: bool) -> Archive:
    archive = Archive(packed=packed)
    for name in ("one", "two", "three"):
        archive.response(f"http://h/{name}", name.encode() * 50, Content_Type="text/html")
    return archive


def read(content: bytes, tmp_path: Path, *, name: str = "a.warc") -> list[Read]:
    path = tmp_path / name
    path.write_bytes(content)
    return list(read_paths([str(path)], source="site", stdin=io.BytesIO(), max_body=LIMIT))


def read_bytes(content: bytes) -> list[Read]:
    return list(read_paths(["-"], source="site", fmt="warc", stdin=io.BytesIO(content), max_body=LIMIT))


def bodies(reads: list[Read]) -> list[bytes]:
    return [one.result.body for one in reads if isinstance(one.result, Payload)]


def errors(reads: list[Read]) -> list[str]:
    return [str(one.result) for one in reads if isinstance(one.result, UsageError)]


@pytest.mark.parametrize("packed", [False, True], ids=["warc", "warc.gz"])
def test_responses_become_payloads_and_other_records_are_passed_over(tmp_path: Path, *, packed: bool) -> None:
    archive = Archive(packed=packed)
    archive.record("warcinfo", "a.warc", b"software: test\r\n")
    archive.response("http://h/1", b"<p>one", Content_Type="text/html; charset=utf-8")
    archive.response("http://h/2", b"gone", "404 Not Found")
    archive.record("resource", "http://h/3", b"no answer")
    archive.response("http://h/4", b"")
    reads = read(archive.content(), tmp_path, name="a.warc.gz" if packed else "a.warc")
    assert [one.result for one in reads] == [
        None,
        Payload(
            source="site",
            body=b"<p>one",
            url="http://h/1",
            status=200,
            content_type="text/html; charset=utf-8",
            fetched_at=datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC),
        ),
        None,
        None,
        Payload(
            source="site", body=b"", url="http://h/4", status=200, fetched_at=datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
        ),
    ]
    assert sum(one.consumed for one in reads) == len(archive.content())


def chunked(*chunks: bytes) -> bytes:
    return b"".join(b"%x;ext=1\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


TEXT = b"a text of some length " * 20


@pytest.mark.parametrize(
    "headers, coded",
    [
        ({"Transfer_Encoding": "chunked"}, chunked(TEXT[:7], TEXT[7:])),
        ({"Content_Encoding": "gzip"}, gzip.compress(TEXT)),
        ({"Content_Encoding": "x-gzip"}, gzip.compress(TEXT[:9]) + gzip.compress(TEXT[9:])),
        ({"Content_Encoding": "deflate"}, zlib.compress(TEXT)),
        ({"Content_Encoding": "deflate"}, zlib.compress(TEXT, wbits=-15)),
        ({"Content_Encoding": "br"}, brotli.compress(TEXT)),
        ({"Content_Encoding": "zstd"}, zstandard.compress(TEXT)),
        ({"Content_Encoding": "deflate, gzip"}, gzip.compress(zlib.compress(TEXT))),
        ({"Content_Encoding": "gzip", "Transfer_Encoding": "chunked"}, chunked(gzip.compress(TEXT))),
        ({"Content_Encoding": "gzip", "Transfer_Encoding": "chunked"}, TEXT),
        ({"Content_Encoding": "identity"}, TEXT),
    ],
    ids=[
        "chunked",
        "gzip",
        "two gzip members",
        "zlib",
        "bare deflate",
        "br",
        "zstd",
        "two codings",
        "gzip in chunks",
        "already taken off",
        "identity",
    ],
)
def test_transfer_and_content_codings_are_taken_off(headers: dict[str, str], coded: bytes) -> None:
    archive = Archive(packed=True).response("http://h/1", coded, **headers)
    reads = read_bytes(gzip.decompress(archive.content()))
    assert (bodies(reads), errors(reads)) == ([TEXT], [])


@pytest.mark.parametrize(
    "headers, coded, message",
    [
        ({"Transfer_Encoding": "chunked"}, chunked(TEXT)[:-20], "ends early"),
        ({"Content_Encoding": "gzip"}, gzip.compress(TEXT)[:-9], "ends early"),
        ({"Content_Encoding": "gzip"}, gzip.compress(TEXT)[:10] + b"\x07" * 40, "damaged"),
        ({"Content_Encoding": "br"}, brotli.compress(TEXT)[:-3], "damaged"),
        ({"Content_Encoding": "compress"}, TEXT, "not known: compress"),
        ({"Content_Encoding": "gzip"}, gzip.compress(b"\0" * (LIMIT + 1)), "larger than the limit"),
        ({}, b"x" * (LIMIT + 1), "limit"),
        ({}, b"x" * 3_000_000, "limit"),
    ],
    ids=["cut chunks", "cut gzip", "broken gzip", "cut br", "unknown coding", "bomb", "large", "very large"],
)
def test_a_body_that_cannot_be_decoded_is_told_and_the_next_record_is_read(
    tmp_path: Path, headers: dict[str, str], coded: bytes, message: str
) -> None:
    archive = Archive(packed=False).response("http://h/1", coded, **headers).response("http://h/2", b"next")
    reads = read(archive.content(), tmp_path)
    [error] = errors(reads)
    assert error.startswith(f"{tmp_path}/a.warc: record at byte 0: ")
    assert message in error
    assert bodies(reads) == [b"next"]


@pytest.mark.parametrize("packed", [False, True], ids=["warc", "warc.gz"])
def test_a_damaged_record_costs_itself_only(tmp_path: Path, *, packed: bool) -> None:
    archive = three(packed=packed)
    damaged = bytearray(archive.content())
    start = archive.starts[1]
    damaged[start + 30 : start + 60] = b"\xff" * 30 if packed else b"\0" * 30
    damaged[start : start + 4] = damaged[start : start + 4] if packed else b"XXXX"
    reads = read(bytes(damaged), tmp_path, name="a.warc.gz" if packed else "a.warc")
    assert bodies(reads) == [b"one" * 50, b"three" * 50]
    assert len(errors(reads)) == 1


def test_a_length_that_is_wrong_is_told_and_no_wrong_page_is_made(tmp_path: Path) -> None:
    content = three(packed=False).content()
    for length in (b"Content-Length: zz", b"Content-Length: 17", b"Content-Length: -1", b"X-Nothing: 190"):
        at = content.index(b"\r\nContent-Length: ", content.index(b"http://h/two")) + 2
        end = content.index(b"\r\n", at)
        reads = read(content[:at] + length + content[end:], tmp_path)
        assert bodies(reads) == [b"one" * 50, b"three" * 50]
        assert len(errors(reads)) == 1


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_an_archive_cut_anywhere_gives_whole_pages_and_an_error_where_something_is_missing(data: st.DataObject) -> None:
    archive = three(packed=False)
    content = archive.content()
    cut = data.draw(st.integers(0, len(content)))
    reads = read_bytes(content[:cut])
    ends = [*archive.starts[1:], len(content)]
    whole = sum(1 for end in ends if cut >= end - 4)  # the two empty lines behind a record hold nothing
    assert bodies(reads) == [b"one" * 50, b"two" * 50, b"three" * 50][:whole]
    clean = cut == 0 or any(end - 4 <= cut <= end for end in ends)
    assert bool(errors(reads)) is not clean


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_packed_archive_cut_anywhere_tells_it(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    archive = three(packed=True)
    content = archive.content()
    cut = data.draw(st.integers(0, len(content)))
    path = tmp_path_factory.mktemp("cut") / "a.warc.gz"
    path.write_bytes(content[:cut])
    reads = list(read_paths([str(path)], source="site", stdin=io.BytesIO(), max_body=LIMIT))
    assert bool(errors(reads)) is (cut not in {0, *archive.starts, len(content)})
    assert len(bodies(reads)) >= sum(1 for end in [*archive.starts[1:], len(content)] if cut >= end)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_damage_to_a_packed_archive_spares_the_other_records_or_is_told(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    archive = three(packed=True)
    content = bytearray(archive.content())
    at = data.draw(st.integers(archive.starts[1] + 10, archive.starts[2] - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.mktemp("damaged") / "a.warc.gz"
    path.write_bytes(bytes(content))
    reads = list(read_paths([str(path)], source="site", stdin=io.BytesIO(), max_body=LIMIT))
    assert bodies(reads)[0] == b"one" * 50
    assert bodies(reads)[-1] == b"three" * 50
    assert errors(reads)
