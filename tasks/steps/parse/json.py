"""An article as a JSON document: JSON-LD, or one of the shapes of common content systems."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import orjson

from tasks.errors import Malformed, Truncated
from tasks.steps.page import ParsedPage, Payload, SourceProfile
from tasks.steps.parse import document
from tasks.steps.parse.charset import ascii_compatible, decoder
from tasks.steps.parse.dates import any_date, published
from tasks.steps.parse.places import NOTHING, Found, add_problems, in_document
from tasks.steps.related import related_of_list

VERSION: Final = 3

T = TypeVar("T")

_ENDS_EARLY: Final = "unexpected end of data"  # orjson's words; a test cuts a document at every byte


def parse_json(payload: Payload, profile: SourceProfile) -> ParsedPage:
    """Read a JSON article. Raises ``Truncated``, ``Malformed`` naming what is wrong or missing, ``Undecodable``."""
    return read(payload, profile)[0]


def read(payload: Payload, profile: SourceProfile) -> tuple[ParsedPage, document.Obj, Found]:
    """Read an article as ``parse_json`` does; return with it what it was made of, to tell where a field is from."""
    body = ascii_compatible(payload.body)
    if not body.strip():
        raise Truncated("the payload is empty")
    decode = decoder(body, payload.content_type)
    loaded = _load(decode(body))
    found = in_document(loaded, profile, payload.base) if profile.json else NOTHING
    obj = document.resolved(_article_beside(found, loaded), document.objects(loaded))

    def said(reader: Callable[[document.Obj], T]) -> T:
        return reader(found.obj) or reader(obj)

    language = said(document.language)
    published_raw, published_at = _published(found.obj, obj, profile, language)
    page = ParsedPage(
        parser="json",
        parser_version=VERSION,
        title=said(document.title),
        published_at=published_at,
        published_raw=published_raw,
        paragraphs=found.body.paragraphs if found.body else document.paragraphs(obj),
        wire_service=found.text("wire_service"),
        desk_code=found.text("desk_code"),
        language=language,
        authors=said(document.authors),
        related=found.related or related_of_list(document.related_list(obj)),
        canonical_url=said(lambda obj: document.url(obj, payload.base)),
        modified_at=published(said(document.modified), profile, language),
        section=said(document.section),
        tags=said(document.tags),
        image=said(lambda obj: document.image(obj, payload.base)),
        tier=found.body.tier if found.body else None,
        repaired=decode.repaired,
    )
    return page, obj, found


def _load(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if str(error).startswith(_ENDS_EARLY):
            raise Truncated(f"the JSON document ends early: {error}") from error
        raise Malformed(f"not JSON: {error}") from error


def _published(
    placed: document.Obj, obj: document.Obj, profile: SourceProfile, language: str | None
) -> tuple[str | None, datetime | None]:
    """Return the date as written and as a moment; WordPress gives it in UTC, too, without saying so in the text."""
    in_utc = obj.get("date_gmt")
    raw = document.published(placed)
    if raw is None and isinstance(in_utc, str) and (moment := any_date(in_utc, UTC)) is not None:
        return in_utc, moment
    raw = raw or document.published(obj)
    return raw, published(raw, profile, language)


def _article_beside(found: Found, loaded: Any) -> document.Obj:
    """Return the article, or an empty object where the profile's places have the text and there is no article."""
    try:
        return _article(loaded)
    except Malformed as error:
        if found.body is not None:
            return {}
        add_problems(error, found)
        raise


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
