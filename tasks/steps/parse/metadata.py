"""What an HTML page says about itself: JSON-LD, OpenGraph, microdata and meta elements, then its own elements.

Each of these becomes an object with schema.org's names, so that one set of readers (``document``) serves all; the
first that has a field is believed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Final, TypeAlias, TypeVar

import lxml.html

from tasks.steps.canonical import canonical_url
from tasks.steps.page import Related, SourceProfile
from tasks.steps.parse import document, json_ld, microdata
from tasks.steps.parse.dates import published
from tasks.steps.parse.labels import without_by
from tasks.steps.parse.markup import paragraphs_of_tree
from tasks.steps.parse.names import is_person
from tasks.steps.parse.publication import Publication, publication, site_in
from tasks.steps.parse.shown import Read, Shown, shown_around, shown_authors, shown_date
from tasks.steps.parse.titles import title_of
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
_FIELDS: Final = (("twitter:label1", "twitter:data1"), ("twitter:label2", "twitter:data2"))
_PAGES: Final = ("html", "body")  # an item of these is the page itself
_SITE: Final = ("og:site_name", "application-name", "publisher", "dc.publisher", "dcterms.publisher")
_TAGS: Final = ("a", "base", "h1", "h2", "h3", "html", "link", "meta", "script", "title")
_HEADINGS: Final = ("h1", "h2", "h3")
_LOGO: Final = ("logo", "brand", "site-title", "site-name", "sitename", "masthead")  # in the class of a heading
_MOST_HEADINGS: Final = 100  # of each level
_MOST_INSIDE: Final = 100  # elements of a heading
_SLASHES_OF_A_HOME: Final = 3  # https://quay.example/
_MAX_LINKS: Final = 1000  # that are looked at
_MAX_OUTLINKS: Final = 500
_NOTHING: Final[document.Obj] = {}
PLACED: Final = "profile"

Element: TypeAlias = lxml.html.HtmlElement
Parts: TypeAlias = Mapping[str, Iterable[Element]]  # by tag, in the order of the page
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What stands about the article in structured data and meta elements; what does not is None or empty."""

    article: document.Obj = field(repr=False)  # as JSON-LD has it
    title: str | None
    published: str | None  # as it is written
    published_at: datetime | None
    modified_at: datetime | None
    authors: tuple[str, ...]
    language: str | None
    section: str | None
    tags: tuple[str, ...]
    image: str | None
    canonical_url: str | None
    base: str | None  # what relative links of the page are relative to
    sources: Mapping[str, document.Obj] = field(repr=False)  # what each syntax has, the first one believed


def parts_of(tree: Element) -> Parts:
    """Return the elements that say something about the page, in one go: to look for each tag takes longer."""
    parts: dict[str, list[Element]] = {tag: [] for tag in _TAGS}
    for element in tree.iter(*_TAGS):
        parts[element.tag].append(element)
    return parts


def metadata_of(
    tree: Element,
    page: bytes,
    parts: Parts,
    url: str | None,
    profile: SourceProfile,
    *,
    placed: document.Obj = _NOTHING,
) -> Metadata:
    """Collect a page's metadata from its tree, the UTF-8 that it was parsed from, its parts, and its own address.

    ``placed`` is what stands where the source's profile says; it outweighs all that the page says of itself.
    """
    meta = _meta(parts)
    base = base_of(parts, url)
    canonical = _link(parts, "canonical", base) or document.absolute(next(iter(meta.get("og:url", ())), None), base)
    headings, element = _headings(parts["h1"], base), _first_text(parts["title"])
    shared = (*headings, *meta.get("og:title", ()))
    objects = json_ld.objects_of(parts["script"])
    article = json_ld.article_of(objects, (canonical, url), (*shared, element))
    named = {
        PLACED: placed, "JSON-LD": article, "OpenGraph": _object(meta, _OPEN_GRAPH),
        "microdata": microdata.article_of(tree, page), "meta": _object(meta, _META), "label": _labelled(meta),
    }  # fmt: skip
    sources = [one for one in named.values() if one]
    names = (*_of(meta, _SITE), *json_ld.publishers(objects, sources), site_in(element, shared))
    site = publication(names, url or canonical)
    language = document.language(placed) or language_of(parts) or _first(sources, document.language)
    read = functools.partial(_read, profile=profile, language=language)
    titles = [text for one in sources if (text := document.title(one))]
    title = document.title(placed) or title_of(titles, (headings, lambda: _deeper(parts, base)), element, site)
    shown = functools.cache(lambda: shown_around(tree, _first_headings(parts), title))
    raw = _published(sources, read, shown)
    return Metadata(
        article=article,
        title=title,
        published=raw,
        published_at=read(raw) if raw else None,
        modified_at=next((at for one in sources if (at := read(document.modified(one) or ""))), None),
        authors=document.authors(placed) or _authors(sources, site, shown),
        language=language,
        section=_first(sources, document.section),
        tags=_first(sources, document.tags) or (),
        image=_first(sources, lambda obj: document.image(obj, base)) or _link(parts, "image_src", base),
        canonical_url=document.url(placed, base) or canonical,
        base=base,
        sources=named,
    )


def _read(raw: str, profile: SourceProfile, language: str | None) -> datetime | None:
    moment = published(raw, profile, language)
    return None if moment is None or moment.timestamp() == 0 else moment  # the epoch is what software takes for no date


def _published(sources: Sequence[document.Obj], read: Read, shown: Callable[[], Sequence[Shown]]) -> str | None:
    """Return the first date that can be read, of those that are stated and the one that is shown; else the first."""
    stated = [raw for one in sources if (raw := document.published(one))]
    readable = next((raw for raw in stated if read(raw)), None)
    return readable or shown_date(shown(), read) or next(iter(stated), None)


def _authors(
    sources: Sequence[document.Obj], site: Publication, shown: Callable[[], Sequence[Shown]]
) -> tuple[str, ...]:
    """Return the first people that are stated as authors, else those that are shown, else who else is stated.

    A source that states the same and more is believed; a publication is no author of its own.
    """
    stated = [_without(site, document.authors(one)) for one in sources]
    people = [names for names in stated if names and all(map(is_person, names))]
    if people:
        return next((names for names in people if set(names) > set(people[0])), people[0])
    return _without(site, shown_authors(shown())) or next(filter(None, stated), ())


def _without(site: Publication, names: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for name in names if not site.is_behind(name))


def meta_name(parts: Parts, syntax: str, key: str) -> str | None:
    """Return the name of the meta element that says what stands under a key of an object of ``Metadata.sources``."""
    names = {"OpenGraph": _OPEN_GRAPH, "meta": _META}.get(syntax, {}).get(key, ())
    meta = _meta(parts)
    return next((name for name in names if name in meta), None)


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


def _meta(parts: Parts) -> dict[str, list[str]]:
    """Return the contents of the meta elements by their lower-case property, name, itemprop or http-equiv."""
    found: dict[str, list[str]] = {}
    for element in parts["meta"]:
        name = _name(element)
        content = _clean(element.get("content"))
        if name and content:
            found.setdefault(name, []).append(content)
    return found


def _name(element: Element) -> str | None:
    """Return what a meta element is about; not one that is of an item inside of the page, nor the server's date."""
    if name := element.get("property") or element.get("name"):
        return str(name).strip().lower()
    if name := element.get("itemprop"):
        inner = any(one.get("itemscope") is not None and not _is_page(one) for one in element.iterancestors())
        return None if inner else str(name).strip().lower()
    name = (element.get("http-equiv") or "").strip().lower()
    return None if name == "date" else name


def _is_page(item: Element) -> bool:
    return item.tag in _PAGES or (item.get("itemtype") or "").endswith("Page")


def _of(meta: Mapping[str, list[str]], names: Iterable[str]) -> list[str]:
    return [value for name in names for value in meta.get(name, ())]


def _object(meta: Mapping[str, list[str]], names: _Names) -> document.Obj:
    found = {key: next((meta[name] for name in options if name in meta), None) for key, options in names.items()}
    return {key: values if len(values) > 1 else values[0] for key, values in found.items() if values}


def _labelled(meta: Mapping[str, list[str]]) -> document.Obj:
    """Return the authors in the fields that Slack shows: their label says what they are, in the page's language."""
    for label, data in _FIELDS:
        if label in meta and data in meta and without_by(f"{meta[label][0]}: ") is not None:
            return {"author": meta[data]}
    return {}


def _headings(elements: Iterable[Element], base: str | None) -> list[str]:
    """Return the texts of headings; one that leads to the home page is the site's."""
    return [text for one in islice(elements, _MOST_HEADINGS) if (text := _text(one)) and not _is_logo(one, base)]


def _deeper(parts: Parts, base: str | None) -> list[str]:
    return [text for tag in _HEADINGS[1:] for text in _headings(parts[tag], base)]


def _first_headings(parts: Parts) -> list[Element]:
    return [one for tag in _HEADINGS for one in islice(parts[tag], _MOST_HEADINGS)]


def _text(heading: Element) -> str | None:
    """Return the text of a heading; a <br> stands between words."""
    inside = [one.tag for one in islice(heading.iter(), _MOST_INSIDE)]
    if "br" in inside and len(inside) < _MOST_INSIDE:
        return " ".join(paragraphs_of_tree(heading))
    return _clean(heading.text_content())


def _is_logo(heading: Element, base: str | None) -> bool:
    if any(name in (heading.get("class") or "").lower() for name in _LOGO):
        return True
    links = (link for link in (*heading.iter("a"), *heading.iterancestors("a")) if link.get("href"))
    url = document.absolute(next((link.get("href") for link in links), None), base)
    return url is not None and url.count("/") == _SLASHES_OF_A_HOME and url.endswith("/")


def _first_text(elements: Iterable[Element]) -> str | None:
    return next((text for one in elements if (text := _clean(one.text_content()))), None)


def language_of(parts: Parts) -> str | None:
    """Return the language tag that the page's root element has."""
    return next((document.language_tag(_clean(one.get("lang"))) for one in parts["html"]), None)


def base_of(parts: Parts, url: str | None) -> str | None:
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
