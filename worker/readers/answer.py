"""An HTTP answer as an archive keeps it: status, header, and a body still in its transfer and content codings."""

from __future__ import annotations

import io
import re
import zlib
from dataclasses import dataclass, field

from fastwarc.stream_io import BrotliReader

from tasks.errors import Malformed, TooLarge, Truncated
from tasks.steps.packing import check_size, unpack

_STATUS = re.compile(rb"HTTP/[0-9](?:\.[0-9])? ([0-9]{3})(?: |$)")
_CHUNK_SIZE = re.compile(rb"([0-9a-fA-F]{1,8})[ \t]*(?:;[^\r\n]*)?\r?\n")
_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; ``headers`` have lower-case names, the first value of each."""

    status: int
    headers: dict[str, str]
    max_body: int
    _coded: bytes = field(repr=False)

    def body(self) -> bytes:
        """Return the decoded body. Raises ``TooLarge``, ``Truncated`` and ``Malformed``.

        Archives often keep the header of a coding that was already taken off: a body that does not look coded is
        taken as it is.
        """
        body = self._coded
        if "chunked" in _names(self.headers.get("transfer-encoding", "")):
            body = _dechunk(body)
        for coding in reversed(_names(self.headers.get("content-encoding", ""))):
            body = _decode(body, coding, self.max_body)
        return check_size(body, self.max_body)


def read_answer(block: bytes, *, max_body: int) -> Answer:
    """Split an HTTP answer into its parts. Raises ``Malformed``; the body is decoded only on demand."""
    head, separator, body = _split(block)
    lines = head.splitlines()
    status = _STATUS.match(lines[0]) if lines else None
    if status is None or not separator:
        raise Malformed("no HTTP answer in the record")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, _, value = line.decode("latin-1").partition(":")
        headers.setdefault(name.strip().lower(), value.strip())
    return Answer(int(status[1]), headers, max_body, body)


def _split(block: bytes) -> tuple[bytes, bytes, bytes]:
    ends = [(at, mark) for mark in (b"\r\n\r\n", b"\n\n") if (at := block.find(mark)) >= 0]
    if not ends:
        return block, b"", b""
    at, mark = min(ends)
    return block[:at], mark, block[at + len(mark) :]


def _names(header: str) -> list[str]:
    return [name for part in header.lower().split(",") if (name := part.strip()) not in ("", "identity")]


def _dechunk(body: bytes) -> bytes:
    size = _CHUNK_SIZE.match(body)
    if size is None:
        return body
    parts: list[bytes] = []
    at = 0
    while size is not None and (length := int(size[1], 16)):
        at = size.end() + length
        if at > len(body):
            break
        parts.append(body[size.end() : at])
        if body[at : at + 2] == b"\r\n":
            at += 2
        size = _CHUNK_SIZE.match(body, at)
    if size is None or int(size[1], 16):
        raise Truncated("the chunked body ends early")
    return b"".join(parts)


def _decode(body: bytes, coding: str, limit: int) -> bytes:
    match coding:
        case "gzip" | "x-gzip":
            return _inflate(body, 31, limit) if body.startswith(_GZIP_MAGIC) else body
        case "deflate":
            return _deflate(body, limit)
        case "br":
            return _brotli(body, limit)
        case "zstd":
            return unpack(body, limit) if body.startswith(_ZSTD_MAGIC) else body
        case _:
            raise Malformed(f"a content coding that is not known: {coding[:40]}")


def _deflate(body: bytes, limit: int) -> bytes:
    """Inflate the two things that servers call deflate: with the zlib header (RFC 9110) and bare."""
    try:
        return _inflate(body, 15, limit)
    except Malformed:
        return _inflate(body, -15, limit)


def _inflate(body: bytes, wbits: int, limit: int) -> bytes:
    output, rest = _inflate_member(body, wbits, limit)
    while rest.startswith(_GZIP_MAGIC):  # a gzip body may have several members; browsers drop what else follows
        more, rest = _inflate_member(rest, wbits, limit - len(output))
        output += more
    return output


def _inflate_member(body: bytes, wbits: int, limit: int) -> tuple[bytes, bytes]:
    machine = zlib.decompressobj(wbits)
    try:
        output = machine.decompress(body, limit + 1)
    except zlib.error as error:
        raise Malformed("damaged gzip or deflate data") from error
    if len(output) > limit:
        raise TooLarge("the unpacked body is larger than the limit for one page")
    if not machine.eof:
        raise Truncated("the gzip or deflate data ends early")
    return output, machine.unused_data


def _brotli(body: bytes, limit: int) -> bytes:
    try:
        output = bytes(BrotliReader(io.BytesIO(body)).read(limit + 1))
    except OSError as error:
        raise Malformed("damaged br data") from error
    if len(output) > limit:
        raise TooLarge("the unpacked body is larger than the limit for one page")
    return output
