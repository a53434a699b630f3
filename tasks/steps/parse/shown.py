"""What a page shows about its article: the heading, and around that the day and the authors.

It is asked where the page states nothing else. A date counts if it is all that its part of a line says, beside a word
such as "Published"; of two different days neither does. Names count if they are full names in the place of a byline.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime
from typing import Final, NamedTuple, TypeAlias, cast

import lxml.html
from lxml import etree

from tasks.steps.parse.date_words import ascii_digits, folded, weekdays_named
from tasks.steps.parse.head import Head, Line, head_of, scope_of
from tasks.steps.parse.labels import date_labels, without_by
from tasks.steps.parse.marks import columns_of, is_article, is_author, is_beside, kind_of, moment_in, words_of
from tasks.steps.parse.names import byline
from tasks.steps.parse.publication import key

Element: TypeAlias = lxml.html.HtmlElement
Read: TypeAlias = Callable[[str], datetime | None]

# What may be a heading where no h1, h2 or h3 is.
_INSTEAD: Final = ("h4", "h5", "b", "font", "strong", "td", "div", "p", "span")
_TIMES: Final = etree.XPath("descendant::time | descendant::abbr")
_AUTHORS: Final = etree.XPath(
    "descendant::*[contains(concat(@class, ' ', @rel, ' ', @itemprop, ' ', @property), 'author')]"
)
_APART: Final = frozenset({"article", "aside", "nav"})
_MOST_HEADINGS: Final = 3  # of one title: some pages show it again when one scrolls
_MOST_MARKED: Final = 50  # elements of an article that say what they are
_START: Final = 10  # characters of a title that are compared first
_RUN: Final = 3  # characters
_ALIKE: Final = 0.3
_COLUMNS: Final = re.compile(r"\s*[|·•∙・]\s*")
_DASHES: Final = re.compile(r"\s+[–—-]\s+|\s*[,،]\s*")
_CLOCK: Final = re.compile(r"[\s,،|@(–-]*(?:\b[^\W\d]{1,4}\s+)?\d{1,2}[:.h時시]\d{2}.*$", re.DOTALL)
_CLOCK_FIRST: Final = re.compile(r"^\d{1,2}[:.]\d{2}[\s,،]+")
_YEAR: Final = re.compile(r"(?<![0-9])[12][0-9]{3}(?![0-9])")
_BEFORE_LABELS: Final = re.compile(r"\s+(?=[^\s:：]+[:：])")
_ON: Final = re.compile(r"\s(?:on|am|le|el|em|il)\s+(?=\S+.*[0-9])")
_EDGES: Final = " \t:：,，،.;|·•–—-"
_OPENING: Final = " ([（"
_BRACKETS: Final = "()[]（）"
_LONGEST: Final = 60  # characters of a date
_LONGEST_LINE: Final = 200  # characters
_FEW: Final = 3  # words of what stands beside a date, behind a comma: a place, a name
_LONGEST_MARKED: Final = 60  # characters of what a marked date stands in; in a longer text it is of what is told there


class _Dated(NamedTuple):
    kind: str
    raw: str
    day: date
    may_be_today: bool  # as a newspaper's head has it


class Shown(NamedTuple):
    """A heading of the article, and what stands around it."""

    heading: Element
    head: Head


def shown_around(tree: Element, headings: Sequence[Element], title: str | None) -> list[Shown]:
    """Find the headings that have the title, and read what stands around each."""
    return [Shown(one, head_of(one)) for one in _of_title(tree, headings, title)] if title else []


def shown_date(shown: Iterable[Shown], read: Read) -> str | None:
    """Return the date of publication as it is written; ``read`` tells what is a date."""
    return next((raw for one in shown if (raw := _date(one, read)) is not None), None)


def shown_authors(shown: Iterable[Shown]) -> tuple[str, ...]:
    """Return the authors' names: of elements that say to be one, else of a line that does, else of a class."""
    return _first(map(_authors, shown))


def _date(shown: Shown, read: Read) -> str | None:
    dated = [
        one._replace(may_be_today=one.may_be_today and line.is_before)
        for line in shown.head.lines
        for one in _dates(line, read)
    ]
    stated = [one for one in dated if one.kind == "published"]
    if stated:
        return stated[0].raw
    plain = [one for one in dated if not one.kind and not one.may_be_today]
    if plain:
        return plain[0].raw if len({one.day for one in plain}) == 1 else None
    return None if dated else _marked_date(shown.heading, read)


def _authors(shown: Shown) -> tuple[str, ...]:
    elements = [one.element for one in shown.head.authors]
    said = [one for one in elements if is_author(one)]
    return (
        _all(byline(columns_of(one)) for one in said)
        or _first(_labelled(one) for one in shown.head.lines if len(one.text) <= _LONGEST_LINE)
        or _named([one for one in elements if one not in said])
        or _only(byline(columns_of(one)) for one in _own(shown.heading, _AUTHORS) if is_author(one))
    )


def _labelled(line: Line) -> tuple[str, ...]:
    """Return the people after a word such as "By"; none where another column may be a person, too."""
    columns = _COLUMNS.split(line.text)
    spans = [line.text[one.start : one.end] for one in line.spans]
    for at, one in enumerate(columns):
        if names := byline(one, labelled=True):
            return () if any(map(byline, columns[at + 1 : at + 2])) else _apart(names, spans)
    parts = (*_DASHES.split(line.text)[1:], *_BEFORE_LABELS.split(line.text))
    return _first(byline(one, labelled=True) for one in (*spans, *parts))


def _apart(names: tuple[str, ...], spans: Iterable[str]) -> tuple[str, ...]:
    """Return names without what follows in an element of its own, as the place in ``<b>Ida Holm</b> <i>Oslo</i>``."""
    inside = _all(map(byline, spans))
    return tuple(next((one for one in inside if name.startswith(f"{one} ")), name) for name in names)


def _named(elements: Sequence[Element]) -> tuple[str, ...]:
    """Return the people in the first elements of one class, of those that hold no others."""
    inner = [one for one in elements if not any(one in other.iterancestors() for other in elements)]
    for one in inner:
        alike = [other for other in inner if other.get("class") == one.get("class")]
        if names := _all(map(_people_in, alike)):
            return names
    return ()


def _people_in(element: Element) -> tuple[str, ...]:
    """Return those whom an element links to, all in one place of the site, else those of its first column."""
    linked = {one: byline(columns_of(one)) for one in element.iter("a")}
    places = {(one.get("href") or "").rstrip("/").rpartition("/")[0] for one, names in linked.items() if names}
    if len(places) == 1:
        return _all(linked.values())
    first, *others = _COLUMNS.split(columns_of(element))
    return () if places or any(map(byline, others)) else byline(first)


def _of_title(tree: Element, headings: Sequence[Element], title: str) -> list[Element]:
    """Return the headings that have the title, else another element that has, else the only h1 if it is like it."""
    wanted, start = key(title), title[:_START]
    same = [one for one in headings if _may_be(title, text := one.text_content()) and key(text) == wanted]
    if same:
        return same[:_MOST_HEADINGS]
    for one in tree.iter(*_INSTEAD):
        if (one.text or "").lstrip().startswith(start) and key(one.text_content()) == wanted and not _is_linked(one):
            return [one]
    first = [one for one in headings if one.tag == "h1"]
    return first if len(first) == 1 and _is_like(key(first[0].text_content()), wanted) else []


def _may_be(title: str, text: str) -> bool:
    """Tell whether the first letters are the same; marks before them may differ."""
    first, other = title[:1], text.lstrip()[:1]
    return not (first.isalnum() and other.isalnum()) or first.casefold() == other.casefold()


def _is_linked(element: Element) -> bool:
    return any(one.tag in {"a", "li", "nav", "aside"} for one in element.iterancestors())


def _is_like(one: str, other: str) -> bool:
    """Tell whether a good part of what is in the shorter of two texts is in the other, too."""
    runs, others = ({text[at : at + _RUN] for at in range(len(text) - _RUN + 1)} for text in (one, other))
    return len(runs & others) >= _ALIKE * min(len(runs), len(others)) > 0


def _dates(line: Line, read: Read) -> Iterator[_Dated]:
    """Yield the dates of a line."""
    if len(line.text) > _LONGEST_LINE or not (line.moments or _YEAR.search(_digits(line.text))):
        return
    labels = [one for one in date_labels(line.text) if one[2] == "updated" or _begins(line.text, one[0])]
    if labels and labels[-1][2] == "updated" and _is_empty(line, labels[-1][1]):
        return  # "12 March 2024 (updated)" may be either
    for moment in line.moments:
        kind = _kind_at(line, labels, moment.at, moment.kind)
        if kind or len(line.text) <= _LONGEST_MARKED:
            yield from _dated(moment.text, kind, read)
    spans = ((one.start, line.text[one.start : one.end]) for one in line.spans)
    for start, text in (*_pieces(line.text, labels), *spans):
        yield from _dated(text, _kind_at(line, labels, start), read)


def _is_empty(line: Line, start: int) -> bool:
    """Tell whether a line has nothing more from here on."""
    return not line.text[start:].strip(_EDGES + _BRACKETS) and all(one.at < start for one in line.moments)


def _begins(text: str, at: int) -> bool:
    """Tell whether a label at this place begins a part of the line."""
    before = text[:at].rstrip()
    return not before or before[-1] in _EDGES + _BRACKETS or before[-1].isdigit()


def _kind_at(line: Line, labels: Sequence[tuple[int, int, str]], at: int, own: str = "") -> str:
    """Return what is said of a date: by the label before it, by the names of the elements around it."""
    label = next((kind for start, _, kind in reversed(labels) if start <= at), "")
    said = {own, label, line.kind, *(one.kind for one in line.spans if one.start <= at < one.end)}
    return next((kind for kind in ("updated", "today", "published") if kind in said), "")


def _pieces(text: str, labels: Sequence[tuple[int, int, str]]) -> Iterator[tuple[int, str]]:
    """Yield the parts of a line that may be a date each, with where they begin."""
    starts = [0, *(end for _, end, _ in labels)]
    ends = [*(start for start, _, _ in labels), len(text)]
    for start, end in zip(starts, ends, strict=True):
        segment = text[start:end]
        yield start, segment
        yield from ((start, one) for one in _COLUMNS.split(segment) if one != segment)
        parts = _DASHES.split(segment)
        if len(parts) > 1 and all(map(_may_stand_beside, parts)):
            yield from ((start, one) for one in parts)
        if (start or without_by(text) is not None) and (on := _ON.search(segment)) is not None:
            yield start, segment[on.end() :]


def _may_stand_beside(part: str) -> bool:
    """Tell whether a part is the date or what may stand beside it; a weekday belongs to it."""
    return _YEAR.search(_digits(part)) is not None or (len(part.split()) <= _FEW and not _is_weekday(part))


def _is_weekday(text: str) -> bool:
    return bool(weekdays_named(folded(text.strip(_EDGES))))


def _dated(text: str, kind: str, read: Read) -> Iterator[_Dated]:
    text = text.strip(_EDGES).rstrip(_OPENING)
    text = text.strip(_BRACKETS) if text[:1] in _BRACKETS else text
    if len(text) <= _LONGEST and _YEAR.search(_digits(text)):
        for raw in dict.fromkeys((text, _CLOCK.sub("", text), _CLOCK_FIRST.sub("", text))):
            if (moment := read(raw)) is not None:
                yield _Dated(kind, raw, moment.date(), any(map(_is_weekday, raw.split())))
                return


def _digits(text: str) -> str:
    return text if text.isascii() else ascii_digits(text)


def _marked_date(heading: Element, read: Read) -> str | None:
    """Return the only date in the article that is marked as that of publication, else the only one that is marked."""
    found: dict[str, dict[date, str]] = {"published": {}, "": {}, "updated": {}}
    for one in _own(heading, _TIMES):
        kind = kind_of(words_of(one))
        text = moment_in(one, kind) if kind or _stands_alone(one) else None
        if text and (moment := read(text)) is not None:
            found[kind].setdefault(moment.date(), text)
    days = found["published"] or found[""]
    return next(iter(days.values())) if len(days) == 1 else None


def _stands_alone(element: Element) -> bool:
    return len(element.getparent().text_content()) <= _LONGEST_MARKED


def _own(heading: Element, path: etree.XPath) -> Iterator[Element]:
    """Yield elements of the article around the heading, not of what is beside it."""
    scope = scope_of(heading)
    if is_article(scope):
        found = cast("list[Element]", path(scope))[:_MOST_MARKED]
        yield from (one for one in found if not _is_apart(one, scope))


def _is_apart(element: Element, article: Element) -> bool:
    around = [element, *element.iterancestors()]
    return any(one.tag in _APART or is_beside(words_of(one)) for one in around[: around.index(article)])


def _all(found: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for names in found for name in names))


def _only(found: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    different = set(filter(None, found))
    return different.pop() if len(different) == 1 else ()


def _first(found: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return next(filter(None, found), ())
