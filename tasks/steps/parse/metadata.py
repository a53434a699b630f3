"""What an HTML page says about itself: JSON-LD, OpenGraph and meta elements, then its own elements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import lxml.html
import orjson

from tasks.steps.page import Related
from tasks.steps.parse import document
from tasks.steps.parse.related import Row, listed

_TITLES: Final = ("og:title", "twitter:title")
_PUBLISHED: Final = ("article:published_time", "datepublished", "og:article:published_time")
_MAX_LINKS: Final = 1000

Element: TypeAlias = lxml.html.HtmlElement


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What stands about the article in structured data and meta elements; what does not is None or empty."""

    title: str | None
    published: str | None  # as it is written
    authors: tuple[str, ...]
    language: str | None
    canonical_url: str | None
    paragraphs: tuple[str, ...] = field(repr=False)  # of JSON-LD's articleBody


def metadata_of(tree: Element, base: str | None) -> Metadata:
    """Collect a page's metadata; ``base`` is the page's URL, for relative links."""
    article = _json_ld(tree)
    meta = _meta(tree)
    return Metadata(
        title=document.title(article) or _any(meta, _TITLES) or _heading(tree),
        published=document.published(article) or _any(meta, _PUBLISHED) or _time(tree),
        authors=document.authors(article) or tuple(document.author_names([meta.get("author")])),
        language=document.language_tag(_clean(tree.get("lang"))) or document.language(article),
        canonical_url=_canonical(tree, meta, base),
        paragraphs=document.paragraphs(article),
    )


def related_links(tree: Element) -> Sequence[Related]:
    """Return links that carry an item ID (``data-id``, ``data-item-id``) inside an element of class ``related…``."""
    found: dict[str, Row] = {}
    for link in tree.iter("a"):
        item = link.get("data-item-id") or link.get("data-id")
        if item and item not in found and _is_related(link):
            found[item] = (item, _clean(link.text_content()), link.get("data-pic") or None)
            if len(found) == _MAX_LINKS:
                break
    return listed(found.values())


def _is_related(link: Element) -> bool:
    if "related" in (link.get("rel") or "").split():
        return True
    return any("related" in (element.get("class") or "").lower() for element in link.iterancestors())


def _json_ld(tree: Element) -> document.Obj:
    """Return the page's first article object of JSON-LD, or an empty one."""
    for script in tree.iter("script"):
        if (script.get("type") or "").strip().lower() == "application/ld+json":
            for obj in document.objects(_loaded(script.text or "")):
                if document.is_article(obj):
                    return obj
    return {}


def _loaded(text: str) -> Any:
    try:
        return orjson.loads(text.strip().strip(";"))
    except orjson.JSONDecodeError:
        return None  # the page itself still speaks


def _meta(tree: Element) -> dict[str, str]:
    """Return the first content of each meta element by its lower-case property, name or itemprop."""
    found: dict[str, str] = {}
    for element in tree.iter("meta"):
        name = element.get("property") or element.get("name") or element.get("itemprop")
        content = _clean(element.get("content"))
        if name and content:
            found.setdefault(name.strip().lower(), content)
    return found


def _any(meta: dict[str, str], names: tuple[str, ...]) -> str | None:
    return next((meta[name] for name in names if name in meta), None)


def _heading(tree: Element) -> str | None:
    """Return the page's only h1, else its title element."""
    headings = [text for element in tree.iter("h1") if (text := _clean(element.text_content()))]
    if len(headings) == 1:
        return headings[0]
    return next((text for element in tree.iter("title") if (text := _clean(element.text_content()))), None)


def _time(tree: Element) -> str | None:
    """Return the article's time element, or the page's if it has but one; a list page's many say nothing."""
    within = next(tree.iter("article"), None)
    times = list(_times(tree if within is None else within))
    marked = [text for element, text in times if "datePublished" in (element.get("itemprop") or "")]
    if marked:
        return marked[0]
    return times[0][1] if times and (within is not None or len(times) == 1) else None


def _times(root: Element) -> Iterator[tuple[Element, str]]:
    for element in root.iter("time"):
        text = _clean(element.get("datetime"))
        if text:
            yield element, text


def _canonical(tree: Element, meta: dict[str, str], base: str | None) -> str | None:
    for link in tree.iter("link"):
        if "canonical" in (link.get("rel") or "").lower().split():
            return document.absolute(_clean(link.get("href")), base)
    return document.absolute(meta.get("og:url"), base)


def _clean(text: str | None) -> str | None:
    return " ".join(text.split()) or None if text else None
