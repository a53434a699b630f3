"""An article as an HTML page: structured data first, then the page itself, over one tree."""

from __future__ import annotations

import re
from typing import Final

import lxml.html
import trafilatura

from tasks.errors import Malformed, Truncated
from tasks.steps.page import ParsedPage, Payload, SourceProfile
from tasks.steps.parse.charset import ascii_compatible, decoder
from tasks.steps.parse.dates import published
from tasks.steps.parse.dump import Dump, find_dump
from tasks.steps.parse.markup import MAX_BYTES, folded, paragraphs_of_tree, tree_of
from tasks.steps.parse.metadata import Metadata, metadata_of, related_links
from tasks.steps.parse.related import related_of_dump

VERSION: Final = 2

# A dump that leaked into a page: only one that begins as a list of items does, so that an article about PHP is text.
_LEAKED: Final = re.compile(rb"string\(([0-9]+)\)( \")(?=\s*\[\s*\{\s*\"id\")")
_OPENED: Final = re.compile(r"<html[\s>]", re.IGNORECASE)
_CLOSED: Final = re.compile(r"</html\s*>", re.IGNORECASE)


def parse_html(payload: Payload, profile: SourceProfile) -> ParsedPage:
    """Read an HTML page. Raises ``Truncated``, ``Malformed``, ``TooLarge`` above the caps, ``Undecodable``."""
    body = ascii_compatible(payload.body)
    decode = decoder(body[: MAX_BYTES + 1], payload.content_type, meta=True)
    dump = find_dump(body, _LEAKED, at_line_start=False)
    text = decode(_without(body, dump))
    _require_end(text)
    tree = tree_of(text)
    meta = metadata_of(tree, payload.url)
    related = related_links(tree) if dump is None else related_of_dump(decode(dump.content))
    return ParsedPage(
        parser="html",
        parser_version=VERSION,
        title=meta.title,
        published_at=published(meta.published, profile),
        published_raw=meta.published,
        paragraphs=main_text(tree, meta, text),
        language=meta.language,
        authors=meta.authors,
        related=related,
        canonical_url=meta.canonical_url,
        repaired=decode.repaired,
    )


def main_text(tree: lxml.html.HtmlElement, meta: Metadata, text: str) -> tuple[str, ...]:
    """Return the article's paragraphs: the extractor's, else the structured data's, else every ``<p>`` of the page.

    The extractor changes the tree, so it comes last to it. Raises ``Malformed`` where there is no text,
    ``Truncated`` where the page does not even close an element.
    """
    fallback = tuple(line for element in tree.iter("p") for line in paragraphs_of_tree(element))
    extracted = trafilatura.extract(tree, fast=True, include_comments=False) or ""
    found = folded(extracted.split("\n")) or meta.paragraphs or fallback
    if len(found) > 1 and found[0] == meta.title:
        return found[1:]
    if found:
        return found
    if "</" not in text:
        raise Truncated("the page ends before any text")
    raise Malformed("no text")


def _without(body: bytes, dump: Dump | None) -> bytes:
    return body if dump is None else body[: dump.start] + body[dump.end :]


def _require_end(text: str) -> None:
    if not text.strip():
        raise Truncated("the payload is empty")
    if _OPENED.search(text) and not _CLOSED.search(text):
        raise Truncated("the page opens <html> and never closes it")
    if "<" in text and text.rfind("<") > text.rfind(">"):
        raise Truncated("the page ends inside a tag")
