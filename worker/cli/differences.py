"""How the differences between two parses of a page are printed."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, takewhile, zip_longest
from operator import eq
from typing import TYPE_CHECKING, Any

from worker.cli.output import clean, say

if TYPE_CHECKING:
    from worker.reparse import Looked

MAX_LINES = 40  # of one field's diff
MAX_WIDTH = 160
MAX_WORK = 4_000_000  # lines of the one times lines of the other, beyond which comparing takes too long

_RED, _GREEN, _BOLD, _PLAIN = "\x1b[31m", "\x1b[32m", "\x1b[1m", "\x1b[0m"


def print_differences(one: Looked) -> None:
    """Print what is different on a page: its key, and each field with its old and its new value."""
    colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    for line in _lines(one.key, one.differences):
        say(_coloured(line) if colours else line)


def _lines(key: str, differences: Mapping[str, tuple[Any, Any]]) -> Iterator[str]:
    yield f"{clean(key)}{'' if differences else ': the content hash is another'}"
    for name, (old, new) in differences.items():
        if name in {"paragraphs", "related"}:
            yield f"  {name}"
            yield from _some(_diff(_texts(old), _texts(new)))
        else:
            before, after = _around(_text(old), _text(new))
            yield f"  {name}: {_short(before)} → {_short(after)}"


def _texts(value: Any) -> list[str]:
    return [one if isinstance(one, str) else _item(one) for one in value or ()]


def _item(item: Mapping[str, Any]) -> str:
    """Return a related item as one line, with what it has besides id and title behind."""
    rest = {name: value for name, value in item.items() if name not in {"id", "title"} and value not in (None, [])}
    more = ", ".join(f"{name} {value}" for name, value in rest.items())
    return "  ".join(filter(None, (item.get("id"), item.get("title"), more and f"({more})")))


def _diff(old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    if len(old) * len(new) > MAX_WORK:
        yield f"{len(old):,} lines → {len(new):,} lines"
        return
    for tag, start, end, other_start, other_end in difflib.SequenceMatcher(
        None, old, new, autojunk=False
    ).get_opcodes():
        if tag == "equal":
            continue
        removed, added = old[start:end], new[other_start:other_end]
        for before, after in zip_longest(removed, added):
            shown = (before, after) if before is None or after is None else _around(before, after)
            yield from (f"{sign} {_short(text)}" for sign, text in zip("-+", shown, strict=True) if text is not None)


def _around(old: str, new: str) -> tuple[str, str]:
    """Return two long texts from a little before where they part, so that it can be seen."""
    same = sum(1 for _ in takewhile(bool, map(eq, old, new)))
    start = max(0, same - MAX_WIDTH // 4)
    if start == 0 or max(len(old), len(new)) <= MAX_WIDTH:
        return old, new
    return f"…{old[start:]}", f"…{new[start:]}"


def _some(lines: Iterator[str]) -> Iterator[str]:
    yield from (f"    {line}" for line in islice(lines, MAX_LINES))
    if more := sum(1 for _ in lines):
        yield f"    … and {more:,} more lines"


def _text(value: Any) -> str:
    if value is None or value == []:
        return "none"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _short(text: str) -> str:
    text = clean(text)
    return text if len(text) <= MAX_WIDTH else f"{text[:MAX_WIDTH]}…"


def _coloured(line: str) -> str:
    if line.startswith("    - "):
        return f"{_RED}{line}{_PLAIN}"
    if line.startswith("    + "):
        return f"{_GREEN}{line}{_PLAIN}"
    return line if line.startswith(" ") else f"{_BOLD}{line}{_PLAIN}"
