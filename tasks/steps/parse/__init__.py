"""From a payload to what a parser understands of it. One parser per format; this is the seam around them all."""

from __future__ import annotations

from dataclasses import fields, replace
from traceback import clear_frames
from typing import Any, Final

from tasks.errors import MemoryLimit, ParserCrash, Permanent, TimeLimit, Truncated, UnknownFormat
from tasks.steps.lists import named_by, start_of
from tasks.steps.page import ParsedPage, Payload, Related, SourceProfile
from tasks.steps.parse import feed, html, json, links, sitemap, vardump
from tasks.steps.parse.parsers import INTERFACE, PARSER_VERSIONS, PARSERS, Parser, add_parser
from tasks.steps.parse.sniff import by_content, by_content_type
from tasks.steps.related import RelatedItems

__all__ = ["INTERFACE", "PARSERS", "PARSER_VERSIONS", "Parser", "add_parser", "choose", "parse"]

# Raise a version with every change that may mend a failure.
_BUILT_IN: Final = (
    Parser(name="vardump", version=vardump.VERSION, interface=INTERFACE, parse=vardump.parse_vardump),
    Parser(name="json", version=json.VERSION, interface=INTERFACE, parse=json.parse_json),
    Parser(name="feed", version=feed.VERSION, interface=INTERFACE, parse=feed.parse_feed),
    Parser(name="sitemap", version=sitemap.VERSION, interface=INTERFACE, parse=sitemap.parse_sitemap),
    Parser(name="links", version=links.VERSION, interface=INTERFACE, parse=links.parse_links),
    Parser(name="html", version=html.VERSION, interface=INTERFACE, parse=html.parse_html),
)
for _one in _BUILT_IN:
    add_parser(_one)
# Celery raises it inside whatever runs; it is known by name because the steps do not import Celery.
_SOFT_LIMIT: Final = "SoftTimeLimitExceeded"


def parse(payload: Payload, profile: SourceProfile) -> ParsedPage:
    """Understand a payload by the source's parser, else by its content type, else by its first bytes.

    Raises ``Truncated``, ``Malformed``, ``UnknownFormat``, ``TooLarge``, ``Undecodable``, ``MemoryLimit``,
    ``TimeLimit``, ``ParserCrash`` (with the parser's own error as its cause), and nothing else. The error's ``details``
    name the ``parser``, where one was chosen. Blocks for as long as native parsers take on a page within their caps.
    """
    name: str | None = None
    try:
        name = choose(payload, profile)
        page = _signed(PARSERS[name].parse(payload, profile), PARSERS[name])
        return _without_nul(page) if _may_hold_nul(payload.body) or PARSERS[name] not in _BUILT_IN else page
    except Permanent as error:
        if name is not None:
            error.details.setdefault("parser", name)
        raise
    except (MemoryError, RecursionError) as error:
        clear_frames(error.__traceback__)  # lets go of what the parser held, so that there is memory to go on with
        raise MemoryLimit(_told(error), parser=name) from error
    except Exception as error:
        kind = TimeLimit if type(error).__name__ == _SOFT_LIMIT else ParserCrash
        raise kind(_told(error), parser=name) from error


def choose(payload: Payload, profile: SourceProfile) -> str:
    """Return the name of the parser for a payload; raises ``UnknownFormat``, ``Truncated`` where it is empty.

    A start URL's page is read as a list, and so is a sitemap that one names, whatever the source's pages are.
    A date line outweighs a content type: PHP sends its dumps as ``text/html``. So does a feed's first tag, as in
    browsers (https://mimesniff.spec.whatwg.org/#sniffing-a-mislabeled-feed).
    """
    of_list = _of_list(payload, profile) if profile.start else None
    if of_list is not None:
        return of_list
    if profile.parser is not None:
        if profile.parser not in PARSERS:
            raise UnknownFormat(f"the profile names an unknown parser {profile.parser!r}")
        return profile.parser
    if not payload.body.strip():
        raise Truncated("the payload is empty")
    sniffed = by_content(payload.body)
    stated = by_content_type(payload.content_type)
    name = sniffed if sniffed in ("vardump", "feed", "sitemap") or stated is None else stated
    if name is None:
        raise UnknownFormat("no parser recognises the payload")
    return name


def _of_list(payload: Payload, profile: SourceProfile) -> str | None:
    start = start_of(payload.url, profile) if payload.item is None else None
    if start is not None and start.parser is not None:
        return start.parser
    if start is None and named_by(payload.parent, profile) is None:
        return None
    sniffed = by_content(payload.body)
    if sniffed == "sitemap":
        return sniffed
    if start is None:
        return None
    if sniffed == "feed":
        return sniffed
    return "links" if "html" in (sniffed, by_content_type(payload.content_type)) else None


def _signed(page: ParsedPage, parser: Parser) -> ParsedPage:
    """Return the page under the name and version of its parser, whatever a plug-in wrote there."""
    if not isinstance(page, ParsedPage):
        raise TypeError(f"the parser returned {type(page).__name__}, not a ParsedPage")
    if (page.parser, page.parser_version) == (parser.name, parser.version):
        return page
    return replace(page, parser=parser.name, parser_version=parser.version)


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:500]


def _may_hold_nul(body: bytes) -> bool:
    """Tell cheaply whether NUL may stand in the text: as a byte, as JSON's escape, as a character reference."""
    return b"\0" in body or (b"\\" in body and b"\\u0000" in body) or (b"&" in body and b"&#" in body)


def _without_nul(page: ParsedPage) -> ParsedPage:
    """Replace NUL, which PostgreSQL cannot store, by U+FFFD, as HTML does; texts of other kinds become plain ones."""
    return replace(page, **{one.name: _clean(getattr(page, one.name)) for one in fields(page)})


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, tuple):
        return tuple(map(_clean, value))
    if isinstance(value, Related | RelatedItems):
        return replace(value, **{one.name: _clean(getattr(value, one.name)) for one in fields(value)})
    return value
