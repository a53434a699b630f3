"""CSS selectors over a page's tree, in time that grows with the page and not with its square.

A selector's parts are looked for one by one, in C, as XPath that tests nothing but the element itself; what joins them
(``a b``, ``a > b``, ``a + b``, ``a ~ b``) is tested here. XPath could do that, too, but on a page that nests or repeats
its elements libxml2 then takes minutes, and nothing can interrupt it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

import cssselect
import lxml.html
from cssselect.parser import CombinedSelector, Relation
from lxml import etree

Element: TypeAlias = lxml.html.HtmlElement

_TRANSLATOR: Final = cssselect.HTMLTranslator()
_INNER: Final = ("selector", "subselector", "selector_list")  # where cssselect keeps the parts of a part
_MEMO: Final = 4096  # selectors


@dataclass(frozen=True, slots=True)
class _Part:
    """One part of a selector, and how it is joined to the one before it."""

    joined: str | None
    find: etree.XPath


def select(tree: Element, selector: str) -> Sequence[Element]:
    """Return the elements that a CSS selector means, in the order of the page. Raises as ``compiled``."""
    choices = [_chosen(tree, parts) for parts in compiled(selector)]
    if len(choices) == 1:
        return choices[0]
    every = {element for choice in choices for element in choice}
    return [element for element in tree.iter() if element in every] if every else ()


@functools.lru_cache(maxsize=_MEMO)
def compiled(selector: str) -> Sequence[Sequence[_Part]]:
    """Return the parts of each of the selectors that commas divide; raises ``ValueError`` telling what is wrong."""
    try:
        return tuple(tuple(_parts(one)) for one in cssselect.parse(selector))
    except cssselect.SelectorError as error:
        raise ValueError(f"{selector!r} is not a CSS selector: {error}") from error
    except etree.XPathError as error:
        raise ValueError(f"{selector!r} cannot be looked for: {error}") from error


def _parts(selector: cssselect.Selector) -> Iterator[_Part]:
    """Yield the parts from left to right."""
    if selector.pseudo_element is not None:
        raise cssselect.SelectorError('no pseudo-elements: text is the value by itself, else say attribute = "…"')
    tree: Any = selector.parsed_tree
    if isinstance(tree, CombinedSelector):
        yield from _parts(cssselect.Selector(tree.selector))
        yield _Part(tree.combinator, _path(tree.subselector))
    else:
        yield _Part(None, _path(tree))


def _path(part: Any) -> etree.XPath:
    _require_flat(part)
    path = etree.XPath(_TRANSLATOR.selector_to_xpath(cssselect.Selector(part)))
    path(etree.Element("html"))  # tells a prefix that names no namespace
    return path


def _require_flat(part: Any) -> None:
    """Raise ``SelectorError`` where a part looks at anything but its element and that one's place among its siblings.

    Such a test is made for each element of a page, and a hostile page has 25,000 of them.
    """
    if isinstance(part, Relation):
        raise cssselect.SelectorError(":has() is not supported")
    if isinstance(part, CombinedSelector):
        raise cssselect.SelectorError("a pseudo-class takes single elements only, without what is around them")
    for name in _INNER:
        inner = getattr(part, name, ())
        for one in inner if isinstance(inner, list | tuple) else [inner]:
            _require_flat(one)


def _chosen(tree: Element, parts: Sequence[_Part]) -> Sequence[Element]:
    found: Sequence[Element] = ()
    for part in parts:
        if part.joined is None:
            found = cast("list[Element]", part.find(tree))
        else:
            found = _JOINS[part.joined](found, cast("list[Element]", part.find(tree)))
        if not found:
            break
    return found


def _inside(outer: Sequence[Element], found: Sequence[Element]) -> list[Element]:
    around = set(outer)
    return [one for one in found if any(element in around for element in one.iterancestors())]


def _child(outer: Sequence[Element], found: Sequence[Element]) -> list[Element]:
    return _those(found, lambda one: one.getparent(), outer)


def _next(before: Sequence[Element], found: Sequence[Element]) -> list[Element]:
    return _those(found, lambda one: one.getprevious(), before)


def _later(before: Sequence[Element], found: Sequence[Element]) -> list[Element]:
    first = {one.getparent(): one for one in reversed(before)}  # of each family; all siblings after it are later
    later = {sibling for one in first.values() for sibling in one.itersiblings()}
    return [one for one in found if one in later]


def _those(
    found: Sequence[Element], other: Callable[[Element], Element | None], among: Collection[Element]
) -> list[Element]:
    known = set(among)
    return [one for one in found if other(one) in known]


_JOINS: Final[Mapping[str, Callable[[Sequence[Element], Sequence[Element]], list[Element]]]] = {
    " ": _inside,
    ">": _child,
    "+": _next,
    "~": _later,
}
