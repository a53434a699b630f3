"""Sitemaps and their indexes (https://www.sitemaps.org/protocol.html), with the news extension, gzipped or not.

A sitemap is a page of its own, whose related items are the pages that it lists, those that changed last first: where a
source's bounds cut the list, they cut what is old.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Sequence
from typing import Final

from tasks.errors import Malformed, TooLarge, Truncated
from tasks.steps.canonical import canonical_url, normal_url
from tasks.steps.page import ParsedPage, Payload, SourceProfile
from tasks.steps.parse.charset import ascii_compatible, decoder
from tasks.steps.parse.dates import published
from tasks.steps.parse.xml import Element, local_name, tree_of_xml
from tasks.steps.related import Row, listed

VERSION: Final = 1
GZIP: Final = b"\x1f\x8b\x08"
ROOTS: Final = {"urlset": "url", "sitemapindex": "sitemap"}  # and what their entries are called

_MAX_BYTES: Final = 16 * 1024 * 1024
_MAX_TAGS: Final = 1_000_000  # 50,000 entries, the protocol's bound, of five elements with their ends
_MAX_ENTRIES: Final = 50_000
_DATES: Final = ("publication_date", "lastmod")


def parse_sitemap(payload: Payload, profile: SourceProfile) -> ParsedPage:
    """Read a sitemap. Raises ``Truncated``, ``Malformed``, ``TooLarge`` above the caps, ``Undecodable``."""
    body = ascii_compatible(_unzipped(payload.body))
    if not body.strip():
        raise Truncated("the payload is empty")
    decode = decoder(body, payload.content_type, meta=False)
    root = tree_of_xml(decode(body), most_bytes=_MAX_BYTES, most_tags=_MAX_TAGS)
    name = local_name(root)
    if name not in ROOTS:
        raise Malformed(f"<{name}> is no sitemap: its root is {' or '.join(f'<{one}>' for one in ROOTS)}")
    found = sorted(_entries(root, ROOTS[name], payload.base, profile), key=lambda one: one[0], reverse=True)
    rows = list({row[0]: row for _, row in found}.values())
    title = f"{'Sitemap index' if name == 'sitemapindex' else 'Sitemap'} of {payload.url or payload.source}"
    return ParsedPage(
        parser="sitemap",
        parser_version=VERSION,
        title=title,
        paragraphs=(title, _contents(rows)),
        related=listed(rows),
        repaired=decode.repaired,
    )


def _contents(rows: Sequence[Row]) -> str:
    """Say what is listed in so few words that they can be kept of each day, and that change when the list does."""
    digest = hashlib.sha256("\n".join(sorted(row[0] for row in rows)).encode(errors="replace")).hexdigest()
    return f"{len(rows)} URLs, sha256 {digest}"


def _entries(root: Element, name: str, base: str | None, profile: SourceProfile) -> Iterator[tuple[float, Row]]:
    """Yield the entries that lead to an http(s) URL, each with when it changed: 0 where it does not say."""
    seen = 0
    for entry in root:
        if local_name(entry) != name:
            continue
        seen += 1
        if seen > _MAX_ENTRIES:
            return
        parts = {local_name(part): (part.text or "").strip() for part in entry.iter() if part.text}
        url = normal_url(parts["loc"], base) if parts.get("loc") else None
        target = canonical_url(url) if url else None
        if target is not None:
            yield _changed(parts, profile), (target, parts.get("title") or None, None)


def _changed(parts: dict[str, str], profile: SourceProfile) -> float:
    moments = (published(parts.get(one), profile) for one in _DATES)
    return max((one.timestamp() for one in moments if one is not None), default=0.0)


def _unzipped(body: bytes) -> bytes:
    if not body.startswith(GZIP):
        return body
    inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        plain = inflate.decompress(body, _MAX_BYTES + 1)
    except zlib.error as error:
        raise Malformed(f"the gzip stream is broken: {error}") from error
    if len(plain) > _MAX_BYTES:
        raise TooLarge(f"the sitemap has more than {_MAX_BYTES} bytes unpacked")
    if not inflate.eof:
        raise Truncated("the gzip stream ends early")
    return plain
