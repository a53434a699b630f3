"""Articles as JSON objects: schema.org's NewsArticle (JSON-LD) and the shapes of common content systems."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from tasks.steps.canonical import normal_url
from tasks.steps.parse.markup import paragraphs_of_text
from tasks.steps.parse.names import names_of

_TITLE: Final = ("headline", "title", "name")
_BODY: Final = (
    "articleBody", "body", "content", "text", "paragraphs", "body_html", "content_html", "body_text", "bodyText",
    "html",
)  # fmt: skip
_PUBLISHED: Final = (
    "datePublished", "published_at", "publishedAt", "published", "date_published", "pubDate",
    "publication_date", "publish_date", "publishDate", "published_date", "first_published_at", "webPublicationDate",
    "date",
)  # fmt: skip
_MODIFIED: Final = (
    "dateModified", "modified_at", "modifiedAt", "modified", "date_modified", "updated_at", "updatedAt", "updated",
)  # fmt: skip
_SECTION: Final = ("articleSection", "section", "category")
_TAGS: Final = ("keywords", "tags", "topics")
_IMAGE: Final = ("image", "lead_image", "leadImage", "featured_image", "featuredImage", "image_url", "imageUrl")
_IMAGE_URL: Final = ("url", "contentUrl", "src", "@id")  # where an object keeps the address
_AUTHORS: Final = ("authors", "author", "byline", "creator")
_REFERRED: Final = (*_AUTHORS, "image")  # what objects of a graph name by @id
_LANGUAGE: Final = ("inLanguage", "language", "lang")
_URL: Final = ("url", "canonical_url", "canonicalUrl", "link", "mainEntityOfPage")
_RELATED: Final = ("related", "related_items", "relatedItems", "related_articles", "relatedArticles")
_WRAPPERS: Final = ("@graph", "article", "data", "post", "posts", "story", "item", "attributes", "fields", "mainEntity")
_INNER: Final = ("rendered", "@value", "text", "content", "value", "name", "@id")  # where an object keeps its text
_MAX_OBJECTS: Final = 1000
_MAX_DEPTH: Final = 6
_LANGUAGE_TAG: Final = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8})*")
_LONGEST_TITLE: Final = 1_000  # characters, up to which one is looked at for markup
_MAX_TAGS: Final = 100

Obj = Mapping[str, Any]


def objects(document: Any) -> list[Obj]:
    """Return the JSON objects that may be the article, outer ones first: roots, list members, what wrappers hold."""
    return [obj for layer in layers(document) for obj in layer]


def layers(document: Any) -> Iterator[Sequence[Obj]]:
    """Yield those objects in groups of one depth."""
    layer, left = [document], _MAX_OBJECTS
    for _ in range(_MAX_DEPTH):
        layer = layer[:left]
        found = [value for value in layer if isinstance(value, dict)]
        left -= len(found)
        yield found
        inner: list[Any] = []
        for value in layer:
            if isinstance(value, dict):
                inner += (value[key] for key in _WRAPPERS if isinstance(value.get(key), dict | list))
            elif isinstance(value, list):
                inner += value
        layer = inner


def is_article(obj: Obj) -> bool:
    """Tell whether schema.org's type of the object is an article's."""
    kinds = obj.get("@type")
    names = kinds if isinstance(kinds, list) else [kinds]
    return any(isinstance(name, str) and name.endswith(("Article", "BlogPosting", "Report")) for name in names)


def title(obj: Obj) -> str | None:
    """Return the title, its entities resolved, without markup."""
    return _first(obj, _TITLE, _unmarked)


def _unmarked(value: Any) -> str | None:
    text = plain(value)
    return " ".join(paragraphs_of_text(text)) or None if text and "<" in text and len(text) <= _LONGEST_TITLE else text


def paragraphs(obj: Obj) -> tuple[str, ...]:
    """Return the body's paragraphs, from plain text, markup, or a list of either."""
    for key in _BODY:
        found = tuple(line for text in _texts(obj.get(key)) for line in paragraphs_of_text(text))
        if found:
            return found
    return ()


def published(obj: Obj) -> str | None:
    """Return the publication date as it is written."""
    return _first(obj, _PUBLISHED, plain)


def modified(obj: Obj) -> str | None:
    """Return the date of the last change as it is written."""
    return _first(obj, _MODIFIED, plain)


def section(obj: Obj) -> str | None:
    """Return the section or, of several, the first."""
    return _first(obj, _SECTION, plain)


def tags(obj: Obj) -> tuple[str, ...]:
    """Return the keywords, each once: of a list, or of one text that commas divide."""
    value = next((obj[key] for key in _TAGS if obj.get(key)), None)
    one_by_one = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else ()
    return tuple(dict.fromkeys(tag for one in one_by_one if (tag := plain(one))))[:_MAX_TAGS]


def image(obj: Obj, base: str | None) -> str | None:
    """Return the URL of the lead image, absolute."""
    return _first(obj, _IMAGE, lambda value: next((url for one in listed(value) if (url := _address(one, base))), None))


def _address(value: Any, base: str | None) -> str | None:
    if isinstance(value, dict):
        return _first(value, _IMAGE_URL, lambda inner: _address(inner, base))
    return absolute(value.strip(), base) if isinstance(value, str) else None


def listed(value: Any) -> list[Any]:
    """Return a list as it is, and anything else as the only one of a list."""
    return value if isinstance(value, list) else [value]


def authors(obj: Obj) -> tuple[str, ...]:
    """Return the authors' names, each once; an ``@id`` is no name."""
    for key in _AUTHORS:
        if names := tuple(names_of(map(plain, (name for one in listed(obj.get(key)) for name in _named(one))))):
            return names
    return ()


def _named(value: Any) -> list[Any]:
    """Return the names in an author; an ``@id`` is none."""
    if not isinstance(value, dict):
        return [value]
    if isinstance(names := value.get("name"), list):
        return names
    return [{key: inner for key, inner in value.items() if key != "@id"}]


def resolved(article: Obj, objects: Sequence[Obj]) -> Obj:
    """Return a JSON-LD article with the objects in place that its authors and image name by ``@id``."""
    by_id = {one["@id"]: one for one in reversed(objects) if isinstance(one.get("@id"), str) and not _is_reference(one)}
    return {**article, **{key: _referred(article[key], by_id) for key in _REFERRED if key in article}}


def _referred(value: Any, by_id: Mapping[str, Obj]) -> Any:
    if isinstance(value, list):
        return [_referred(one, by_id) for one in value if not isinstance(one, list)]
    return by_id.get(value["@id"], value) if _is_reference(value) else value


def _is_reference(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() <= {"@id", "@type"} and isinstance(value.get("@id"), str)


def language(obj: Obj) -> str | None:
    """Return the language tag as it is written."""
    return _first(obj, _LANGUAGE, _language)


def _language(value: Any) -> str | None:
    """Return the tag, also of schema.org's Language, whose name is a word and whose other name is the tag."""
    return language_tag(plain(value)) or (
        language_tag(plain(value.get("alternateName"))) if isinstance(value, dict) else None
    )


def language_tag(text: str | None) -> str | None:
    """Return the text if it has the form of a language tag."""
    return text if text and _LANGUAGE_TAG.fullmatch(text) else None


def url(obj: Obj, base: str | None) -> str | None:
    """Return the article's own URL, absolute."""
    return _first(obj, _URL, lambda value: absolute(plain(value), base))


def absolute(link: str | None, base: str | None) -> str | None:
    """Return an http(s) link, made absolute by ``base`` where that is known; None for any other."""
    return normal_url(link, base) if link else None


def related_list(obj: Obj) -> list[Any]:
    """Return the list of related entries, as it is."""
    return next((value for key in _RELATED if isinstance(value := obj.get(key), list)), [])


def plain(value: Any) -> str | None:
    """Return the text of a string, of an object that wraps one, or of a list's first; folded, entities resolved."""
    for _ in range(_MAX_DEPTH):
        if isinstance(value, str):
            return " ".join(html.unescape(value).split()) or None
        if isinstance(value, list):
            value = value[0] if value else None
        elif isinstance(value, dict):
            value = next((value[key] for key in _INNER if key in value), None)
        else:
            return None
    return None


def _first(obj: Obj, keys: Iterable[str], read: Any) -> str | None:
    return next((found for key in keys if key in obj and (found := read(obj[key]))), None)


def _texts(value: Any) -> Iterator[str]:
    """Yield the raw texts of a body: of a string, an object that wraps one, or a list of these."""
    for one in listed(value):
        inner = one
        if isinstance(one, dict):
            inner = next((one[key] for key in _INNER if isinstance(one.get(key), str)), None)
        if isinstance(inner, str):
            yield inner
