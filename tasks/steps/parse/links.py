"""An HTML page as a list of links: a section's front page, an archive's month. It is no article and need not have text.

Its related items are what its links lead to, in the order of the page; which of them are followed is for the source's
hosts and bounds.
"""

from __future__ import annotations

from typing import Final

from tasks.steps.canonical import canonical_url
from tasks.steps.page import ParsedPage, Payload, SourceProfile
from tasks.steps.parse import document
from tasks.steps.parse.charset import ascii_compatible, decoder, in_utf8
from tasks.steps.parse.markup import MAX_BYTES, folded, tree_of
from tasks.steps.parse.metadata import metadata_of, parts_of
from tasks.steps.related import Row, listed

VERSION: Final = 1
_MOST: Final = 2000


def parse_links(payload: Payload, profile: SourceProfile) -> ParsedPage:
    """Read a list page. Raises ``Malformed``, ``TooLarge`` above the caps, ``Undecodable``."""
    raw = ascii_compatible(payload.body)
    decode = decoder(raw[: MAX_BYTES + 1], payload.content_type, meta=True)
    page = in_utf8(raw, decode)
    tree = tree_of(page)
    parts = parts_of(tree)
    meta = metadata_of(tree, page, parts, payload.base, profile)
    own = {canonical_url(one) for one in (payload.url, payload.base) if one}
    rows: dict[str, Row] = {}
    for link in parts["a"]:
        url = document.absolute((link.get("href") or "").strip() or None, meta.base)
        target = canonical_url(url) if url else None
        if target and target not in own:
            text = " ".join(folded([link.text_content()])) or None
            if rows.get(target, ("", None, None))[1] is None:
                rows[target] = (target, text, None)
            if len(rows) == _MOST:
                break
    title = meta.title or f"Links of {payload.url or payload.source}"
    return ParsedPage(
        parser="links",
        parser_version=VERSION,
        title=title,
        paragraphs=(title,),
        language=meta.language,
        related=listed(rows.values()),
        repaired=decode.repaired,
    )
