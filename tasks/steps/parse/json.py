"""An article as a JSON document: JSON-LD, or one of the shapes of common content systems."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from tasks.errors import Malformed, Truncated
from tasks.steps.page import ParsedPage, Payload, SourceProfile
from tasks.steps.parse import document
from tasks.steps.parse.charset import ascii_compatible, decoder
from tasks.steps.parse.dates import any_date, published
from tasks.steps.related import related_of_list

VERSION: Final = 3

_ENDS_EARLY: Final = "unexpected end of data"  # orjson's words; a test cuts a document at every byte


def parse_json(payload: Payload, profile: SourceProfile) -> ParsedPage:
    """Read a JSON article. Raises ``Truncated``, ``Malformed`` naming what is wrong or missing, ``Undecodable``."""
    body = ascii_compatible(payload.body)
    if not body.strip():
        raise Truncated("the payload is empty")
    decode = decoder(body, payload.content_type)
    loaded = _load(decode(body))
    obj = document.resolved(_article(loaded), document.objects(loaded))
    language = document.language(obj)
    published_raw, published_at = _published(obj, profile, language)
    return ParsedPage(
        parser="json",
        parser_version=VERSION,
        title=document.title(obj),
        published_at=published_at,
        published_raw=published_raw,
        paragraphs=document.paragraphs(obj),
        language=language,
        authors=document.authors(obj),
        related=related_of_list(document.related_list(obj)),
        canonical_url=document.url(obj, payload.url),
        modified_at=published(document.modified(obj), profile, language),
        section=document.section(obj),
        tags=document.tags(obj),
        image=document.image(obj, payload.url),
        repaired=decode.repaired,
    )


def _load(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if str(error).startswith(_ENDS_EARLY):
            raise Truncated(f"the JSON document ends early: {error}") from error
        raise Malformed(f"not JSON: {error}") from error


def _published(obj: document.Obj, profile: SourceProfile, language: str | None) -> tuple[str | None, datetime | None]:
    """Return the date as written and as a moment; WordPress gives it in UTC, too, without saying so in the text."""
    in_utc = obj.get("date_gmt")
    if isinstance(in_utc, str) and (moment := any_date(in_utc, UTC)) is not None:
        return in_utc, moment
    raw = document.published(obj)
    return raw, published(raw, profile, language)


def _article(loaded: Any) -> document.Obj:
    """Return the one object that is the article: by its type, else because it alone, of the outermost, has a body."""
    typed = [obj for obj in document.objects(loaded) if document.is_article(obj) and document.paragraphs(obj)]
    bodied = typed or next(filter(None, map(_bodied, document.layers(loaded))), [])
    if not bodied:
        raise Malformed("the JSON document has no body text (articleBody, body, content, text or paragraphs)")
    if len(bodied) > 1 and (not typed or isinstance(loaded, list)):
        raise Malformed(f"the JSON document holds {len(bodied)} articles, a payload is one page")
    return bodied[0]


def _bodied(layer: Sequence[document.Obj]) -> list[document.Obj]:
    return [obj for obj in layer if document.paragraphs(obj)]
