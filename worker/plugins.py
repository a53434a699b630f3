"""Parsers that other distributions bring, as entry points of the group ``penstock.parsers``.

The name of the entry point is the parser's name; it resolves to what ``tasks.steps.parse.Parser`` describes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final

from tasks.errors import UsageError

if TYPE_CHECKING:
    from tasks.steps.parse import Parser

GROUP: Final = "penstock.parsers"
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,100}")


@cache
def names() -> Sequence[str]:
    """Return the names of the plug-ins that are installed, sorted. Loads none of them."""
    return sorted({point.name for point in metadata.entry_points(group=GROUP)})


@cache
def load_parsers() -> None:
    """Load the plug-ins and make their parsers known to this process; once, and its forks have them too.

    Raises ``UsageError`` with one line for each plug-in that is wrong, and makes none known then.
    """
    from tasks.steps.parse import PARSER_VERSIONS, add_parser  # noqa: PLC0415 (loads the parsing libraries)

    found: dict[str, Parser] = {}
    problems = []
    for point in sorted(metadata.entry_points(group=GROUP), key=lambda point: point.name):
        try:
            found[point.name] = _checked(point, taken={*PARSER_VERSIONS, *found})
        except (TypeError, ValueError) as error:
            problems.append(f"the parser plug-in {point.name!r} ({point.value}): {error}")
    if problems:
        raise UsageError("\n".join(problems))
    for parser in found.values():
        add_parser(parser)


def _checked(point: metadata.EntryPoint, *, taken: AbstractSet[str]) -> Parser:
    """Load a plug-in; raises ``TypeError`` or ``ValueError`` that tells what is wrong with it."""
    from tasks.steps.parse import INTERFACE, Parser  # noqa: PLC0415 (as above)

    if point.name in taken:
        raise ValueError("there already is a parser of this name")
    found = _loaded(point)
    name, version, interface, parse = (getattr(found, one, None) for one in ("name", "version", "interface", "parse"))
    if interface != INTERFACE:
        raise ValueError(f"it is written for version {interface} of the interface, this penstock has {INTERFACE}")
    if name != point.name or not _NAME.fullmatch(point.name):
        raise ValueError(f"its name {name!r} must be that of the entry point, letters, digits, '.', '_' and '-'")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise TypeError(f"its version {version!r} must be a whole number, 1 or more")
    if not callable(parse):
        raise TypeError("its parse cannot be called")
    return Parser(name=point.name, version=version, interface=INTERFACE, parse=parse)


def _loaded(point: metadata.EntryPoint) -> Any:
    try:
        return point.load()
    except Exception as error:
        raise ValueError(f"it cannot be loaded: {type(error).__name__}: {error}") from error
