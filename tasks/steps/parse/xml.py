"""XML to trees, behind the caps of ``markup``: no entity of its own, nothing fetched, nesting bounded by libxml2."""

from __future__ import annotations

import html.entities
import re
from typing import Final, TypeAlias

from lxml import etree

from tasks.errors import Malformed, Truncated
from tasks.steps.parse.markup import MAX_BYTES, MAX_TAGS, check_caps

Element: TypeAlias = etree._Element  # noqa: SLF001 (the only name of the type)

_ROOT: Final = re.compile(r"<([A-Za-z_][\w:.-]*)")
_PROLOGUE: Final = re.compile(r"(?:(?><!--.*?-->)|(?><\?.*?\?>)|(?><!DOCTYPE[^>\[]*>)|\s++)*+", re.DOTALL)
_AFTER_ROOT: Final = re.compile(r"\s*>\s*(?:(?><!--.*?-->)\s*)*+\Z", re.DOTALL)
_ENTITY: Final = re.compile(r"&([A-Za-z][A-Za-z0-9]*);")
_OF_XML: Final = frozenset({"amp", "lt", "gt", "quot", "apos"})


def tree_of_xml(text: str, *, most_bytes: int = MAX_BYTES, most_tags: int = MAX_TAGS) -> Element:
    """Parse a document. HTML's named characters, which feeds use unasked, are taken for what they mean.

    Raises ``Truncated`` where the root is not closed, ``Malformed`` where it is no XML or declares entities,
    ``TooLarge`` above the caps.
    """
    text = text.lstrip("\ufeff \t\r\n")
    _require_end(text)
    raw = _ENTITY.sub(_character, text).encode()
    check_caps(raw, most_bytes=most_bytes, most_tags=most_tags)
    if b"<!ENTITY" in raw:
        raise Malformed("the document declares entities")
    try:
        return etree.fromstring(raw, parser=_parser())
    except etree.XMLSyntaxError as error:
        raise Malformed(f"not XML: {error}") from error


def local_name(element: Element) -> str:
    """Return the element's name without its namespace."""
    return etree.QName(element).localname


def namespace(element: Element) -> str:
    """Return the URI of the element's namespace, or an empty text."""
    return etree.QName(element).namespace or ""


def plain_names(root: Element) -> Element:
    """Take the namespaces off an element and all in it, so that XHTML reads as HTML; returns the element."""
    for element in root.iter():
        element.tag = local_name(element)
    return root


def _parser() -> etree.XMLParser:
    return etree.XMLParser(
        encoding="utf-8", resolve_entities=False, load_dtd=False, no_network=True, huge_tree=False,
        remove_comments=True, remove_pis=True,
    )  # fmt: skip


def _require_end(text: str) -> None:
    """Raise ``Truncated`` unless the document ends in its root's closing tag, and comments."""
    prologue = _PROLOGUE.match(text)
    root = _ROOT.match(text, prologue.end() if prologue else 0)
    if root is None:
        if text.startswith("<") and not _ROOT.search(text):
            raise Truncated("the document ends before its root element")
        raise Malformed("not XML: there is no root element")
    close = text.rfind(f"</{root[1]}")
    if close < 0 or not _AFTER_ROOT.match(text, close + len(root[1]) + 2):
        raise Truncated(f"the document opens <{root[1]}> and does not end in its closing tag")


def _character(found: re.Match[str]) -> str:
    name = found[1]
    return found[0] if name in _OF_XML else html.entities.html5.get(f"{name};", found[0])
