from __future__ import annotations

import base64
import gzip
import io
import json
import os
import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.errors import UsageError
from tasks.steps.page import Payload
from worker.readers import Read, read_paths, total_bytes

LIMIT = 1000


def read(*paths: Path | str, stdin: bytes = b"", **options: Any) -> list[Read]:
    options = dict[str, Any]({"source": "site", "max_body": LIMIT}) | options
    return list(read_paths([str(path) for path in paths], stdin=io.BytesIO(stdin), **options))


def payloads(reads: Iterable[Read]) -> list[Payload]:
    return [one.result for one in reads if isinstance(one.result, Payload)]


def errors(reads: Iterable[Read]) -> list[str]:
    return [str(one.result) for one in reads if isinstance(one.result, UsageError)]


def line(**fields: object) -> bytes:
    return json.dumps(fields).encode() + b"\n"


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


# --- files, directories, standard input -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, content_type",
    [("a.html", "text/html"), ("a.HTM", "text/html"), ("a.json", "application/json"), ("a.txt", None), ("a", None)],
)
def test_a_file_is_one_page_whose_name_tells_the_content_type(
    tmp_path: Path, name: str, content_type: str | None
) -> None:
    [one] = read(write(tmp_path / name, b"\xff\x00text"), url="http://h/1", item="7")
    assert one.result == Payload(
        source="site", body=b"\xff\x00text", url="http://h/1", item="7", content_type=content_type
    )
    assert one.consumed == 6


def test_a_content_type_that_is_given_wins_over_the_name(tmp_path: Path) -> None:
    [one] = payloads(read(write(tmp_path / "a.html", b"x"), content_type="text/plain"))
    assert one.content_type == "text/plain"


def test_a_packed_file_is_the_page_inside_it(tmp_path: Path) -> None:
    [one] = payloads(read(write(tmp_path / "a.html.gz", gzip.compress(b"<p>"))))
    assert (one.body, one.content_type) == (b"<p>", "text/html")


def test_a_file_above_the_limit_is_told_with_its_name_and_the_limit(tmp_path: Path) -> None:
    big = write(tmp_path / "big.html", b"x" * (LIMIT + 1))
    fits = write(tmp_path / "fits.html", b"x" * LIMIT)
    reads = read(big, fits)
    assert errors(reads) == [f"{big}: larger than the limit of 1,000 bytes for one page"]
    assert [one.body for one in payloads(reads)] == [b"x" * LIMIT]


def test_a_packed_file_that_unpacks_above_the_limit_is_not_unpacked_whole(tmp_path: Path) -> None:
    bomb = write(tmp_path / "bomb.html.gz", gzip.compress(b"\0" * 200_000_000))
    tracemalloc.start()
    try:
        reads = read(bomb)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "larger than the limit" in errors(reads)[0]
    assert peak < 20_000_000


def test_a_directory_is_walked_by_name_without_hidden_files_and_links_that_lead_out(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name in ("b.txt", "a.txt", ".hidden", ".git/x", "sub/c.txt", "sub/deep/d.txt"):
        write(root / name, name.encode())
    outside = write(tmp_path / "outside" / "secret.txt", b"secret")
    (root / "out.txt").symlink_to(outside)
    (root / "outdir").symlink_to(outside.parent)
    (root / "in.txt").symlink_to(root / "a.txt")
    (root / "loop").symlink_to(root)
    (root / "broken").symlink_to(root / "none")
    assert [one.body for one in payloads(read(root))] == [b"a.txt", b"b.txt", b"a.txt", b"sub/c.txt", b"sub/deep/d.txt"]


def test_a_file_that_cannot_be_opened_is_told_and_the_next_one_is_read(tmp_path: Path) -> None:
    missing, there = tmp_path / "none.txt", write(tmp_path / "there.txt", b"here")
    reads = read(missing, there)
    assert errors(reads) == [f"{missing}: No such file or directory"]
    assert [one.body for one in payloads(reads)] == [b"here"]


def test_standard_input_is_one_page_unless_the_format_says_otherwise() -> None:
    assert [one.body for one in payloads(read("-", stdin=b"a\nb\n"))] == [b"a\nb\n"]
    two = read("-", stdin=line(body="a") + line(body="b"), fmt="ndjson")
    assert [one.body for one in payloads(two)] == [b"a", b"b"]


def test_a_line_from_a_pipe_is_handed_on_before_the_pipe_ends() -> None:
    end, start = os.pipe()
    with open(end, "rb") as pipe, open(start, "wb", buffering=0) as producer:  # noqa: PTH123 (descriptors)
        reads = read_paths(["-"], source="s", fmt="ndjson", stdin=pipe, max_body=LIMIT)
        producer.write(line(body="now"))
        assert payloads([next(reads)])[0].body == b"now"


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("a.html", {"source": None}, "give --source"),
        ("a.ndjson", {"item": "1"}, "--url and --item name one page"),
        ("a.warc", {"url": "http://h/"}, "--url and --item name one page"),
        ("a.html", {"fmt": "zip"}, "page, ndjson or warc"),
    ],
)
def test_what_cannot_be_meant_ends_the_reading(
    tmp_path: Path, name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        read(write(tmp_path / name, b""), **options)


def test_the_bytes_consumed_add_up_to_the_total(tmp_path: Path) -> None:
    many = b"".join(line(body=str(number)) for number in range(5000))
    write(tmp_path / "in" / "a.html", b"12345")
    write(tmp_path / "in" / "b.ndjson", many)
    write(tmp_path / "in" / "c.ndjson.gz", gzip.compress(many))
    reads = read(tmp_path / "in")
    assert len(payloads(reads)) == 10_001
    assert sum(one.consumed for one in reads) == total_bytes([str(tmp_path / "in")])
    assert total_bytes([str(tmp_path / "in"), "-"]) is None


# --- NDJSON -----------------------------------------------------------------------------------------------------


def test_an_envelope_brings_its_fields_and_its_source_wins(tmp_path: Path) -> None:
    content = line(source="own", body="x", item=5, url="http://h/5", foo="bar") + line(
        body_b64=base64.b64encode(b"\xff").decode()
    )
    first, second = payloads(read(write(tmp_path / "a.jsonl", content)))
    assert (first.source, first.item, first.url, dict(first.extra)) == ("own", "5", "http://h/5", {"foo": "bar"})
    assert (second.source, second.body) == ("site", b"\xff")


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress], ids=["gz", "zst"])
def test_a_packed_file_is_unpacked_member_after_member(tmp_path: Path, pack: Any) -> None:
    suffix = "gz" if pack is gzip.compress else "zst"
    content = pack(line(body="a")) + pack(line(body="b")) + pack(b"")
    assert [one.body for one in payloads(read(write(tmp_path / f"a.ndjson.{suffix}", content)))] == [b"a", b"b"]


def test_mark_of_unicode_carriage_returns_and_blank_lines_do_no_harm(tmp_path: Path) -> None:
    content = b'\xef\xbb\xbf{"body":"a"}\r\n\r\n \t\r\n{"body":"b"}'
    reads = read(write(tmp_path / "a.ndjson", content))
    assert ([one.body for one in payloads(reads)], errors(reads)) == ([b"a", b"b"], [])


@pytest.mark.parametrize(
    "bad, message",
    [
        (b'{"body": "a",}', "column 13: not JSON"),
        (b'{"body": "\xff"}', "column 11: not UTF-8"),
        (b"[1, 2]", "the line is JSON, but no object"),
        (b'{"source": "s"}', "body"),
        (b'{"body": 5}', "body"),
        (b'{"body": "x", "status": "many"}', "status"),
        (b"[" * 5000, "not JSON"),
    ],
)
def test_a_bad_line_is_told_with_file_and_line_and_the_others_are_read(
    tmp_path: Path, bad: bytes, message: str
) -> None:
    path = write(tmp_path / "a.ndjson", line(body="before") + bad + b"\n" + line(body="after"))
    reads = read(path, max_body=10_000)
    [error] = errors(reads)
    assert error.startswith(f"{path}:2: ")
    assert message in error
    assert [one.body for one in payloads(reads)] == [b"before", b"after"]


def test_a_line_without_end_is_skipped_without_loading_it(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    with path.open("wb") as file:
        file.write(b'{"body": "')
        for _ in range(100):
            file.write(b"x" * 1_000_000)
        file.write(b'"}\n' + line(body="after"))
    tracemalloc.start()
    try:
        reads = read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert errors(reads) == [f"{path}:1: the line is longer than 67,536 bytes"]
    assert [one.body for one in payloads(reads)] == [b"after"]
    assert peak < 5_000_000


def test_a_file_of_any_size_is_read_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "many.ndjson"
    with path.open("wb") as file:
        for number in range(100_000):
            file.write(line(body=f"{number:0900}"))
    tracemalloc.start()
    try:
        count = sum(1 for _ in read_paths([str(path)], source="s", stdin=io.BytesIO(), max_body=LIMIT))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 100_000
    assert path.stat().st_size > 90_000_000
    assert peak < 5_000_000


def test_packed_lines_that_end_early_are_told_and_those_before_are_read(tmp_path: Path) -> None:
    for suffix, pack in (("gz", gzip.compress), ("zst", zstandard.compress)):
        whole = pack(b"".join(line(body=os.urandom(300).hex()) for _ in range(500)))
        path = write(tmp_path / f"cut.ndjson.{suffix}", whole[: len(whole) // 2])
        reads = read(path)
        assert len(payloads(reads)) > 100
        assert "ends early" in errors(reads)[0]
        assert len(errors(reads)) <= 2  # the line that was cut may be told too


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(["page", "ndjson", "warc"]))
def test_whatever_the_bytes_there_is_a_payload_or_an_error_of_ours(content: bytes, fmt: str) -> None:
    for one in read("-", stdin=content, fmt=fmt):
        assert one.result is None or isinstance(one.result, Payload | UsageError)


def test_what_a_producer_writes_is_not_read_before_it_is_asked_for() -> None:
    asked = 0

    class Endless(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            nonlocal asked
            asked += 1
            return (line(body="x") * 100_000)[:size]

    reads: Iterator[Read] = read_paths(["-"], source="s", fmt="ndjson", stdin=Endless(), max_body=LIMIT)  # type: ignore[arg-type]
    assert len([next(reads) for _ in range(10)]) == 10
    assert asked == 1
