"""Pages in the ``vardump`` form for property tests, and the captured ones under ``tests/pages``."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from hypothesis import strategies as st

CAPTURED = Path(__file__).parent.parent / "pages"
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True)
class VardumpPage:
    """A page, and what it was made from."""

    moment: datetime
    paragraphs: tuple[str, ...]
    wire: str | None
    desk: str
    related: tuple[tuple[str, str], ...]  # id and title
    body: bytes = field(repr=False)


def date_line_of(moment: datetime) -> str:
    """Write a date line without the help of a locale."""
    weekday, month = WEEKDAYS[moment.weekday()], MONTHS[moment.month - 1]
    return f"{weekday} {month} {moment.day}, {moment.year} {moment:%H:%M:%S}"


def dump_of(related: tuple[tuple[str, str], ...], sort: int = 3_000_000) -> bytes:
    """Write a dumped list of related items."""
    items = [
        json.dumps({"id": item, "sort": str(sort + at), "contenttypeid": "21", "pic": "/a/b.jpg", "title": title},
                   ensure_ascii=False, separators=(",", ":"))
        for at, (item, title) in enumerate(related)
    ]  # fmt: skip
    content = f"[{' ,'.join(items)} ]".encode()
    return b'string(%d) "%s"' % (len(content), content)


def body_of(moment: datetime, paragraphs: tuple[str, ...], desk: str, dump: bytes) -> bytes:
    """Write a whole page."""
    return "\n".join((date_line_of(moment), *paragraphs, desk)).encode() + b"\n" + dump


_text = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=30)
_sentence = st.builds(
    lambda start, text, end: (start + " ".join(text.split()) + end).strip(),
    st.sampled_from(("The pier ", "“Low tide” ", "الميناء ", "string(", "E/S ", "A., Post reported. ", '"')),
    _text,
    st.sampled_from((".", ".”", "!", "", ", Evening Post reported.", "…", '."', "’")),
)
_related = st.lists(st.tuples(st.from_regex(r"[0-9]{1,8}", fullmatch=True), _text), max_size=4).map(tuple)
moments = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1)).map(lambda one: one.replace(microsecond=0))  # noqa: DTZ001


@st.composite
def vardump_pages(draw: st.DrawFn) -> VardumpPage:
    """Draw pages with awkward paragraphs, with and without a wire service."""
    wire = draw(st.sampled_from((None, "Independent", "Al Jazeera", "Agence d’État")))
    last = "The tide turned at noon" + (f"., {wire} reported." if wire else ".")
    paragraphs = (*draw(st.lists(_sentence, max_size=4)), last)
    moment, related = draw(moments), draw(_related)
    desk = draw(st.sampled_from(("E/S 212-11", "MN/AB 7-1234", "A/B/C 1-2")))
    return VardumpPage(moment, paragraphs, wire, desk, related, body_of(moment, paragraphs, desk, dump_of(related)))
