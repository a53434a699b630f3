"""HTML to trees and to paragraphs, behind caps: native parsers cannot be interrupted, so they never see a monster."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

import lxml.html
from lxml import etree

from tasks.errors import Malformed, TooLarge

MAX_BYTES: Final = 2 * 1024 * 1024
MAX_TAGS: Final = 50_000  # opening and closing; real pages stay under 5,000, and 50,000 take about a second
MAX_ATTRIBUTES: Final = 10_000  # of one tag; 50,000 hold libxml2 for 4 s. A "<" in a script counts as a tag too

# Possessive and always matching, so that it reads hostile input once: an unclosed quote ends the tag there.
_TAG: Final = re.compile(rb"""<[a-zA-Z][^>"']*+(?:(?:"[^"]*+"|'[^']*+')[^>"']*+)*+""")
_QUOTED: Final = re.compile(rb"""=\s*+(?:"[^"]*+"|'[^']*+')""")
_LONG_TAG: Final = 2 * MAX_ATTRIBUTES  # bytes; a shorter tag cannot hold so many

_MARKUP: Final = re.compile(
    r"</?(?:p|br|div|span|a|b|i|em|strong|h[1-6]|ul|ol|li|blockquote|img|figure)\b[^<>]*>", re.IGNORECASE
)
_BREAKS: Final = frozenset(
    {
        "address", "article", "aside", "blockquote", "br", "dd", "div", "dl", "dt", "figcaption", "figure", "footer",
        "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol", "p", "pre", "section", "table",
        "td", "th", "tr", "ul",
    }
)  # fmt: skip
_REPLACEMENT: Final = "\ufffd".encode()
_ONE_CLASS: Final = etree.ElementDefaultClassLookup(element=lxml.html.HtmlElement)
_DROPPED: Final = "penstock-dropped"
_SILENT: Final = frozenset({"script", "style", "template", "noscript", "head"})


def check_caps(raw: bytes, *, most_bytes: int = MAX_BYTES, most_tags: int = MAX_TAGS) -> None:
    """Raise ``TooLarge`` naming the cap that the page exceeds."""
    if len(raw) > most_bytes:
        raise TooLarge(f"the page has {len(raw)} bytes, the limit for markup is {most_bytes}")
    if (tags := raw.count(b"<")) > most_tags:
        raise TooLarge(f"the page has {tags} tags, the limit is {most_tags}")
    for tag in _TAG.findall(raw):
        if len(tag) > _LONG_TAG and (count := _attributes(tag)) > MAX_ATTRIBUTES:
            raise TooLarge(f"a tag has {count} attributes, the limit is {MAX_ATTRIBUTES}")


def _attributes(tag: bytes) -> int:
    bare, quoted = _QUOTED.subn(b" ", tag)
    return max(quoted, len(bare.split()) - 1)


def tree_of(raw: bytes) -> lxml.html.HtmlElement:
    """Parse a page in UTF-8. Raises ``TooLarge`` above the caps, ``Malformed`` where there is no element at all."""
    raw = raw.replace(b"\0", _REPLACEMENT)
    check_caps(raw)
    try:
        tree: lxml.html.HtmlElement | None = etree.fromstring(raw, _parser())
    except (etree.ParserError, etree.XMLSyntaxError) as error:
        raise Malformed(f"not HTML: {error}") from error
    if tree is None:
        raise Malformed("not HTML: no element")
    return tree


def _parser() -> etree.HTMLParser:
    """Make a parser whose elements are all of one class: to choose one by tag takes longer than to walk on."""
    parser = etree.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True, collect_ids=False)
    parser.set_element_class_lookup(_ONE_CLASS)
    return parser


def drop(root: lxml.html.HtmlElement, elements: Iterable[lxml.html.HtmlElement]) -> None:
    """Take elements out of the tree of ``root``, and leave what follows them.

    ``drop_tree`` would join the texts around each in Python, which refuses the control characters that pages have.
    """
    for element in elements:
        element.tag = _DROPPED
    etree.strip_elements(root, _DROPPED, with_tail=False)


def paragraphs_of_text(text: str) -> tuple[str, ...]:
    """Return the paragraphs of plain text (its lines) or, where it holds tags, of markup (its blocks)."""
    if _MARKUP.search(text):
        return paragraphs_of_tree(tree_of(f"<html><body>{text}</body></html>".encode(errors="replace")))
    return folded(text.split("\n"))


def paragraphs_of_tree(root: lxml.html.HtmlElement) -> tuple[str, ...]:
    """Return the visible text of an element, a paragraph per block."""
    return folded("".join(_pieces(root)).split("\n"))


def folded(lines: Iterable[str]) -> tuple[str, ...]:
    """Fold white space in each line and drop empty ones."""
    return tuple(line for raw in lines if (line := " ".join(raw.split())))


def _pieces(root: lxml.html.HtmlElement) -> Iterator[str]:
    """Walk without recursion, since nesting is the page's choice; blocks begin and end with a line end."""
    silent = 0
    for event, element in etree.iterwalk(root, events=("start", "end")):
        tag = element.tag if isinstance(element.tag, str) else ""
        if tag in _SILENT:
            silent += 1 if event == "start" else -1
        elif not silent and tag in _BREAKS:
            yield "\n"
        text = element.text if event == "start" else element.tail if element is not root else None
        if text and not silent:
            yield text.replace("\n", " ")
