"""Answers that would take all memory or never end, on real sockets."""

from __future__ import annotations

import asyncio
import gzip
import json
import subprocess
import sys
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import brotli
import pytest
import trustme
import zstandard

from tasks.errors import FetchTimeout, HttpError, PenstockError, TooLarge
from tests.support.fetching import PUBLIC, Streets, fetched, fetching, refused, request, to, trusting
from tests.support.raw_site import Answer, Asked, RawSite, page, raw_site, serving

MEBIBYTE = 1_048_576
ROOT = Path(__file__).parents[2]


def endless(start: bytes, more: bytes, pause: float = 0.0) -> Answer:
    """Return an answer that begins with ``start`` and goes on with ``more`` until the connection ends."""

    async def answer_it(asked: Asked) -> None:
        await asked.send(start)
        while True:
            await asked.send(more)
            await asyncio.sleep(pause)

    return answer_it


async def pushed(asked: Asked) -> None:
    """Answer in two pieces, the second of which goes on with another answer; then wait for the end."""
    await asked.send(page(b"here")[:-2])
    await asyncio.sleep(0.05)
    await asked.send(b"re" + page(b"not asked for"))
    await asyncio.sleep(60)


def gzip_bomb(size: int) -> bytes:
    """Return a gzip stream of ``size`` zero bytes, a thousandth of it, without its end."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    portion = bytes(8 * MEBIBYTE)
    first = packer.compress(portion) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(portion) + packer.flush(zlib.Z_FULL_FLUSH)
    return first + again * (size // len(portion) - 1)


def wide_zstd() -> bytes:
    """Return a stream of zstd that asks for a window of 128 MiB."""
    wide = zstandard.ZstdCompressionParameters.from_level(3, window_log=27, write_content_size=0)
    packer = zstandard.ZstdCompressor(compression_params=wide).compressobj()
    return packer.compress(b"x" * 1000) + packer.flush()


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
BOMBS: Mapping[str, Answer] = {
    "gzip": page(gzip_bomb(1024 * MEBIBYTE), "Content-Encoding: gzip"),
    "br": page(brotli.compress(bytes(64 * MEBIBYTE), quality=5), "Content-Encoding: br"),
    "zstd": page(zstandard.compress(bytes(256 * MEBIBYTE)), "Content-Encoding: zstd"),
    "wide": page(wide_zstd(), "Content-Encoding: zstd"),
    "announced": endless(OK + b"Content-Length: 10000000000\r\n\r\n", bytes(65_536)),
    "unannounced": endless(OK + b"\r\n", bytes(65_536)),
    "chunks": endless(CHUNKED, b"10000\r\n" + bytes(65_536) + b"\r\n"),
    "many-members": endless(OK + b"Content-Encoding: gzip\r\n\r\n", gzip.compress(b"") * 1000),
    "empty-blocks": endless(
        OK + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"")[:10], b"\x00\x00\x00\xff\xff" * 1000
    ),
    "headers": endless(OK, b"X-More: and more\r\n" * 1000),
    "header": endless(OK + b"X-More: ", b"and more " * 1000),
    "reason": endless(b"HTTP/1.1 200 ", b"and more " * 1000),
    "interim": endless(b"HTTP/1.1 103 Early Hints\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000),
    "blank-lines": endless(b"\r\n", b"\r\n" * 1000),
    "trailers": endless(CHUNKED + b"3\r\nabc\r\n0\r\n", b"X-More: and more\r\n" * 1000),
    "extension": endless(CHUNKED + b"3;x=", b"and-more-" * 1000),
    "slow-body": endless(OK + b"\r\n", b".", 0.1),
    "slow-headers": endless(OK, b"X-More: and more\r\n", 0.05),
    "after": endless(page(b"here"), page(b"not asked for") * 100),
    "after-slowly": endless(page(b"here"), b"\r\n", 0.05),
    "after-at-once": pushed,
}
WHAT_COMES_OF_IT = {
    "gzip": TooLarge,
    "br": TooLarge,
    "zstd": TooLarge,
    "wide": HttpError,
    "announced": TooLarge,
    "unannounced": TooLarge,
    "chunks": TooLarge,
    "many-members": HttpError,
    "empty-blocks": TooLarge,
    "headers": HttpError,
    "header": HttpError,
    "reason": HttpError,
    "interim": HttpError,
    "blank-lines": HttpError,
    "trailers": HttpError,
    "extension": FetchTimeout,
    "slow-body": FetchTimeout,
    "slow-headers": FetchTimeout,
}


SHORT = {"br", "zstd", "wide"}  # such bombs have come as a whole before they are looked at


@pytest.fixture(scope="module")
def flood() -> Iterator[RawSite]:
    with raw_site({"plain": page(b"here"), **BOMBS}) as served:
        yield served


@pytest.mark.parametrize("path, expected", WHAT_COMES_OF_IT.items())
def test_what_would_never_end_is_ended_with_its_connection(
    flood: RawSite, path: str, expected: type[PenstockError]
) -> None:
    with fetching(timeout_seconds=0.4 if path == "slow-headers" else 20.0, rate_seconds=0.3) as fetcher:
        error = refused(fetcher, request(flood, f"/{path}"))
        assert (type(error), error.details["url"]) == (expected, flood.url(f"/{path}"))
        assert path in SHORT or flood.wait_until_left()
        assert fetched(fetcher, request(flood, "/plain")).body == b"here"


def test_a_flood_over_tls_ends_as_soon() -> None:
    authority, name = trustme.CA(), "name.example"
    with (
        raw_site(BOMBS, serving(authority, name)) as site,
        fetching(Streets(site.port, {name: [[PUBLIC]]}).network(tls=trusting(authority))) as fetcher,
    ):
        assert type(refused(fetcher, to(f"https://{name}/unannounced"))) is TooLarge
        assert site.wait_until_left()


@pytest.mark.parametrize("path", ["/after", "/after-slowly", "/after-at-once"])
def test_answers_that_nobody_asked_for_end_the_connection_and_answer_nothing(flood: RawSite, path: str) -> None:
    with fetching() as fetcher:
        assert fetched(fetcher, request(flood, path)).body == b"here"
        assert flood.wait_until_left()
        assert fetched(fetcher, request(flood, "/plain")).body == b"here"


CHILD = """
import json, sys
from pathlib import Path
from tests.support.fetching import answer, fetching
from tasks.fetch_ports import Request

def peak():  # MiB; ru_maxrss would tell of the process that this one was forked from
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) // 1024

host, *paths = sys.argv[1:]
with fetching(rate_seconds=0.3, max_body_bytes=8 * 1024 * 1024) as fetcher:
    def ask(path):
        url = f"http://{host}/{path}"
        return type(answer(fetcher, Request(token=path, url=url, hosts=(host,), private_hosts=(host,)))).__name__
    ask("plain")
    before = peak()
    print(json.dumps({path: (ask(path), peak() - before) for path in paths}))
"""


def test_memory_stays_bounded_whatever_comes(flood: RawSite) -> None:
    expected = {path: kind.__name__ for path, kind in WHAT_COMES_OF_IT.items() if not path.startswith("slow")}
    command = [sys.executable, "-c", CHILD, flood.host, *expected, "after"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    came = json.loads(ran.stdout)
    assert {path: kind for path, (kind, _) in came.items()} == {**expected, "after": "Fetched"}
    assert all(mebibytes < 64 for _, mebibytes in came.values()), came  # a body of 8 MiB, twice, and what reads it
