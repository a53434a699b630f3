"""Feeds: RSS 2.0 and its elders, RSS 1.0 (RDF) and Atom, as a whole or as a single entry.

One entry is an article, but at a start URL. A feed of several is a page of its own, which says what the feed says of
itself; its entries are its related items, each named by its link, so that follow-ups fetch the articles where the
source's ``hosts`` allow.
(https://www.rssboard.org/rss-specification, https://web.resource.org/rss/1.0/spec, RFC 4287)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from tasks.errors import Malformed, Truncated
from tasks.steps.canonical import canonical_url, normal_url
from tasks.steps.lists import start_of
from tasks.steps.page import ParsedPage, Payload, SourceProfile
from tasks.steps.parse import document
from tasks.steps.parse.charset import Decoder, ascii_compatible, decoder
from tasks.steps.parse.dates import published
from tasks.steps.parse.markup import paragraphs_of_text, paragraphs_of_tree
from tasks.steps.parse.names import names_of
from tasks.steps.parse.xml import Element, local_name, namespace, plain_names, tree_of_xml
from tasks.steps.related import Row, listed, media_kind

VERSION: Final = 2

_ENTRIES: Final = frozenset({"item", "entry"})
_ATOM: Final = frozenset({"http://www.w3.org/2005/Atom", "http://purl.org/atom/ns#"})
# What elements of these are called here: Atom's own and RSS' in all its namespaces need no prefix.
_PREFIXES: Final = {
    "": "", "http://purl.org/rss/1.0/": "", "http://my.netscape.com/rdf/simple/0.9/": "",
    "http://purl.org/rss/1.0/modules/content/": "content:", "http://purl.org/dc/elements/1.1/": "dc:",
    "http://purl.org/dc/terms/": "dcterms:", "http://search.yahoo.com/mrss/": "media:",
}  # fmt: skip
_BODY: Final = ("content:encoded", "content", "description", "summary", "dc:description")
_ABOUT: Final = ("description", "subtitle", "tagline", "dc:description")  # of a feed
_PUBLISHED: Final = ("pubDate", "published", "dc:date", "dcterms:issued", "dcterms:created", "issued")
_MODIFIED: Final = ("updated", "dcterms:modified", "modified")
_CATEGORIES: Final = ("category", "dc:subject", "media:keywords")
_LANGUAGE: Final = ("language", "dc:language")
_TITLE: Final = ("title", "dc:title", "media:title")
_PICTURES: Final = ("enclosure", "media:content", "media:thumbnail")
_XML_LANG: Final = "{http://www.w3.org/XML/1998/namespace}lang"
_ABOUT_RDF: Final = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}about"
_MAX_ENTRIES: Final = 1000

Parts = Mapping[str, Sequence[Element]]  # the children of an element, by name


def parse_feed(payload: Payload, profile: SourceProfile) -> ParsedPage:
    """Read a feed or an entry. Raises ``Truncated``, ``Malformed``, ``TooLarge`` above the caps, ``Undecodable``."""
    channel, entries, decode = _document(payload)
    if len(entries) == 1 and start_of(payload.url, profile) is None:
        return _article(entries[0], channel, payload, profile, decode)
    return _feed(channel, entries, payload, decode)


def tags_of(payload: Payload) -> Mapping[str, str]:
    """Return the names of the elements that a feed's fields are read from, to tell where they are from."""
    channel, entries, _ = _document(payload)
    parts = _parts(entries[0] if len(entries) == 1 else channel)
    tags = {
        "title": _TITLE,
        "published_at": _PUBLISHED,
        "paragraphs": _BODY if len(entries) == 1 else _ABOUT,
        "language": _LANGUAGE,
        "authors": ("dc:creator", "author"),
        "canonical_url": ("link", "guid"),
        "modified_at": _MODIFIED,
        "tags": _CATEGORIES,
        "image": _PICTURES,
    }
    found = {field: next((name for name in names if name in parts), None) for field, names in tags.items()}
    return {field: name for field, name in found.items() if name} | {"related": local_name(entries[0])}


def _document(payload: Payload) -> tuple[Element, list[Element], Decoder]:
    """Return the channel and the entries."""
    body = ascii_compatible(payload.body)
    if not body.strip():
        raise Truncated("the payload is empty")
    decode = decoder(body, payload.content_type, meta=True)
    root = tree_of_xml(decode(body))
    channel = next((child for child in root if local_name(child) == "channel"), root)
    return channel, [root] if local_name(root) in _ENTRIES else list(_entries(root, channel)), decode


def _entries(root: Element, channel: Element) -> Iterator[Element]:
    """Yield the entries: in RSS 1.0 they stand beside the channel, else within it."""
    for parent in (root,) if channel is root else (root, channel):
        yield from (child for child in parent if local_name(child) in _ENTRIES)


def _article(entry: Element, channel: Element, payload: Payload, profile: SourceProfile, decode: Decoder) -> ParsedPage:
    parts, about = _parts(entry), _parts(channel)
    paragraphs = _paragraphs(parts, _BODY)
    if not paragraphs:
        raise Malformed("the entry has no text (content, description or summary)")
    raw = _text(parts, _PUBLISHED)
    return ParsedPage(
        parser="feed",
        parser_version=VERSION,
        title=_title(parts),
        published_at=published(raw, profile),
        published_raw=raw,
        paragraphs=paragraphs,
        language=_language(entry, parts, about),
        authors=tuple(names_of(_authors(parts))),
        canonical_url=_link(entry, parts, payload.base),
        modified_at=published(_text(parts, _MODIFIED), profile),
        tags=tuple(dict.fromkeys(_tags(parts))),
        image=next(filter(_is_image, _pictures(parts, payload.base)), None),
        repaired=decode.repaired,
    )


def _feed(channel: Element, entries: Sequence[Element], payload: Payload, decode: Decoder) -> ParsedPage:
    parts = _parts(channel)
    title = _title(parts)
    paragraphs = _paragraphs(parts, _ABOUT) or ((title,) if title else ())
    if not entries or not paragraphs:
        raise Malformed("the feed has no entry" if not entries else "the feed has neither title nor description")
    rows = [row for entry in entries[:_MAX_ENTRIES] if (row := _row(entry, payload.base)) is not None]
    return ParsedPage(
        parser="feed",
        parser_version=VERSION,
        title=title,
        paragraphs=paragraphs,
        language=_language(channel, parts, parts),
        related=listed(rows),
        repaired=decode.repaired,
    )


def _row(entry: Element, base: str | None) -> Row | None:
    """Return an entry as a related item: named by its link, else by its ID; None where it has neither."""
    parts = _parts(entry)
    link = _link(entry, parts, base)
    name = canonical_url(link) if link else _text(parts, ("guid", "id"))
    return (name, _title(parts), next(_pictures(parts, base), None)) if name else None


def _pictures(parts: Parts, base: str | None) -> Iterator[str]:
    """Yield the URLs of the entry's pictures and films, absolute."""
    for name in _PICTURES:
        for part in parts.get(name, ()):
            if (url := document.absolute(part.get("url"), base)) is not None:
                yield url


def _is_image(url: str) -> bool:
    return media_kind(url) == "image"


def _tags(parts: Parts) -> Iterator[str]:
    """Yield the entry's categories: RSS has them as texts, Atom as attributes."""
    for name in _CATEGORIES:
        for part in parts.get(name, ()):
            text = document.plain(part.get("label") or part.get("term") or part.text)
            yield from (text,) if text else ()


def _parts(element: Element) -> Parts:
    own = namespace(element) if namespace(element) in _ATOM else ""
    parts: dict[str, list[Element]] = {}
    for child in element:
        prefix = "" if namespace(child) == own else _PREFIXES.get(namespace(child))
        if prefix is not None:
            parts.setdefault(prefix + local_name(child), []).append(child)
    return parts


def _text(parts: Parts, names: Sequence[str]) -> str | None:
    """Return the first text that is none of white space only, folded."""
    texts = (" ".join("".join(map(str, part.itertext())).split()) for name in names for part in parts.get(name, ()))
    return next(filter(None, texts), None)


def _title(parts: Parts) -> str | None:
    text = _text(parts, _TITLE)
    return document.plain(" ".join(paragraphs_of_text(text))) if text else None


def _paragraphs(parts: Parts, names: Sequence[str]) -> tuple[str, ...]:
    """Return the first body that has text: markup in elements, or escaped, or plain text."""
    bodies = (_lines(part) for name in names for part in parts.get(name, ()))
    return next(filter(None, bodies), ())


def _lines(part: Element) -> tuple[str, ...]:
    if len(part):
        return paragraphs_of_tree(plain_names(part))
    lines = paragraphs_of_text(part.text or "")
    return tuple(line for one in lines if (line := document.plain(one)))


def _authors(parts: Parts) -> Iterator[str | None]:
    for creator in parts.get("dc:creator", ()):
        yield _text({"": [creator]}, [""])
    for author in parts.get("author", ()):
        name = _text(_parts(author), ("name",)) if len(author) else _text({"": [author]}, [""])
        yield _without_address(name or "")


def _without_address(text: str) -> str | None:
    """Return the name of RSS' ``name@host (Name)``; an address alone is none."""
    address, _, name = text.partition("(")
    if "@" not in address:
        return text
    return name.rstrip(") ") or None


def _language(element: Element, parts: Parts, about: Parts) -> str | None:
    """Return the entry's language, else the feed's."""
    marked = (one.get(_XML_LANG) for one in (element, *element.iterancestors()))
    stated = (_text(parts, _LANGUAGE), next(filter(None, marked), None), _text(about, _LANGUAGE))
    return next((tag for text in stated if (tag := document.language_tag(text))), None)


def _link(entry: Element, parts: Parts, base: str | None) -> str | None:
    """Return where the entry's article is, absolute."""
    base = normal_url(entry.base, base) if entry.base else base
    links = (document.absolute(text, base) for text in _links(entry, parts))
    return next(filter(None, links), None)


def _links(entry: Element, parts: Parts) -> Iterator[str | None]:
    for link in parts.get("link", ()):
        if link.get("rel", "alternate") == "alternate":
            yield link.get("href") or _text({"": [link]}, [""])
    for guid in parts.get("guid", ()):
        text = _text({"": [guid]}, [""]) or ""
        if guid.get("isPermaLink", "true") == "true" and "://" in text:
            yield text
    yield entry.get(_ABOUT_RDF)
