from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import HttpError, TooLarge
from worker.inflate import ACCEPT_ENCODING, Inflater

TEXT = "Les élèves ont visité le port. ".encode() * 40
SKIPPED = b"\x50\x2a\x4d\x18" + (3).to_bytes(4, "little") + b"abc"  # a frame of zstd without content
PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "deflate": zlib.compress,
    "br": lambda data: bytes(brotli.compress(data, quality=5)),
    "zstd": zstandard.compress,
}


def inflate(coding: str, data: bytes, *, limit: int = 1_000_000, step: int = 7) -> bytes:
    inflater = Inflater(coding, limit)
    for start in range(0, len(data), step):
        inflater.feed(data[start : start + step])
    return inflater.finish()


def test_every_coding_that_is_asked_for_is_known() -> None:
    assert ACCEPT_ENCODING.split(", ") == list(PACK)


@pytest.mark.parametrize(
    "coding, data",
    [
        ("", TEXT),
        ("identity", TEXT),
        ("x-gzip", PACK["gzip"](TEXT)),
        ("GZIP", PACK["gzip"](TEXT)),
        ("gzip", PACK["gzip"](TEXT[:100]) + PACK["gzip"](TEXT[100:])),
        ("gzip", PACK["gzip"](TEXT) + bytes(10)),
        ("deflate", zlib.compress(TEXT, wbits=-15)),
        ("zstd", PACK["zstd"](TEXT[:100]) + PACK["zstd"](TEXT[100:])),
        ("zstd", SKIPPED + PACK["zstd"](TEXT) + SKIPPED),
        ("zstd", PACK["zstd"](TEXT) + bytes(10)),
        *((coding, pack(TEXT)) for coding, pack in PACK.items()),
    ],
)
@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_a_body_is_the_same_in_every_coding_that_is_asked_for(coding: str, data: bytes, step: int) -> None:
    assert inflate(coding, data, step=step) == TEXT


@pytest.mark.parametrize("coding", PACK)
def test_a_large_body_arrives_whole_in_whatever_pieces(coding: str) -> None:
    text = b"".join(b"%d lines of text\n" % number for number in range(150_000))
    for step in (1000, 65_536, 10_000_000):
        assert inflate(coding, PACK[coding](text), limit=len(text), step=step) == text


@pytest.mark.parametrize("coding", PACK)
def test_a_compressed_body_cut_anywhere_is_never_taken_for_whole(coding: str) -> None:
    whole = PACK[coding](TEXT)
    for end in range(1, len(whole)):
        with pytest.raises(HttpError, match="ended early"):
            inflate(coding, whole[:end])


@pytest.mark.parametrize("coding", PACK)
def test_a_body_of_nothing_is_an_empty_one(coding: str) -> None:
    assert inflate(coding, b"") == b""


@given(st.sampled_from(list(PACK)), st.binary(max_size=200), st.booleans())
def test_whatever_comes_ends_in_bytes_or_in_our_own_error(coding: str, data: bytes, real: bool) -> None:
    try:
        inflate(coding, PACK[coding](TEXT)[:20] + data if real else data)
    except HttpError as error:
        assert coding in str(error)  # noqa: PT017 (either end is right)


@pytest.mark.parametrize("coding", PACK)
def test_a_bomb_is_stopped_a_step_beyond_the_limit(coding: str) -> None:
    inflater = Inflater(coding, 100_000)
    with pytest.raises(TooLarge, match="more than 100000 bytes"):
        inflater.feed(PACK[coding](bytes(30_000_000)))
    assert len(inflater._out) < 1_000_000


@pytest.mark.parametrize("coding", PACK)
def test_a_bomb_below_the_limit_is_stopped_for_its_ratio(coding: str) -> None:
    inflater = Inflater(coding, 100_000_000)
    with pytest.raises(TooLarge, match="200 times"):
        inflater.feed(PACK[coding](bytes(30_000_000)))
    assert len(inflater._out) < 10_000_000


@pytest.mark.parametrize("coding", PACK)
def test_a_small_body_may_have_any_ratio(coding: str) -> None:
    assert inflate(coding, PACK[coding](bytes(1_000_000)), step=100_000) == bytes(1_000_000)


@pytest.mark.parametrize("coding", ["", *PACK])
def test_a_body_of_exactly_the_limit_passes_and_one_more_byte_does_not(coding: str) -> None:
    data = PACK[coding](TEXT) if coding else TEXT
    assert inflate(coding, data, limit=len(TEXT)) == TEXT
    with pytest.raises(TooLarge):
        inflate(coding, data, limit=len(TEXT) - 1)


def test_bytes_that_give_nothing_count_as_received() -> None:
    inflater = Inflater("deflate", 1000)
    with pytest.raises(TooLarge):
        inflater.feed(b"\x00\x00\x00\xff\xff" * 201)


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_thousands_of_empty_members_are_refused(coding: str) -> None:
    with pytest.raises(HttpError, match="members"):
        inflate(coding, PACK[coding](b"") * 5000, step=4096)


def test_a_window_beyond_what_http_allows_is_refused() -> None:
    wide = zstandard.ZstdCompressionParameters.from_level(3, window_log=24, write_content_size=0)
    packer = zstandard.ZstdCompressor(compression_params=wide).compressobj()
    with pytest.raises(HttpError, match="zstd stream is broken"):
        inflate("zstd", packer.compress(b"x" * 1000) + packer.flush())


@pytest.mark.parametrize("coding", ["compress", "gzip, gzip", "gzip, br", "sdch", "none"])
def test_a_coding_that_was_not_asked_for_is_refused(coding: str) -> None:
    with pytest.raises(HttpError, match="was not asked for"):
        Inflater(coding, 1000)
