"""An article as a JSON document: JSON-LD, or one of the shapes of common content systems."""

from __future__ import annotations

from typing import Any, Final

import orjson

from tasks.errors import Malformed, Truncated
from tasks.steps.page import ParsedPage, Payload, SourceProfile
from tasks.steps.parse import document
from tasks.steps.parse.charset import ascii_compatible, decoder
from tasks.steps.parse.dates import published
from tasks.steps.parse.related import related_of_list

VERSION: Final = 2

_ENDS_EARLY: Final = "unexpected end of data"  # orjson's words; a test cuts a document at every byte


def parse_json(payload: Payload, profile: SourceProfile) -> ParsedPage:
    """Read a JSON article. Raises ``Truncated``, ``Malformed`` naming what is wrong or missing, ``Undecodable``."""
    body = ascii_compatible(payload.body)
    if not body.strip():
        raise Truncated("the payload is empty")
    decode = decoder(body, payload.content_type)
    obj = _article(_load(decode(body)))
    published_raw = document.published(obj)
    return ParsedPage(
        parser="json",
        parser_version=VERSION,
        title=document.title(obj),
        published_at=published(published_raw, profile),
        published_raw=published_raw,
        paragraphs=document.paragraphs(obj),
        language=document.language(obj),
        authors=document.authors(obj),
        related=related_of_list(document.related_list(obj)),
        canonical_url=document.url(obj, payload.url),
        repaired=decode.repaired,
    )


def _load(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if str(error).startswith(_ENDS_EARLY):
            raise Truncated(f"the JSON document ends early: {error}") from error
        raise Malformed(f"not JSON: {error}") from error


def _article(loaded: Any) -> document.Obj:
    """Return the one object that is the article: by its type, else because it alone has a body."""
    bodied = [obj for obj in document.objects(loaded) if document.paragraphs(obj)]
    articles = [obj for obj in bodied if document.is_article(obj)] or bodied
    if not articles:
        raise Malformed("the JSON document has no body text (articleBody, body, content, text or paragraphs)")
    if len(articles) > 1 and isinstance(loaded, list):
        raise Malformed(f"the JSON document holds {len(articles)} articles, a payload is one page")
    return articles[0]
