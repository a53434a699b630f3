"""The head of an article: the lines just before and after its heading, up to the text.

What stands there about date and authors is the article's; what stands further off may be another one's. Nothing is read
of what is beside the article (menus, comments, teasers), where elements or their names say so.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import field
from itertools import islice
from typing import Final, NamedTuple, TypeAlias

import lxml.html
from lxml import etree

from tasks.steps.parse.blocks import BLOCKS
from tasks.steps.parse.marks import (
    SEPARATOR,
    SILENT,
    Kind,
    is_article,
    is_beside,
    is_masthead,
    is_one_of_many,
    kind_of,
    moment_in,
    seems_author,
    words_of,
)
from tasks.steps.values import dataclass

Element: TypeAlias = lxml.html.HtmlElement

_BREAKS: Final = BLOCKS | {"footer", "br"}
_HEADINGS: Final = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
_SPACE: Final = re.compile(r"\s+")
_PROSE: Final = 80  # characters of a line, from which on it is text
_WIDE_PROSE: Final = 40  # the same of ideographs
_WIDE: Final = "\u2e80"
_MOST_PROSE: Final = 2  # lines of it: one may stand above the byline
_MOST_HEADINGS: Final = 2  # below that of the article: a deck may be one, too
_MOST_LINES: Final = 40
_MOST_ELEMENTS: Final = 2_000
_MOST_AUTHORS: Final = 20
_MOST_BEFORE: Final = 3  # lines
_TEASER: Final = 25  # characters of a link before a heading, from which on it leads to another article
_LEVELS: Final = 2  # of elements around a heading, in which what stands before it counts


@dataclass(frozen=True, slots=True)
class Moment:
    """A date that an element has in an attribute."""

    at: int  # in the text of its line
    text: str
    kind: Kind


class Span(NamedTuple):
    """A part of a line that an element of its own has."""

    start: int
    end: int
    kind: Kind


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text. ``kind`` is what the names of the elements around say of a date in it."""

    text: str
    kind: Kind
    spans: Sequence[Span]
    moments: Sequence[Moment]
    is_before: bool  # before the heading


class Author(NamedTuple):
    """An element that may be an author's."""

    line: int  # that it begins in
    element: Element


@dataclass(frozen=True, slots=True)
class Head:
    """What stands around a heading."""

    lines: Sequence[Line] = field(repr=False)
    authors: Sequence[Author] = field(repr=False)


def head_of(heading: Element) -> Head:
    """Read the lines around a heading."""
    walk = _Walk()
    around = _around(heading)
    if around is not None:
        walk.before(heading, around)
    walk.after(heading, scope_of(heading))
    return Head(walk.lines, walk.authors)


def scope_of(heading: Element) -> Element:
    """Return the article around a heading, else the main part of the page, else the body."""
    around = heading
    for around in heading.iterancestors():
        if is_article(around) or around.tag in {"main", "body"}:
            break
    return around


def _around(heading: Element) -> Element | None:
    """Return the element in which what stands before the heading belongs to it."""
    found = None
    for around in islice(heading.iterancestors(), _LEVELS):
        if around.tag in {"body", "html"}:
            break
        found = around
        if around.tag in {"article", "main", "td"}:
            break
    return found


class _Walk:
    """What has been read so far. Nothing here recurs: nesting is the page's choice."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.authors: list[Author] = []
        self._is_before = False
        self._around: Collection[Element] = ()  # what the heading is in
        self._prose = 0
        self._headings = 0
        self._left = _MOST_ELEMENTS  # that are looked at
        self._start = 0  # the number of lines before the heading
        self._skipped: Element | None = None
        self._kinds: list[tuple[Element, Kind]] = []
        self._open: list[int] = []  # where inline elements began
        self._text = ""
        self._spans: list[Span] = []
        self._moments: list[Moment] = []
        self._at_end = False  # of an inline element

    def before(self, heading: Element, around: Element) -> None:
        """Read what stands before the heading in an element around it: the last lines, after what is the site's."""
        self._is_before = True
        self._around = {around, *heading.iterancestors()}
        self._over(around, until=heading)
        self._flush()
        self._is_before = False
        first = len(self.lines) if self._headings else max(0, len(self.lines) - _MOST_BEFORE)
        self.lines = self.lines[first:]
        self.authors = [one._replace(line=one.line - first) for one in self.authors if one.line >= first]
        self._prose, self._headings, self._kinds, self._open = 0, 0, [], []
        self._start, self._left = len(self.lines), _MOST_ELEMENTS

    def after(self, heading: Element, scope: Element) -> None:
        """Read what follows the heading inside of the scope, until the text has begun."""
        most = len(self.lines) + _MOST_LINES
        for around in (heading, *heading.iterancestors()):
            if around is scope or self._has_ended() or len(self.lines) > most:
                break
            if around.tag in _BREAKS:
                self._flush()
            self._add(around.tail)
            for sibling in around.itersiblings():
                self._over(sibling)
                self._add(sibling.tail)
                if self._has_ended() or len(self.lines) > most:
                    break
        self._flush()

    def _may_be_deck(self) -> bool:
        """Tell whether a heading comes straight after the others."""
        return not self._is_before and len(self.lines) - self._start <= self._headings

    def _has_ended(self) -> bool:
        return self._prose >= _MOST_PROSE or self._headings > _MOST_HEADINGS or self._left < 0

    def _over(self, element: Element, until: Element | None = None) -> None:
        """Read an element, up to another one inside of it."""
        events = etree.iterwalk(element, events=("start", "end"))
        for event, one in events:
            if one is until or self._left < 0 or (self._has_ended() and not self._is_before):
                break
            if event == "end":
                self._leave(one)
                if one is not element:
                    self._add(one.tail)
            elif self._enter(one):
                self._add(one.text)
            else:
                self._skipped = one
                events.skip_subtree()

    def _enter(self, element: Element) -> bool:
        """Take note of a start; False where nothing inside counts."""
        words = words_of(element)
        self._left -= 1
        if element not in self._around and self._is_apart(element, words):
            return False
        if element.tag in _HEADINGS:
            self._flush()
            self._headings += 1 if self._may_be_deck() or seems_author(words) else _MOST_HEADINGS + 1
        elif self._is_before and element.tag == "a" and len(element.text_content().strip()) > _TEASER:
            self._headings = _MOST_HEADINGS + 1
        if kind := kind_of(words):
            self._kinds.append((element, kind))
        if seems_author(words) and len(self.authors) < _MOST_AUTHORS:
            self.authors.append(Author(len(self.lines), element))
        if element.tag in _BREAKS:
            self._flush()
        else:
            self._begin()
        moment = moment_in(element, kind)
        if moment is not None:
            self._note(moment)
        return moment is None

    def _leave(self, element: Element) -> None:
        if element is self._skipped:
            self._skipped = None
            return
        kind = self._kinds.pop()[1] if self._kinds and self._kinds[-1][0] is element else ""
        if element.tag in _BREAKS:
            self._flush(kind)
        elif self._open:
            start = self._open.pop()
            if start < len(self._text):
                self._spans.append(Span(start, len(self._text), kind))
            self._at_end = True

    def _is_apart(self, element: Element, words: frozenset[str]) -> bool:
        """Tell whether an element is beside the article; what stands before a menu is the site's."""
        if self._is_before and (element.tag in {"header", "nav"} or is_masthead(words)):
            self._flush()
            self.lines.clear()
            self.authors.clear()
            return True
        if element.tag in SILENT or is_beside(words) or element.get("hidden") is not None:
            return True
        return element.tag == "article" and is_one_of_many(element)

    def _begin(self) -> None:
        """Begin an inline element; two without a space between them are two columns."""
        if self._at_end and not self._text.endswith(" "):
            self._text += SEPARATOR
        self._at_end = False
        self._open.append(len(self._text))

    def _add(self, text: str | None) -> None:
        if text and (folded := _SPACE.sub(" ", text)):
            self._at_end = False
            self._text += folded.lstrip() if not self._text or self._text.endswith(" ") else folded

    def _flush(self, kind: Kind = "") -> None:
        text = self._text.rstrip()
        if text:
            if not kind and self._kinds:
                kind = self._kinds[-1][1]
            self.lines.append(Line(text, kind, self._spans, self._moments, self._is_before))
            self._prose += len(text) >= (_WIDE_PROSE if text[0] >= _WIDE else _PROSE)
        self._text, self._spans, self._moments, self._at_end = "", [], [], False
        self._open = [0] * len(self._open)

    def _note(self, moment: str) -> None:
        self._text += SEPARATOR
        self._moments.append(Moment(len(self._text), moment, self._kinds[-1][1] if self._kinds else ""))
        self._text += SEPARATOR
