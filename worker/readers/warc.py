"""WARC archives: responses, and the records of our own archive, by ISO 28500 (WARC 1.0 and 1.1), read strictly.

The record frame is read by our own few lines: fastwarc 2.0 ends silently at a record that was cut, takes a record with
a damaged header for an empty one, is of no use after its first error, and needs to seek.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http import HTTPStatus

from tasks.errors import PenstockError, UsageError
from tasks.steps.page import Payload
from worker.readers.answer import Answer, read_answer
from worker.readers.archived import SOURCE, archived, moment_of
from worker.readers.files import Given
from worker.readers.unpacked import BUFFER, Damaged

HEADROOM = 1024 * 1024  # bytes of a record for HTTP header and chunk sizes, beside twice the limit of a body
MAX_HEADER = 1024 * 1024
_DIGITS = 18


class BrokenRecord(Exception):
    """A record that does not keep to the format."""


@dataclass(frozen=True, slots=True)
class Record:
    """One WARC record: its header with lower-case names, and its block where it was wanted and is not too long."""

    headers: dict[str, str]
    length: int
    block: bytes | None = field(repr=False)

    @property
    def kind(self) -> str:
        """The record's type in lower case."""
        return self.headers.get("warc-type", "").lower()

    @property
    def is_response(self) -> bool:
        """Whether it is the answer of a web server; of another protocol, dns: for example, it is not."""
        stated = self.headers.get("content-type", "application/http").lower()
        return self.kind == "response" and stated.startswith("application/http")

    @property
    def is_ours(self) -> bool:
        """Whether ``penstock export --format warc`` wrote it."""
        return self.kind == "resource" and SOURCE in self.headers


def read_warc(stream: io.BufferedReader, name: str, given: Given) -> Iterator[Payload | UsageError | None]:
    """Yield the payload of each response with status 200 and of each record of ours, None for each other record.

    What is wrong with a record is yielded in its place. Raises ``UsageError`` for a response without ``given.source``.
    """
    records = RecordReader(stream, limit=2 * given.max_body + HEADROOM)
    while True:
        try:
            record = records.next()
        except (BrokenRecord, Damaged) as error:
            records.resync()
            yield _error(name, records.start, str(error))
            continue
        if record is None:
            return
        if record.is_response:
            given.check_source(name)
        try:
            yield _payload(record, given)
        except PenstockError as error:
            yield _error(name, records.start, error.message)


class RecordReader:
    """Splits a stream into records. After an error, ``resync`` goes to the next line that starts one."""

    def __init__(self, stream: io.BufferedReader, *, limit: int) -> None:
        self.start = 0  # of the record that was read last; in unpacked bytes
        self._stream = stream
        self._limit = limit
        self._position = 0
        self._first_line = b""  # of the next record, already taken from the stream
        self._trouble: Damaged | None = None  # met behind a record that was whole

    def next(self) -> Record | None:
        """Return the next record, None at the end. Raises ``BrokenRecord`` and ``Damaged``."""
        if self._trouble is not None:
            trouble, self._trouble = self._trouble, None
            self.start = self._position
            raise trouble
        line = self._first_line or self._next_line()
        self.start, self._first_line = self._position - len(line), b""
        if not line:
            return None
        if not line.startswith(b"WARC/"):
            raise BrokenRecord("no WARC record starts here")
        headers = self._headers()
        length = _length(headers)
        record = Record(headers, length, None)
        block = self._block(length, wanted=(record.is_response or record.is_ours) and length <= self._limit)
        record = replace(record, block=block)
        self._look_behind()
        return record

    def resync(self) -> None:
        """Go to the next line that starts a record, or to the end."""
        while not self._first_line.startswith(b"WARC/"):
            try:
                self._first_line = self._line()
            except Damaged:
                continue
            if not self._first_line:
                return

    def _line(self) -> bytes:
        line = self._stream.readline(BUFFER)
        self._position += len(line)
        return line

    def _whole_line(self, end: int) -> bytes:
        """Return a line of a header that must be over at a position."""
        parts = [self._line()]
        while parts[-1] and not parts[-1].endswith(b"\n") and self._position <= end:
            parts.append(self._line())
        if self._position > end:
            raise BrokenRecord(f"a header of more than {MAX_HEADER:,} bytes")
        return b"".join(parts)

    def _next_line(self) -> bytes:
        """Return the next line that is not blank; nothing at the end."""
        while (line := self._line()) and not line.strip(b"\r\n"):
            pass
        return line

    def _headers(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        name, begin = "", self._position
        while stripped := (line := self._whole_line(begin + MAX_HEADER)).strip():
            text = stripped.decode(errors="replace")
            if line[:1] in b" \t":  # a folded line goes on with the value before
                headers[name] = f"{headers.get(name, '')} {text}"
                continue
            name, _, value = text.partition(":")
            name = name.strip().lower()
            headers.setdefault(name, value.strip())
        if not line:
            raise BrokenRecord("the file ends inside the record's header")
        return headers

    def _block(self, length: int, *, wanted: bool) -> bytes | None:
        parts: list[bytes] = []
        left = length
        while left:
            part = self._stream.read(min(left, BUFFER))
            if not part:
                raise BrokenRecord(f"the file ends {left:,} bytes before the end of the record")
            left -= len(part)
            self._position += len(part)
            if wanted:
                parts.append(part)
        return b"".join(parts) if wanted else None

    def _look_behind(self) -> None:
        """Check that the block is followed by its two line ends, by another record or by nothing.

        Else its length was wrong. What comes behind the line ends is none of this record's business.
        """
        try:
            for _ in range(2):
                line = self._line()
                if line.startswith(b"WARC/"):
                    self._first_line = line
                if not line or self._first_line:
                    return
                if line.strip(b"\r\n"):
                    raise BrokenRecord("the record does not end where its Content-Length says")
        except Damaged as trouble:
            self._trouble = trouble


def _length(headers: dict[str, str]) -> int:
    text = headers.get("content-length", "")
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS):
        raise BrokenRecord("a record without a valid Content-Length")
    return int(text)


def _payload(record: Record, given: Given) -> Payload | None:
    if not (record.is_response or record.is_ours):
        return None
    if record.block is None:
        raise UsageError(f"a record of {record.length:,} bytes, more than the limit")
    if record.is_ours:
        return archived(record.headers, record.block, max_body=given.max_body)
    answer = read_answer(record.block, max_body=given.max_body)
    return _page(record.headers, answer, given) if answer.status == HTTPStatus.OK else None


def _page(headers: dict[str, str], answer: Answer, given: Given) -> Payload:
    truncated = headers.get("warc-truncated")
    return Payload(
        source=given.source or "",
        body=answer.body(),
        url=headers.get("warc-target-uri", "").strip("<>") or None,  # wget writes the brackets of the 0.18 grammar
        fetched_at=moment_of(headers.get("warc-date", "")),
        content_type=answer.headers.get("content-type") or given.content_type,
        status=answer.status,
        extra={"warc_truncated": truncated} if truncated else {},
    )


def _error(name: str, offset: int, what: str) -> UsageError:
    return UsageError(f"{name}: record at byte {offset:,}: {what}", file=name, offset=offset)
