"""What is planted in the demo site, how often, and what the server sends for it."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from worker.demo.formats import CONTENT_TYPES, Article, Format, dumped
from worker.demo.model import Answer, Kind

SLOW_SECONDS: Final = 1.5
RETRY_AFTER: Final = 1  # seconds

# Pages that are hard to have or cannot be had, with the format that they would be in.
PLANTED: Final[tuple[tuple[Kind, Format], ...]] = (
    (Kind.CUT, "vardump"),
    (Kind.CUT, "vardump"),
    (Kind.CUT, "html"),
    (Kind.CUT, "json"),
    (Kind.CUT_ONCE, "vardump"),
    (Kind.BAD_JSON, "vardump"),
    (Kind.BAD_DATE, "vardump"),
    (Kind.BINARY, "vardump"),
    (Kind.MISSING, "vardump"),
    (Kind.MISSING, "html"),
    (Kind.MISSING, "json"),
    (Kind.WITHDRAWN, "html"),
    (Kind.BROKEN, "html"),
    (Kind.BROKEN, "json"),
    (Kind.BUSY_ONCE, "html"),
    (Kind.BUSY_ONCE, "json"),
    (Kind.SLOW, "vardump"),
)
# Copies keep title and body. A vardump has no title of its own, so it is only ever the copy of another vardump.
COPIES_OF: Final[tuple[Format, ...]] = ("vardump", "vardump", "vardump", "html", "html", "json", "json", "html", "json")
COPIES: Final[tuple[Format, ...]] = ("vardump", "vardump", "vardump", "html", "html", "json", "json", "json", "html")
EDITED: Final[tuple[Format, ...]] = ("vardump", "vardump", "html", "html", "json", "json")
RESHUFFLED: Final[tuple[Format, ...]] = ("vardump", "vardump", "html", "json")


def whole(article: Article, body: bytes) -> Answer:
    """Return the answer that brings the page."""
    return Answer(content_type=CONTENT_TYPES[article.format], body=body)


def answers(kind: Kind, page: Answer, rng: random.Random) -> tuple[Answer, ...]:
    """Return what successive requests get, where ``page`` is the page as it should be."""
    if kind in _REFUSALS:
        return (_REFUSALS[kind],)
    if kind in _DAMAGES:
        return (replace(page, body=_DAMAGES[kind](page.body)),)
    match kind:
        case Kind.SLOW:
            return (replace(page, delay_seconds=SLOW_SECONDS),)
        case Kind.BUSY_ONCE:
            return (Answer(status=503, body=b"come again\n", retry_after=RETRY_AFTER), page)
        case Kind.CUT_ONCE:
            return (replace(page, body=_cut(page.body)), page)
        case Kind.BINARY:
            return (Answer(content_type="application/octet-stream", body=b"\x93\x00\x1a" + rng.randbytes(2000)),)
        case _:
            return (page,)


def _cut(body: bytes) -> bytes:
    """Drop the last fifth, which is inside the dump or the list of related items, and cut no character in two."""
    return body[: len(body) * 4 // 5].decode(errors="ignore").encode()


def _without_a_colon(body: bytes) -> bytes:
    """Break the JSON inside the dump; its count stays right."""
    text, _, dump = body.decode().partition("string(")
    array = dump.partition(' "')[2].removesuffix('"')
    return (text + dumped(array.replace('"sort":', '"sort"', 1))).encode()


def _with_impossible_day(body: bytes) -> bytes:
    _, _, rest = body.partition(b"\n")
    return b"Wed Feb 31, 2016 14:03:32\n" + rest


_REFUSALS: Final[Mapping[Kind, Answer]] = {
    Kind.MISSING: Answer(status=404, body=b"no such page\n"),
    Kind.WITHDRAWN: Answer(status=410, body=b"withdrawn\n"),
    Kind.BROKEN: Answer(status=500, body=b"an error\n"),
}
_DAMAGES: Final[Mapping[Kind, Callable[[bytes], bytes]]] = {
    Kind.CUT: _cut,
    Kind.BAD_JSON: _without_a_colon,
    Kind.BAD_DATE: _with_impossible_day,
}
