"""What the names of an element say: that it is an article's, beside one, an author's, a date's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from typing import Final, Literal, TypeAlias

import lxml.html
from lxml import etree

Element: TypeAlias = lxml.html.HtmlElement
Kind: TypeAlias = Literal["published", "updated", ""]

SILENT: Final = frozenset(
    {
        "aside", "audio", "button", "canvas", "dialog", "figcaption", "figure", "iframe", "input", "label", "link",
        "meta", "nav", "noscript", "object", "picture", "script", "select", "source", "style", "svg", "template",
        "textarea", "video",
    }
)  # fmt: skip
# Words of classes, IDs and properties, each for what an element is.
_BESIDE: Final = frozenset(
    {
        "breadcrumb", "breadcrumbs", "carousel", "comment", "comments", "consent", "cookie", "cookies", "latest",
        "menu", "modal", "navigation", "newsletter", "popular", "promo", "recommended", "recommendations", "related",
        "sidebar", "teaser", "teasers", "trending",
    }
)  # fmt: skip
_MASTHEADS: Final = frozenset({"banner", "logo", "masthead", "now", "today", "topbar"})
_OF_A_SITE: Final = frozenset({"container", "global", "header", "main", "page", "site", "top", "wrap", "wrapper"})
_PUBLISHED: Final = frozenset({"created", "issued", "posted", "pubdate", "publication", "publish", "published"})
_UPDATED: Final = frozenset({"edited", "modification", "modified", "update", "updated"})
_KINDS: Final = _PUBLISHED | _UPDATED
_AUTHORS: Final = frozenset(
    {
        "auteur", "auteurs", "author", "authors", "autor", "autore", "autores", "autorin", "byline", "bylines",
        "contributor", "contributors", "firma", "giornalista", "imza", "journalist", "journaliste", "muhabir",
        "periodista", "reporter", "signature", "writer", "yazar",
    }
)  # fmt: skip
_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_NAMES: Final = frozenset({"class", "id", "itemprop", "property", "rel"})
_NO_WORDS: Final[frozenset[str]] = frozenset()
_VALUES: Final = ("datetime", "content", "title")
_DATE: Final = re.compile(r"\s*[0-9]{4}-[0-9]")
_CLOCK: Final = re.compile(r"\s*[0-9]{1,2}[:.h][0-9]{2}(?::[0-9]{2})?(?: ?[ap]\.?m\.?| ?h| Uhr)?\s*", re.IGNORECASE)
_SPACE: Final = re.compile(r"\s+")
_PIECES: Final = 20  # of an element's text
SEPARATOR: Final = " | "  # between what stands side by side


def is_article(element: Element) -> bool:
    """Tell whether an element is an article's, as HTML or microformats say it."""
    names = (element.get("class") or "").split()
    return element.tag == "article" or "hentry" in names or "h-entry" in names


def is_beside(words: frozenset[str]) -> bool:
    """Tell whether an element of such names is beside an article, as comments and teasers are."""
    return not words.isdisjoint(_BESIDE)


def is_masthead(words: frozenset[str]) -> bool:
    """Tell whether an element of such names may be at the head of the site."""
    return not words.isdisjoint(_MASTHEADS) or ("header" in words and words <= _OF_A_SITE)


def is_one_of_many(article: Element) -> bool:
    """Tell whether an article stands inside of another one, or beside one."""
    return next(article.iterancestors("article"), None) is not None or any(
        next(article.itersiblings("article", preceding=way), None) is not None for way in (True, False)
    )


def is_author(element: Element) -> bool:
    """Tell whether an element says to be an author: by its relation, its property, or as microformats do."""
    names = (element.get("class") or "").split()
    if "p-author" in names or ("vcard" in names and any("author" in one for one in names)):
        return True
    said = (value for name in ("rel", "itemprop", "property") if (value := element.get(name)))
    return any(one.rpartition(":")[2].lower() == "author" for value in said for one in value.split())


def seems_author(words: frozenset[str]) -> bool:
    """Tell whether an element of such names may be an author's, as is each that says to be one."""
    return not words.isdisjoint(_AUTHORS)


def columns_of(element: Element) -> str:
    """Return the beginning of an element's text, of a vCard the formatted name (RFC 6350), in columns.

    What only white space divides, or not even that, is apart: the name in ``<a>Ida Holm</a> <a>Follow</a>``.
    """
    named = next((one for one in element.iter() if "fn" in (one.get("class") or "").split()), element)
    text = ""
    for piece in islice(_pieces(named), _PIECES):
        if text and (piece == " " or " " not in {text[-1], piece[0]}):
            text = text.removesuffix(SEPARATOR) + SEPARATOR
        text += piece if piece != " " else ""
    return text.strip(SEPARATOR)


def _pieces(element: Element) -> Iterator[str]:
    """Yield the texts in an element, their white space folded."""
    walk = etree.iterwalk(element, events=("start", "end"))
    for event, one in walk:
        if event == "start" and one.tag in SILENT:
            walk.skip_subtree()
            continue
        text = one.text if event == "start" else one.tail if one is not element else None
        if text:
            yield _SPACE.sub(" ", text)


def moment_in(element: Element, kind: Kind) -> str | None:
    """Return the date that an element has in an attribute; not of one that shows but a clock, as those of lists do."""
    if not kind and (element.get("datetime") is None or _CLOCK.fullmatch(element.text_content())):
        return None
    return next((value for name in _VALUES if (value := element.get(name)) and _DATE.match(value)), None)


def kind_of(words: frozenset[str]) -> Kind:
    """Return what the names of an element say of the date in it."""
    if words.isdisjoint(_KINDS):
        return ""
    return "updated" if words.isdisjoint(_PUBLISHED) else "published"


def words_of(element: Element) -> frozenset[str]:
    """Return the words of an element's names, in lower case."""
    said = [value for name, value in element.items() if name in _NAMES]
    return _words(" ".join(said)) if said else _NO_WORDS


@lru_cache(maxsize=4096)
def _words(said: str) -> frozenset[str]:
    return frozenset(map(str.lower, _WORD.findall(said)))
