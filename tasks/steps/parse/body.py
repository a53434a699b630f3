"""The body of an article page by a cascade: the fast extractor's answer where something else confirms it.

    structured  the page's own structured data (``articleBody``) has the same text
    fast        the page leaves no doubt of it (``density``), or a second fast extractor, Turbohtml, has it, too
    careful     neither, so that Trafilatura decides, at several times the cost

``benchmarks/articles.py`` measures how often each is right. Texts are compared by their runs of three words, as in
Broder, On the resemblance and containment of documents (1997).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import field
from typing import Final

import lxml.html
import trafilatura
import turbohtml
from lxml import etree

from tasks.errors import Malformed, Truncated
from tasks.steps.page import Tier
from tasks.steps.parse import document
from tasks.steps.parse.blocks import is_doubtful
from tasks.steps.parse.density import CONFIRMED, NOT_MISSED, Dense, agree, dense_text
from tasks.steps.parse.markup import drop, folded, paragraphs_of_tree
from tasks.steps.parse.microdata import body_of
from tasks.steps.values import dataclass

Paragraphs = tuple[str, ...]

_WORD: Final = re.compile(r"\w+")
_MAX_LINKS: Final = 5_000  # take it 0.3 s
_DROPPED: Final = (
    "audio", "button", "canvas", "embed", "footer", "iframe", "img", "input", "link", "meta", "nav", "noscript",
    "object", "picture", "script", "select", "source", "style", "svg", "template", "video",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Body:
    """The paragraphs of an article, and which tier of the cascade they are from."""

    paragraphs: Paragraphs = field(repr=False)
    tier: Tier
    links: tuple[str, ...] = field(repr=False)  # addresses as the page has them


def article_body(tree: lxml.html.HtmlElement, page: bytes, article: document.Obj) -> Body:
    """Return the body of a page, given as its tree and as the UTF-8 that it was parsed from.

    ``article`` is its JSON-LD. The careful tier changes the tree. Raises ``Malformed`` where there is no
    text, ``Truncated`` where the page does not even close an element.
    """
    body = tree.find("body")
    found = dense_text(body) if body is not None else Dense((), (), confirmed=False)
    stated = document.paragraphs(article)
    tier = _trusted(found, tree, page, stated)
    if tier is not None:
        return Body(found.paragraphs, tier, found.links)
    if _is_part(found.paragraphs, stated):
        return Body(stated, "structured", found.links)
    return Body(_careful(tree, page, stated, found.paragraphs), "careful", found.links)


def _trusted(found: Dense, tree: lxml.html.HtmlElement, page: bytes, stated: Paragraphs) -> Tier | None:
    """Return the tier of what confirms the fast answer, the cheapest first; None where nothing does.

    None, too, where JSON-LD has more of the same text than the page shows.
    """
    if not found.paragraphs or _is_part(found.paragraphs, stated):
        return None
    if found.confirmed:
        return "fast"
    if any(_confirms(other, found.paragraphs) for other in (stated, _marked(tree, page))):
        return "structured"
    return "fast" if _confirms(_second_opinion(page), found.paragraphs) else None


def _marked(tree: lxml.html.HtmlElement, page: bytes) -> Paragraphs:
    body = body_of(tree, page)
    return () if body is None else paragraphs_of_tree(body)


def _second_opinion(page: bytes) -> Paragraphs:
    return folded(turbohtml.parse(page, encoding="utf-8").main_text().split("\n"))


def _confirms(other: Paragraphs, ours: Paragraphs) -> bool:
    """Look for whole paragraphs, which takes next to no time, and for runs of words where that does not do."""
    if not other:
        return False
    text = "\n".join(other)
    if agree(_size(line for line in ours if line in text), _size(ours), len(text)):
        return True
    theirs, own = _shingles(other), _shingles(ours)
    return agree(len(theirs & own), len(own), len(theirs))


def _size(paragraphs: Iterable[str]) -> int:
    return sum(map(len, paragraphs))


def _shingles(paragraphs: Paragraphs) -> set[tuple[str, ...]]:
    """Return the runs of three words of a text; of one that has not so many, its words."""
    words = _WORD.findall("\n".join(paragraphs))
    return set(zip(words, words[1:], words[2:], strict=False)) or set(zip(words, strict=True))


def _is_part(text: Paragraphs, whole: Paragraphs) -> bool:
    """Tell whether a text is but a part of another one, as where a page shows the beginning to all."""
    if _size(text) >= NOT_MISSED * _size(whole):
        return False
    part, all_of_it = _shingles(text), _shingles(whole)
    both = len(part & all_of_it)
    return both >= CONFIRMED * len(part) and both < NOT_MISSED * len(all_of_it)


def _careful(tree: lxml.html.HtmlElement, page: bytes, stated: Paragraphs, dense: Paragraphs) -> Paragraphs:
    """Ask Trafilatura; without an answer take what JSON-LD has, what the fast extractor found, every ``<p>``."""
    found = _extracted(tree) or stated or dense or _all_paragraphs(tree)
    if found:
        return found
    if b"</" not in page:
        raise Truncated("the page ends before any text")
    raise Malformed("no text")


def _all_paragraphs(tree: lxml.html.HtmlElement) -> Paragraphs:
    return tuple(line for element in tree.iter("p") for line in paragraphs_of_tree(element))


def _extracted(tree: lxml.html.HtmlElement) -> Paragraphs:
    """Return Trafilatura's answer. What is dropped here would change none of it, but take a third of its time.

    It is asked for recall at once: else it tries that in a second go, where it found little. It is not asked about
    pages of links without end, on which its time grows with the square of their number.
    """
    etree.strip_elements(tree, *_DROPPED, with_tail=False)
    drop(tree, [one for one in tree.iter("ul", "ol") if is_doubtful(one)])
    if sum(1 for _ in tree.iter("a")) > _MAX_LINKS:
        return ()
    return folded((trafilatura.extract(tree, fast=True, favor_recall=True, include_comments=False) or "").split("\n"))
