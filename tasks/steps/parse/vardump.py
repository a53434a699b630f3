"""The ``vardump`` format: a date line, paragraphs one per line, a desk code, and a dumped list of related items.

    Wed Feb 24, 2016 14:03:32
    First paragraph.
    Last paragraph, Independent reported.
    E/S 212-11
    string(2866) "[{"id":"1791677", …} ,{…} ]"

A page may end before the dump. Where such an end may as well be a cut, the page is refused as ``Truncated``: nothing
that was cut may pass for whole.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from tasks.errors import Malformed, Truncated
from tasks.steps.page import ParsedPage, Payload, Related, SourceProfile
from tasks.steps.parse.charset import UTF8, Decoder, ascii_compatible, decoder
from tasks.steps.parse.dates import date_line, starts_date_line, zone_of
from tasks.steps.parse.dump import find_dump
from tasks.steps.related import related_of_dump

VERSION: Final = 2

_DESK_CODE: Final = re.compile(r"[A-Za-z]{1,4}(?:/[A-Za-z]{1,4}){1,3}[ \t]+[0-9]{1,6}(?:-[0-9]{1,6}){1,3}")
_WIRE: Final = re.compile(r", (?:[Tt]he )?([^\s,;:\"“”][^,;:\"“”]{0,60}) reported\.[\"”]?$")
_WIRE_LENGTH: Final = 80  # characters; no ending that _WIRE finds is longer
_SENTENCE_END: Final = re.compile(r"[.!?…。！？؟۔।]\s*[\"'”’»)\]]*$")  # noqa: RUF001 (of several scripts)
_BLANK: Final = "\ufeff \t\r\n"


def parse_vardump(payload: Payload, profile: SourceProfile) -> ParsedPage:
    """Read a ``vardump`` page. Raises ``Truncated``, ``Malformed``, ``Undecodable``."""
    body = ascii_compatible(payload.body)
    if not body.strip():
        raise Truncated("the payload is empty")
    decode = decoder(body, payload.content_type)
    dump = find_dump(body)
    text = decode(body if dump is None else body[: dump.start]).lstrip(_BLANK)
    first, newline, rest = text.partition("\n")
    if not newline and dump is None and starts_date_line(first.rstrip()):
        raise Truncated("the payload ends in the date line")
    published_raw = first.strip()
    published_at = date_line(published_raw, zone_of(profile.timezone))
    if dump is not None and body[dump.end :].strip():
        raise Malformed("something follows the dump's closing quote")
    paragraphs, desk_code = _paragraphs(rest, whole=dump is not None)
    return ParsedPage(
        parser="vardump",
        parser_version=VERSION,
        published_at=published_at,
        published_raw=published_raw,
        paragraphs=tuple(paragraphs),
        wire_service=wire_service(paragraphs[-1]) if desk_code or dump else None,
        desk_code=desk_code,
        related=() if dump is None else _related(dump.content, decode),
        repaired=decode.repaired,
    )


def wire_service(paragraph: str) -> str | None:
    """Return ``Independent`` of a paragraph that ends in ``, Independent reported.``; only names count."""
    found = _WIRE.search(paragraph, max(0, len(paragraph) - _WIRE_LENGTH))
    return found[1] if found and not found[1][0].islower() else None


def _related(content: bytes, decode: Decoder) -> Sequence[Related]:
    if decode is UTF8:
        try:
            return related_of_dump(content)
        except Malformed:
            pass  # the error is told of the text, below, and without this one around it
    return related_of_dump(_content(content, decode))


def _content(content: bytes, decode: Decoder) -> str:
    try:
        return decode(content)
    except UnicodeDecodeError as error:
        raise Malformed("the dump's count ends inside a character") from error


def _paragraphs(text: str, *, whole: bool) -> tuple[list[str], str | None]:
    """Return paragraphs and desk code. ``whole``: the dump follows, so nothing of the text can be missing."""
    lines = [line for raw in text.split("\n") if (line := raw.strip())]
    desk_code = lines.pop() if lines and _DESK_CODE.fullmatch(lines[-1]) else None
    if not lines:
        if whole:
            raise Malformed("the page has no text")
        raise Truncated("the payload ends before the text")
    if not whole:
        _require_end(text, lines[-1] if desk_code is None else desk_code)
    return lines, desk_code


def _require_end(text: str, last_line: str) -> None:
    """Refuse a last line that may go on: without a line end, only the end of a sentence says that it is whole."""
    terminated = not text.rpartition("\n")[2].strip()
    if not terminated and not _SENTENCE_END.search(last_line):
        raise Truncated("the payload ends inside a line")
