"""An article as an HTML page: structured data first, then the page itself, over one tree."""

from __future__ import annotations

import re
from typing import Final

import lxml.html
from lxml import etree

from tasks.errors import Permanent, Truncated
from tasks.steps.page import ParsedPage, Payload, SourceProfile
from tasks.steps.parse import document
from tasks.steps.parse.body import Body, article_body
from tasks.steps.parse.charset import ascii_compatible, decoder, in_utf8
from tasks.steps.parse.dump import Dump, find_dump
from tasks.steps.parse.markup import MAX_BYTES, tree_of
from tasks.steps.parse.metadata import (
    Metadata,
    Parts,
    base_of,
    language_of,
    metadata_of,
    outlinks,
    parts_of,
    related_links,
)
from tasks.steps.parse.places import NOTHING, Found, add_problems, in_page, text_of_page
from tasks.steps.related import related_of_dump

VERSION: Final = 3

# A dump that leaked into a page: only one that begins as a list of items does, so that an article about PHP is text.
_LEAKED: Final = re.compile(rb"string\(([0-9]+)\)( \")(?=\s*\[\s*\{\s*\"id\")")
_OPENED: Final = re.compile(rb"<html[\s>]", re.IGNORECASE)
_END: Final = 1000  # bytes, where nearly every page closes <html>
_CLOSED: Final = re.compile(rb"</html\s*>", re.IGNORECASE)


def parse_html(payload: Payload, profile: SourceProfile) -> ParsedPage:
    """Read an HTML page. Raises ``Truncated``, ``Malformed``, ``TooLarge`` above the caps, ``Undecodable``."""
    return read(payload, profile)[0]


def read(payload: Payload, profile: SourceProfile) -> tuple[ParsedPage, Parts, Metadata, Found]:
    """Read a page as ``parse_html`` does; return with it what it was made of, to tell where a field is from."""
    raw = ascii_compatible(payload.body)
    decode = decoder(raw[: MAX_BYTES + 1], payload.content_type, meta=True)
    dump = find_dump(raw, _LEAKED, at_line_start=False)
    page = in_utf8(_without(raw, dump), decode)
    _require_end(page)
    tree = tree_of(page)
    parts = parts_of(tree)
    found = in_page(tree, profile, base_of(parts, payload.base), language_of(parts)) if profile.html else NOTHING
    meta = metadata_of(tree, page, parts, payload.base, profile, placed=found.obj)
    related = found.related or (related_links(parts) if dump is None else related_of_dump(decode(dump.content)))
    body = _body(tree, page, meta.article, profile, found)
    parsed = ParsedPage(
        parser="html",
        parser_version=VERSION,
        title=meta.title,
        published_at=meta.published_at,
        published_raw=meta.published,
        paragraphs=_untitled(body.paragraphs, meta.title),
        wire_service=found.text("wire_service"),
        desk_code=found.text("desk_code"),
        language=meta.language,
        authors=meta.authors,
        related=related,
        canonical_url=meta.canonical_url,
        modified_at=meta.modified_at,
        section=meta.section,
        tags=meta.tags,
        image=meta.image,
        outlinks=outlinks(found.links or body.links, meta),
        tier=body.tier,
        repaired=decode.repaired,
    )
    return parsed, parts, meta, found


def _body(
    tree: lxml.html.HtmlElement, page: bytes, article: document.Obj, profile: SourceProfile, found: Found
) -> Body:
    """Return the body where the profile says, else as the page tells it, without what the profile removes."""
    if profile.html and text_of_page(tree, profile, found):
        page = etree.tostring(tree, encoding="utf-8", method="html")
    try:
        return found.body or article_body(tree, page, article)
    except Permanent as error:
        add_problems(error, found)
        raise


def _untitled(paragraphs: tuple[str, ...], title: str | None) -> tuple[str, ...]:
    """Return the paragraphs without a first one that repeats the title, unless it is all there is."""
    return paragraphs[1:] if len(paragraphs) > 1 and paragraphs[0] == title else paragraphs


def _without(body: bytes, dump: Dump | None) -> bytes:
    return body if dump is None else body[: dump.start] + body[dump.end :]


def _require_end(page: bytes) -> None:
    if not page.strip():
        raise Truncated("the payload is empty")
    if _OPENED.search(page) and not (_CLOSED.search(page, max(0, len(page) - _END)) or _CLOSED.search(page)):
        raise Truncated("the page opens <html> and never closes it")
    if b"<" in page and page.rfind(b"<") > page.rfind(b">"):
        raise Truncated("the page ends inside a tag")
