"""The tables of a source profile that say where fields stand, and its samples: checked as they are read.

What checks selectors, paths and patterns is imported only where there are any: it brings the parsing libraries.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, PlainValidator, Strict

from tasks.steps.page import HTML_FIELDS, JSON_FIELDS, Place

EXPECTED: Final = (*JSON_FIELDS, "outlinks", "parser", "tier")  # fields that a sample may tell of its page
_ABOUT: Final = ("file", "url", "content_type")
_KEYS: Final = ("select", "attribute", "pattern")
_MAX: Final = 1000  # characters of a selector, path or pattern


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A page that is kept with a profile, and what must come of it."""

    file: str  # relative to the profile file
    url: str | None = None  # where it came from
    content_type: str | None = None
    expected: Mapping[str, str | int | Sequence[str]]  # by field; a number is how many there are


def _places(value: Any, check: Callable[[str], Any]) -> tuple[Place, ...]:
    """Read one place, or several in a list; raises ``ValueError`` that tells the first mistake."""
    from tasks.steps.parse.places import compiled_pattern  # noqa: PLC0415 (see above)

    places = tuple(_place(one) for one in (value if isinstance(value, list) else [value]))
    if not places:
        raise ValueError("must not be an empty list")
    for place in places:
        check(place.select)
        if place.pattern is not None:
            compiled_pattern(place.pattern)
    return places


def _place(value: Any) -> Place:
    table = {"select": value} if isinstance(value, str) else value
    if not isinstance(table, dict) or "select" not in table:
        raise ValueError(f'{repr(value)[:80]} must be a string in quotes or a table, as {{ select = "…" }}')
    for key, text in table.items():
        if key not in _KEYS:
            raise ValueError(f"{key!r} is not known here{near(key, _KEYS) or '; there are ' + ', '.join(_KEYS)}")
        if not isinstance(text, str) or not text.strip() or len(text) > _MAX:
            raise ValueError(f"{key} must be a string of 1 to {_MAX} characters")
    return Place(**table)


def _in_html(value: Any) -> tuple[Place, ...]:
    from tasks.steps.parse.selectors import compiled  # noqa: PLC0415 (see above)

    return _places(value, compiled)


def _in_json(value: Any) -> tuple[Place, ...]:
    from tasks.steps.parse.places import compiled_path  # noqa: PLC0415 (see above)

    places = _places(value, compiled_path)
    if any(place.attribute for place in places):
        raise ValueError("attribute is for HTML; in JSON the path leads to the value")
    return places


def _sample(table: Any) -> Sample:
    if not isinstance(table, dict) or not isinstance(table.get("file"), str) or not table["file"].strip("\0"):
        raise ValueError('must be a table with file = "…"')
    for name, value in table.items():
        if name not in (*_ABOUT, *EXPECTED):
            raise ValueError(f"{name!r} is not a field of a page{near(name, (*_ABOUT, *EXPECTED))}")
        if name in _ABOUT and not isinstance(value, str):
            raise ValueError(f"{name} must be a string in quotes")
    about = {name: table[name] for name in _ABOUT if name in table}
    return Sample(**about, expected={name: _expected(name, table[name]) for name in EXPECTED if name in table})


def _expected(name: str, value: Any) -> str | int | tuple[str, ...]:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"{name} must have its offset, as {value.isoformat()}+00:00")
        return value.isoformat()
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return tuple(value)
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise ValueError(f"{name} must be a string, a list of strings, or the number of them")


def _name_of(known: Sequence[str]) -> AfterValidator:
    def check(name: str) -> str:
        if name not in known:
            raise ValueError(f"is no field that has a place{near(name, known) or '; there are ' + ', '.join(known)}")
        return name

    return AfterValidator(check)


def near(name: str, known: Iterable[str]) -> str:
    """Return a guess at what was meant, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


HtmlTable = dict[Annotated[str, _name_of(HTML_FIELDS)], Annotated[Any, PlainValidator(_in_html)]]
JsonTable = dict[Annotated[str, _name_of(JSON_FIELDS)], Annotated[Any, PlainValidator(_in_json)]]
Samples = Annotated[tuple[Annotated[Sample, PlainValidator(_sample)], ...], Strict(strict=False)]
