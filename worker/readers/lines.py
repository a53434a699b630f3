"""NDJSON: one envelope a line."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator

import orjson

from tasks.errors import UsageError
from tasks.steps.page import Payload
from tasks.steps.payload import from_envelope
from worker.readers.files import Given
from worker.readers.unpacked import BUFFER, Damaged

HEADROOM = 64 * 1024  # bytes of a line for all that is not the body


def read_lines(stream: io.BufferedReader, name: str, given: Given) -> Iterator[Payload | UsageError]:
    """Yield the payload of each line, or what is wrong with the line; blank lines are left out.

    A line longer than twice the limit of a body (base64 and escapes take room) is not loaded whole.
    """
    limit = 2 * given.max_body + HEADROOM
    number = 0
    while True:
        number += 1
        try:
            line = stream.readline(limit)
            if not line:
                return
            if len(line) == limit and not line.endswith(b"\n"):
                _skip_line(stream)
                yield _error(name, number, f"the line is longer than {limit:,} bytes")
                continue
        except Damaged as error:
            yield _error(name, number, str(error))
            continue
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        if not line.isspace() and line:
            yield _payload(line, name, number, given)


def _skip_line(stream: io.BufferedReader) -> None:
    while (rest := stream.readline(BUFFER)) and not rest.endswith(b"\n"):
        pass


def _payload(line: bytes, name: str, number: int, given: Given) -> Payload | UsageError:
    try:
        envelope = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return _error(name, number, _json_trouble(line, error))
    if not isinstance(envelope, dict):
        return _error(name, number, "the line is JSON, but no object")
    if given.source is not None and not envelope.get("source"):
        envelope["source"] = given.source
    if given.content_type is not None and not envelope.get("content_type"):
        envelope["content_type"] = given.content_type
    try:
        return from_envelope(envelope, max_body=given.max_body)
    except UsageError as error:
        return _error(name, number, error.message)


def _json_trouble(line: bytes, error: orjson.JSONDecodeError) -> str:
    try:
        line.decode()
    except UnicodeDecodeError as invalid:
        return f"column {invalid.start + 1}: not UTF-8"
    what = error.msg.split(": line ")[0]
    return f"column {error.colno}: not JSON ({what})"


def _error(name: str, number: int, what: str) -> UsageError:
    return UsageError(f"{name}:{number}: {what}", file=name, line=number)
