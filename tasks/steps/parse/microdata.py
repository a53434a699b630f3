"""Microdata of an article as the object that JSON-LD would have (https://html.spec.whatwg.org/#microdata)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeAlias, cast

import lxml.html
from lxml import etree

from tasks.steps.parse import document

Element: TypeAlias = lxml.html.HtmlElement

_TYPED: Final = etree.XPath("descendant::*[@itemscope and @itemtype]")
_PROPERTIES: Final = etree.XPath("descendant::*[@itemprop]")
_BODIES: Final = etree.XPath("descendant::*[contains(@itemprop, 'articleBody')]")
_MAX_PROPERTIES: Final = 100  # of a scope; as many scopes inside of it are read, each with a few
_MAX_INNER: Final = 10
_VALUES: Final = ("content", "datetime", "href", "src")  # attributes that outweigh an element's text
_BODY: Final = "articleBody"


def article_of(tree: Element, page: bytes) -> document.Obj:
    """Return the properties of the page's article, or an empty object: a list of articles says nothing.

    Of several it is the only one that is not inside of another one, else the only one that holds an h1. ``page`` is
    what the tree was parsed from: to look there first takes less time.
    """
    scopes = [one for one in _found(_TYPED, tree) if _is_article(one)] if b"itemscope" in page else []
    if len(scopes) > 1:
        outer = [one for one in scopes if not any(_is_article(around) for around in one.iterancestors())]
        scopes = outer if len(outer) == 1 else [one for one in outer if next(one.iter("h1"), None) is not None]
    return _object(scopes[0]) if len(scopes) == 1 else {}


def body_of(tree: Element, page: bytes) -> Element | None:
    """Return the page's only element that is marked as the body of an article."""
    bodies = _found(_BODIES, tree) if _BODY.encode() in page else ()
    return bodies[0] if len(bodies) == 1 else None


def _found(path: etree.XPath, tree: Element) -> Sequence[Element]:
    return cast("list[Element]", path(tree))


def _is_article(scope: Element) -> bool:
    return document.is_article({"@type": (scope.get("itemtype") or "").split()})


def _object(scope: Element) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for element, names in _of_scope(scope):
        for name in names:
            if name != _BODY:
                found.setdefault(name, []).append(_value(element))
    return found


def _of_scope(scope: Element, most: int = _MAX_PROPERTIES) -> Iterator[tuple[Element, list[str]]]:
    """Yield elements and names of the properties of the scope, and not of one inside of it."""
    for element in _found(_PROPERTIES, scope)[:most]:
        if next(one for one in element.iterancestors() if one is scope or one.get("itemscope") is not None) is scope:
            yield element, (element.get("itemprop") or "").split()


def _value(element: Element) -> Any:
    """Return an element's value; of an inner scope its texts by name."""
    if element.get("itemscope") is not None:
        return {name: _text(one) for one, names in _of_scope(element, _MAX_INNER) for name in names}
    return _text(element)


def _text(element: Element) -> str:
    stated = next((value for name in _VALUES if (value := element.get(name))), None)
    if element.tag == "abbr":
        stated = stated or element.get("title")
    return stated or " ".join(element.text_content().split())
