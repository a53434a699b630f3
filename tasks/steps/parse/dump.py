"""PHP's dump of a string, ``string(N) "…"``, wherever it stands: in a ``vardump`` page or leaked into another one.

N counts bytes, and quotes inside are not escaped, so the content is taken by count and the closing quote is required:
that is the format's only check that nothing is missing (https://www.php.net/var_dump).
"""

from __future__ import annotations

import re
from dataclasses import field
from typing import Final

from tasks.errors import Malformed, Truncated
from tasks.steps.values import dataclass

_BEGINS: Final = b"string("
OPENING: Final = re.compile(rb"string\(([0-9]+)\)( \")?")
_MAX_INDENT: Final = 16
_MAX_DIGITS: Final = 10
_QUOTE: Final = ord('"')
_NEWLINE: Final = ord("\n")


@dataclass(frozen=True, slots=True)
class Dump:
    """A dump's place and content: ``data[start:end]`` is the whole of it."""

    start: int
    end: int
    content: bytes = field(repr=False)


def find_dump(data: bytes, opening: re.Pattern[bytes] = OPENING, *, at_line_start: bool = True) -> Dump | None:
    """Return the first dump, or None. ``opening`` captures the count and, when it is there, the opening quote.

    Raises ``Truncated`` when the data end before the closing quote, ``Malformed`` when the count leads elsewhere.
    """
    found = _opening(data, opening, at_line_start=at_line_start)
    if found is None:
        return None
    if found[2] is None:
        if data[found.end() :].strip():
            raise Malformed("a dump has no opening quote")
        raise Truncated("the payload ends before the dump's opening quote")
    if len(found[1]) > _MAX_DIGITS:
        raise Malformed("a dump of an impossible length")
    first = found.end(2)
    last = first + int(found[1])
    if len(data) <= last:
        raise Truncated(f"the dump has {len(data) - first} of its {last - first} bytes and closing quote")
    if data[last] != _QUOTE:
        raise Malformed(f"no closing quote after the dump's {last - first} bytes")
    return Dump(found.start(), last + 1, data[first:last])


def _opening(data: bytes, opening: re.Pattern[bytes], *, at_line_start: bool) -> re.Match[bytes] | None:
    """Look for the word first and match there: a tenth of the time of a search by pattern."""
    at = data.find(_BEGINS)
    while at >= 0:
        found = opening.match(data, at)
        if found is not None and (_begins_line(data, at) or not at_line_start):
            return found
        at = data.find(_BEGINS, at + 1)
    return None


def _begins_line(data: bytes, at: int) -> bool:
    """Tell whether only a few blanks stand before ``at`` in its line."""
    if at and data[at - 1] == _NEWLINE:
        return True
    before = data[max(0, at - _MAX_INDENT) : at].rstrip(b" \t")
    return before.endswith(b"\n") or (not before and at <= _MAX_INDENT)
