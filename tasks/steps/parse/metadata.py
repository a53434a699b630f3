"""What an HTML page says about itself: JSON-LD, OpenGraph, microdata and meta elements, then its own elements.

Each of these becomes an object with schema.org's names, so that one set of readers (``document``) serves all; the
first that has a field is believed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, TypeAlias, TypeVar

import lxml.html
import orjson

from tasks.steps.canonical import canonical_url
from tasks.steps.page import Related
from tasks.steps.parse import document
from tasks.steps.related import Row, listed

# schema.org's name → the names of meta elements that say the same, the best first
_Names: TypeAlias = Mapping[str, tuple[str, ...]]
_OPEN_GRAPH: Final[_Names] = {
    "headline": ("og:title",),
    "datePublished": ("article:published_time", "og:article:published_time"),
    "dateModified": ("article:modified_time", "og:updated_time", "og:article:modified_time"),
    "author": ("article:author", "og:article:author"),
    "articleSection": ("article:section", "og:article:section"),
    "keywords": ("article:tag", "og:article:tag"),
    "image": ("og:image:secure_url", "og:image", "og:image:url"),
}
_META: Final[_Names] = {
    "headline": ("headline", "twitter:title", "parsely-title", "dc.title", "dcterms.title"),
    "datePublished": (
        "datepublished", "parsely-pub-date", "dc.date.issued", "dcterms.issued", "pubdate", "publishdate",
        "publish-date", "sailthru.date", "dc.date", "date",
    ),
    "dateModified": ("datemodified", "dcterms.modified", "dc.date.modified", "last-modified"),
    "author": ("author", "parsely-author", "dc.creator", "dcterms.creator", "sailthru.author", "byl"),
    "articleSection": ("articlesection", "parsely-section"),
    "keywords": ("news_keywords", "parsely-tags", "keywords"),
    "image": ("twitter:image", "twitter:image:src", "thumbnail", "image"),
    "inLanguage": ("inlanguage", "content-language"),
}  # fmt: skip
_DIVIDERS: Final = tuple("|-–—·•:»")  # noqa: RUF001 (between a title and the site's name)
_TAGS: Final = ("a", "article", "base", "h1", "html", "link", "meta", "script", "time", "title")
_MAX_LINKS: Final = 1000  # that are looked at
_MAX_OUTLINKS: Final = 500

Element: TypeAlias = lxml.html.HtmlElement
Parts: TypeAlias = Mapping[str, Iterable[Element]]  # by tag, in the order of the page
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What stands about the article in structured data and meta elements; what does not is None or empty."""

    title: str | None
    published: str | None  # as it is written
    modified: str | None  # as it is written
    authors: tuple[str, ...]
    language: str | None
    section: str | None
    tags: tuple[str, ...]
    image: str | None
    canonical_url: str | None
    base: str | None  # what relative links of the page are relative to


def parts_of(tree: Element) -> Parts:
    """Return the elements that say something about the page, in one go: to look for each tag takes longer."""
    parts: dict[str, list[Element]] = {tag: [] for tag in _TAGS}
    for element in tree.iter(*_TAGS):
        parts[element.tag].append(element)
    return parts


def metadata_of(parts: Parts, article: document.Obj, stated: document.Obj, url: str | None) -> Metadata:
    """Collect a page's metadata from its parts, its article as JSON-LD and microdata have it, and its own address."""
    meta = _meta(parts)
    base = _base(parts, url)
    page = {"headline": _heading(parts, _sites(meta)), "datePublished": _time(parts), "author": _bylines(parts)}
    sources = (article, _object(meta, _OPEN_GRAPH), stated, _object(meta, _META), page)
    return Metadata(
        title=_first(sources, document.title),
        published=_first(sources, document.published),
        modified=_first(sources, document.modified),
        authors=_first(sources, document.authors) or (),
        language=_language(parts) or _first(sources, document.language),
        section=_first(sources, document.section),
        tags=_first(sources, document.tags) or (),
        image=_first(sources, lambda obj: document.image(obj, base)) or _link(parts, "image_src", base),
        canonical_url=_link(parts, "canonical", base)
        or document.absolute(next(iter(meta.get("og:url", ())), None), base),
        base=base,
    )


def json_ld(parts: Parts) -> document.Obj:
    """Return the page's first article object of JSON-LD, or an empty one; what it names by ``@id`` is put in place."""
    found: list[document.Obj] = []
    for script in parts["script"]:
        if (script.get("type") or "").strip().lower() == "application/ld+json":
            found += document.objects(_loaded(script.text or ""))
    article = next((obj for obj in found if document.is_article(obj)), None)
    return {} if article is None else document.resolved(article, found)


def outlinks(links: Iterable[str], meta: Metadata) -> tuple[str, ...]:
    """Return the http(s) URLs that links lead to, in canonical form, each once, at most 500, without the page's own."""
    own = {canonical_url(url) for url in (meta.base, meta.canonical_url) if url}
    found: dict[str, None] = {}
    for link in islice(dict.fromkeys(links), _MAX_LINKS):
        url = document.absolute(link.strip(), meta.base)
        target = canonical_url(url) if url else None
        if target and target not in own:
            found[target] = None
            if len(found) == _MAX_OUTLINKS:
                break
    return tuple(found)


def related_links(parts: Parts) -> Sequence[Related]:
    """Return links that carry an item ID (``data-id``, ``data-item-id``) inside an element of class ``related…``."""
    found: dict[str, Row] = {}
    for link in parts["a"]:
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


def _first(sources: Iterable[document.Obj], read: Callable[[document.Obj], T]) -> T | None:
    return next((found for obj in sources if obj and (found := read(obj))), None)


def _loaded(text: str) -> Any:
    try:
        return orjson.loads(text.strip().strip(";"))
    except orjson.JSONDecodeError:
        return None  # the page itself still speaks


def _meta(parts: Parts) -> dict[str, list[str]]:
    """Return the contents of the meta elements by their lower-case property, name, itemprop or http-equiv."""
    found: dict[str, list[str]] = {}
    for element in parts["meta"]:
        name = next(
            (name for key in ("property", "name", "itemprop", "http-equiv") if (name := element.get(key))), None
        )
        content = _clean(element.get("content"))
        if name and content:
            found.setdefault(name.strip().lower(), []).append(content)
    return found


def _object(meta: Mapping[str, list[str]], names: _Names) -> document.Obj:
    found = {key: next((meta[name] for name in options if name in meta), None) for key, options in names.items()}
    return {key: values if len(values) > 1 else values[0] for key, values in found.items() if values}


def _heading(parts: Parts, sites: Iterable[str]) -> str | None:
    """Return the only h1, else the one that the title element begins with, else that without the site's name."""
    headings = [text for element in parts["h1"] if (text := _clean(element.text_content()))]
    title = next((text for element in parts["title"] if (text := _clean(element.text_content()))), None)
    if len(headings) == 1 or title is None:
        return headings[0] if len(headings) == 1 else None
    return next((text for text in headings if title.startswith(text)), None) or _without_site(title, sites)


def _sites(meta: Mapping[str, list[str]]) -> list[str]:
    return [name for key in ("og:site_name", "application-name") for name in meta.get(key, ())]


def _without_site(title: str, sites: Iterable[str]) -> str:
    for site in sites:
        bare = title.removesuffix(site).rstrip()
        if bare.endswith(_DIVIDERS):
            return bare[:-1].rstrip() or title
    return title


def _time(parts: Parts) -> str | None:
    """Return the article's time element, or the page's if it has but one; a list page's many say nothing."""
    within = next(iter(parts["article"]), None)
    times = list(_times(parts["time"] if within is None else within.iter("time")))
    marked = [text for element, text in times if "datePublished" in (element.get("itemprop") or "")]
    if marked:
        return marked[0]
    return times[0][1] if times and (within is not None or len(times) == 1) else None


def _times(elements: Iterable[Element]) -> Iterator[tuple[Element, str]]:
    for element in elements:
        text = _clean(element.get("datetime"))
        if text:
            yield element, text


def _language(parts: Parts) -> str | None:
    return next((document.language_tag(_clean(one.get("lang"))) for one in parts["html"]), None)


def _bylines(parts: Parts) -> list[str]:
    """Return the texts of the links to the article's authors."""
    return [
        text
        for link in parts["a"]
        if "author" in (link.get("rel") or "").lower().split() and (text := _clean(link.text_content()))
    ]


def _base(parts: Parts, url: str | None) -> str | None:
    """Return the page's <base>, else its own address (https://html.spec.whatwg.org/#document-base-url)."""
    stated = next((href for element in parts["base"] if (href := element.get("href"))), None)
    return document.absolute(stated, url) or url


def _link(parts: Parts, rel: str, base: str | None) -> str | None:
    for link in parts["link"]:
        if rel in (link.get("rel") or "").lower().split():
            return document.absolute(_clean(link.get("href")), base)
    return None


def _clean(text: str | None) -> str | None:
    return " ".join(text.split()) or None if text else None
