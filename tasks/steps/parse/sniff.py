"""Which parser a payload needs, when its source's profile does not say."""

from __future__ import annotations

import re
from typing import Final

from tasks.steps.parse.charset import ascii_compatible
from tasks.steps.parse.dates import is_date_line, starts_date_line
from tasks.steps.parse.sitemap import GZIP, ROOTS

_HEAD: Final = 4096  # bytes that are looked at; even, for UTF-16
_BLANK: Final = b" \t\r\n\f"
_HTML: Final = re.compile(
    rb"<(?:!doctype\s+html|html|head|body|meta|title|link|script|article|main|section|header|div|p|h1|span|table)\b",
    re.IGNORECASE,
)
# After a declaration, comments and a document type; atomic, since a comment could else end at any later one's end.
_FEED: Final = re.compile(
    rb"(?:(?><\?.*?\?>)|(?><!--.*?-->)|(?><!DOCTYPE[^>]*>)|\s++)*+<(?:[A-Za-z]+:)?(?:rss|feed|RDF|entry|item)[\s>]",
    re.DOTALL,
)
_SITEMAP: Final = re.compile(
    _FEED.pattern.replace(rb"rss|feed|RDF|entry|item", b"|".join(map(str.encode, ROOTS))), re.DOTALL
)
_LONGEST_DATE_LINE: Final = 240  # bytes


def by_content_type(content_type: str | None) -> str | None:
    """Return the parser that a content type names, or None where it says nothing (as ``text/plain``)."""
    kind = (content_type or "").partition(";")[0].strip().lower()
    if kind in ("text/html", "application/xhtml+xml"):
        return "html"
    if kind in ("application/rss+xml", "application/atom+xml", "application/rdf+xml"):
        return "feed"
    if kind in ("application/json", "text/json") or kind.endswith("+json"):
        return "json"
    return None


def by_content(body: bytes) -> str | None:
    """Return the parser that the first bytes call for, also where they are all that is left of a page."""
    if body.startswith(GZIP):
        return "sitemap"  # all else is unpacked by who fetched it
    head = ascii_compatible(body[:_HEAD], partial=True).lstrip(_BLANK)
    if head[:1] in (b"{", b"["):
        return "json"
    if head[:1] == b"<":
        if _SITEMAP.match(head):
            return "sitemap"
        return "feed" if _FEED.match(head) else "html" if _HTML.search(head) else None
    return "vardump" if is_vardump(head) else None


def is_vardump(head: bytes) -> bool:
    """Tell whether the first line is a date line, or all there is of one."""
    line, newline, _ = head.partition(b"\n")
    text = line[:_LONGEST_DATE_LINE].decode(errors="replace").strip()
    return is_date_line(text) or (not newline and starts_date_line(text))
