"""The parsers by name: the built-in ones, and those that plug-ins add."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from tasks.steps.page import ParsedPage, Payload, SourceProfile

INTERFACE: Final = 1  # the version of what ``Parser`` describes; raised when a parser of before would not work any more


@dataclass(frozen=True, slots=True, kw_only=True)
class Parser:
    """One payload format. What a plug-in offers is this, or an object with the same attributes.

    ``parse`` gets the payload and the profile of its source and returns what it understood, as a ``ParsedPage`` that
    names this parser and its version. It may raise ``Truncated``, ``Malformed``, ``UnknownFormat``, ``TooLarge`` and
    ``Undecodable`` of ``tasks.errors``: the payload is then kept as a failure of that class. Anything else that it
    raises is kept as ``ParserCrash``. It must be pure: the same payload gives the same page, nothing is read, written,
    started or waited for, since a payload may be parsed again at any time, in another process, years later.

    ``version`` counts from 1. Raise it with every change that may mend a failure or change a page: the failures of
    older versions are then tried again by themselves.
    """

    name: str
    version: int
    interface: int  # the ``INTERFACE`` that it was written for
    parse: Callable[[Payload, SourceProfile], ParsedPage]


NO_PARSER: Final = "none"  # what a failure stands under when no parser was chosen for it
_parsers: dict[str, Parser] = {}
_versions: dict[str, int] = {NO_PARSER: 1}

PARSERS: Final[Mapping[str, Parser]] = MappingProxyType(_parsers)
# A failure of an older version becomes due again by itself. Both are views: they show what is added later.
PARSER_VERSIONS: Final[Mapping[str, int]] = MappingProxyType(_versions)


def add_parser(parser: Parser) -> None:
    """Make a parser known to this process. Raises ``ValueError`` when its name is taken."""
    if parser.name in _versions:
        raise ValueError(f"there already is a parser {parser.name!r}")
    _parsers[parser.name] = parser
    _versions[parser.name] = parser.version
