"""A page's text as blocks, in its order: what a paragraph, a heading, an item of a list or a cell of a table says.

One walk over the tree. Elements that hold no prose are left out. What only its class or ID may speak against is kept,
since themes give such names to whole pages, too; most of a walk's time went into looking at them all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field
from functools import lru_cache
from itertools import accumulate
from typing import Final, TypeAlias

import lxml.html
from lxml import etree

from tasks.steps.values import dataclass

Element: TypeAlias = lxml.html.HtmlElement

BLOCKS: Final = frozenset(
    {
        "address", "article", "blockquote", "body", "center", "dd", "details", "div", "dl", "dt", "fieldset", "form",
        "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "ol", "p", "pre", "section", "summary",
        "table", "tbody", "td", "th", "thead", "tr", "ul",
    }
)  # fmt: skip
_SILENT: Final = frozenset(
    {
        "aside", "audio", "button", "canvas", "dialog", "embed", "figcaption", "figure", "footer", "head", "iframe",
        "img", "input", "label", "link", "map", "menu", "meta", "nav", "noscript", "object", "picture", "script",
        "select", "source", "style", "svg", "template", "textarea", "time", "video",
    }
)  # fmt: skip
_NOT_INLINE: Final = BLOCKS | _SILENT | {"a", "br"}
_ARTICLES: Final = frozenset({"article", "main"})  # what is a header outside of these is the site's
_LISTS: Final = frozenset({"dl", "li", "ol", "small", "table", "ul"})  # what is named so here is no article
_TRUSTED: Final = frozenset(
    {"body", "article", "main", "li", "tr", "td", "th", "tbody", "thead", "h1", "h2", "h3", "h4", "h5", "h6"}
)  # whatever they are named
# Words of classes and IDs around what is no part of an article.
_DOUBTFUL: Final = frozenset(
    {
        "ad", "ads", "advert", "advertisement", "advertising", "author", "banner", "bio", "breadcrumb", "breadcrumbs",
        "byline", "caption", "comment", "comments", "consent", "cookie", "cookies", "copyright", "credit", "date",
        "disqus", "donate", "donation", "embed", "follow", "footer", "gallery", "gdpr", "hidden", "keywords", "links",
        "menu", "meta", "modal", "more", "nav", "navigation", "newsletter", "outbrain", "pagination", "popular",
        "popup", "print", "privacy", "promo", "rating", "readmore", "recommended", "recommendations", "related",
        "share", "sharing", "sidebar", "signup", "social", "sponsor", "sponsored", "subscribe", "subscription",
        "taboola", "tag", "tags", "teaser", "toolbar", "tools", "tooltip", "trending", "widget",
    }
)  # fmt: skip
_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_PARAGRAPH: Final = 40  # characters, below which a paragraph says nothing about where the article is
_BARE: Final = 80  # the same of text that is not in a <p>
_ITEM: Final = 100  # the same of items and cells, which menus have, too
_LEAST: Final = {"p": _PARAGRAPH, "dd": _ITEM, "li": _ITEM, "td": _ITEM}
_WIDE: Final = re.compile("[\u2e80-\u9fff\uac00-\ud7af\uff00-\uffef]")
_WIDE_WORTH: Final = 2  # an ideograph or a syllable says as much as two or three letters
_SAMPLE: Final = 100  # characters
_NAME_LENGTH: Final = 200  # characters of an attribute that are looked at


@dataclass(frozen=True, slots=True)
class Block:
    """A run of text without a block inside."""

    at: int  # its place among the page's blocks
    lines: tuple[str, ...] = field(repr=False)
    length: int  # characters
    linked: int  # characters inside of links
    prose: int  # characters of prose: 0 where the block is short, or most of it are links
    tag: str
    element: int  # number of its element among the page's block elements
    parent: int  # number of the one around that

    @property
    def is_links(self) -> bool:
        """Whether most of the text are links."""
        return self.linked * 2 > self.length


@dataclass(frozen=True, slots=True)
class Outline:
    """The blocks of a page. Element n holds those of the elements from n to before ``ends[n]``."""

    blocks: Sequence[Block]
    ends: Sequence[int]
    named: Sequence[tuple[int, Element]] = field(default=(), repr=False)  # elements that their names may speak against
    links: Sequence[tuple[int, str]] = field(default=(), repr=False)  # element and address of each

    def sums(self, weights: Iterable[int]) -> list[int]:
        """Return sums of weights of the blocks, so that an element's is ``sums[ends[n]] - sums[n]``."""
        of_element = [0] * (len(self.ends) + 1)
        for block, weight in zip(self.blocks, weights, strict=True):
            of_element[block.element + 1] += weight
        return list(accumulate(of_element))

    def without(self, elements: Iterable[int]) -> Outline:
        """Return the outline without blocks and links inside of these elements."""
        marks = [0] * (len(self.ends) + 1)
        for element in elements:
            marks[element] += 1
            marks[self.ends[element]] -= 1
        depth = list(accumulate(marks))
        blocks = [block for block in self.blocks if not depth[block.element]]
        return Outline(blocks, self.ends, links=[link for link in self.links if not depth[link[0]]])


def outline(body: Element) -> Outline:
    """Walk over the body."""
    walk = _Walk()
    walk.over(body)
    return Outline(walk.blocks, walk.ends, walk.named, walk.links)


class _Walk:
    """What is known halfway through the tree. Nothing here recurs: nesting is the page's choice."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.ends: list[int] = []
        self.named: list[tuple[int, Element]] = []
        self.links: list[tuple[int, str]] = []
        self._inside: list[tuple[int, str]] = [(0, "html")]  # numbers and tags of the elements around
        self._skipped: Element | None = None
        self._links = 0
        self._lines: list[str] = []
        self._pieces: list[str] = []
        self._linked = 0

    def over(self, body: Element) -> None:
        """Take in all text: of an element before its first child, and what follows an element."""
        events = etree.iterwalk(body, events=("start", "end"))
        for event, element in events:
            tag = element.tag
            if event == "end":
                if tag in _NOT_INLINE:
                    self._leave(element, tag)
                text = element.tail
            elif tag in _NOT_INLINE and not self._enter(element, tag):
                events.skip_subtree()
                continue
            else:
                text = element.text
            if text and (self._pieces or not text.isspace()):
                self._pieces.append(text)
                if self._links:
                    self._linked += len(text.strip())

    def _enter(self, element: Element, tag: str) -> bool:
        """Take note of a start; False where nothing inside counts."""
        if tag in BLOCKS:
            if tag not in _TRUSTED:
                if (tag in _LISTS and is_doubtful(element)) or (tag == "header" and not self._in_article()):
                    self._skipped = element
                    return False
                self.named.append((len(self.ends), element))
            self._open(tag)
        elif tag in _SILENT:
            return False
        elif tag == "a":
            self._links += 1
            if href := element.get("href"):
                self.links.append((self._inside[-1][0], href))
        else:
            self._break_line()
        return True

    def _leave(self, element: Element, tag: str) -> None:
        if tag in BLOCKS:
            if element is self._skipped:
                self._skipped = None
                return
            if self._pieces or self._lines:
                self._flush()
            self.ends[self._inside.pop()[0]] = len(self.ends)
        elif tag == "a":
            self._links -= 1

    def _open(self, tag: str) -> None:
        if self._pieces or self._lines:
            self._flush()
        self._inside.append((len(self.ends), tag))
        self.ends.append(len(self.ends) + 1)

    def _in_article(self) -> bool:
        return any(tag in _ARTICLES for _, tag in self._inside)

    def _break_line(self) -> None:
        if line := " ".join("".join(self._pieces).split()):
            self._lines.append(line)
        self._pieces = []

    def _flush(self) -> None:
        self._break_line()
        if self._lines:
            self.blocks.append(self._block(tuple(self._lines), *self._inside[-1]))
            self._lines = []
        self._linked = 0

    def _block(self, lines: tuple[str, ...], element: int, tag: str) -> Block:
        length = sum(map(len, lines))
        prose = _prose(lines[0], length, self._linked, tag)
        return Block(len(self.blocks), lines, length, self._linked, prose, tag, element, self._inside[-2][0])


def _prose(start: str, length: int, linked: int, tag: str) -> int:
    if linked * 2 > length:
        return 0
    characters = (length - linked) * (_WIDE_WORTH if _is_wide(start[:_SAMPLE]) else 1)
    return characters if characters >= _LEAST.get(tag, _BARE) else 0


def _is_wide(text: str) -> bool:
    return not text.isascii() and len(_WIDE.findall(text)) * 2 > len(text)


def is_doubtful(element: Element) -> bool:
    """Tell whether the element is hidden or a form, or its class or ID is that of something beside an article."""
    if element.tag == "form":
        return True
    for name, value in element.items():  # noqa: SIM110 (a generator takes longer)
        if name in _TELLING and _TELLING[name](value[:_NAME_LENGTH]):
            return True
    return False


@lru_cache(maxsize=4096)
def _is_of_doubtful(name: str) -> bool:
    return not _DOUBTFUL.isdisjoint(map(str.lower, _WORD.findall(name)))


_TELLING: Final[Mapping[str, Callable[[str], bool]]] = {
    "aria-hidden": lambda value: value == "true",
    "class": _is_of_doubtful,
    "hidden": lambda _: True,
    "id": _is_of_doubtful,
    "style": lambda value: "display:none" in value.replace(" ", ""),
}
