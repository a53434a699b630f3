"""JSON-LD: the objects in a page's scripts, and the one that is the page's article."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import lxml.html
import orjson

from tasks.steps.canonical import canonical_url
from tasks.steps.parse import document
from tasks.steps.parse.publication import key

_TYPE: Final = "application/ld+json"
# What keeps a script from browsers of long ago, and from XML.
_OPENINGS: Final = ("<!--", "//<![CDATA[", "// <![CDATA[", "/*<![CDATA[*/", "/* <![CDATA[ */", "<![CDATA[")
_CLOSINGS: Final = ("-->", "//]]>", "// ]]>", "/*]]>*/", "/* ]]> */", "]]>")
_TRAILING_COMMA: Final = re.compile(r",(?=\s*[}\]])")


def objects_of(scripts: Iterable[lxml.html.HtmlElement]) -> list[document.Obj]:
    """Return the objects of the scripts that hold JSON-LD, in order."""
    found: list[document.Obj] = []
    for script in scripts:
        if (script.get("type") or "").strip().lower() == _TYPE:
            found += document.objects(_loaded(script.text or ""))
    return found


def article_of(
    objects: Sequence[document.Obj], urls: Iterable[str | None] = (), titles: Iterable[str | None] = ()
) -> document.Obj:
    """Return the article of the page, or an empty object; what it names by ``@id`` is put in place.

    Of several it is the one that has an address of the page, else one of its titles. Where none has, the first counts
    if they are of one title.
    """
    articles = [obj for obj in objects if document.is_article(obj)]
    if len(articles) > 1:
        own = {canonical_url(url) for url in urls if url}
        articles = [obj for obj in articles if not own.isdisjoint(_addresses(obj))] or _titled(articles, titles)
    return document.resolved(articles[0], objects) if articles else {}


def _titled(articles: Sequence[document.Obj], titles: Iterable[str | None]) -> list[document.Obj]:
    names = [key(document.title(obj) or "") for obj in articles]
    if len(set(names)) == 1:
        return list(articles)
    shown = [key(one) for one in titles if one]
    return [
        obj for obj, name in zip(articles, names, strict=True) if name and any(one.startswith(name) for one in shown)
    ]


def _addresses(obj: document.Obj) -> Iterator[str]:
    for name in ("url", "mainEntityOfPage", "@id"):
        value = obj.get(name)
        text = value.get("@id") or value.get("url") if isinstance(value, dict) else value
        if isinstance(text, str) and (url := canonical_url(text)):
            yield url


def publishers(objects: Iterable[document.Obj], articles: Iterable[document.Obj]) -> Iterator[str | None]:
    """Yield the names of sites and organisations among the objects, and of the articles' publishers; no person's."""
    for obj in articles:
        if not _is_person(publisher := obj.get("publisher")):
            yield document.plain(publisher)
    for obj in objects:
        if any(kind.endswith(("WebSite", "Organization")) for kind in _kinds(obj)) and not _is_person(obj):
            yield document.plain(obj.get("name"))


def _is_person(value: Any) -> bool:
    return isinstance(value, dict) and "Person" in _kinds(value)


def _kinds(obj: document.Obj) -> list[str]:
    return [kind for kind in document.listed(obj.get("@type")) if isinstance(kind, str)]


def _loaded(text: str) -> Any:
    """Return the value of a script; also with line ends in strings and commas too many, as templates make them."""
    try:
        return orjson.loads(text.strip().strip(";"))
    except orjson.JSONDecodeError:
        pass
    text = text.strip()
    for opening, closing in zip(_OPENINGS, _CLOSINGS, strict=True):
        text = text.removeprefix(opening).removesuffix(closing)
    try:
        return json.loads(_TRAILING_COMMA.sub("", text.strip().strip(";")), strict=False)
    except (ValueError, RecursionError):
        return None  # the page itself still speaks
