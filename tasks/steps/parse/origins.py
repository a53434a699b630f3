"""What each field of a page came from, in words, for who writes a source's profile.

The page is read a second time for it, so that nothing of this costs the flow anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import timedelta, timezone
from typing import Any, Final

from tasks.steps.page import ParsedPage, Payload, SourceProfile
from tasks.steps.parse import document, feed, html, json
from tasks.steps.parse.dates import any_date, zone_of
from tasks.steps.parse.metadata import Metadata, Parts, meta_name
from tasks.steps.parse.places import Found

# How a page was read, not what it says.
ABOUT: Final = ("parser", "parser_version", "tier", "repaired", "published_raw")
_READERS: Final[Mapping[str, Callable[[document.Obj], Any]]] = {
    "title": document.title,
    "published_at": document.published,
    "modified_at": document.modified,
    "authors": document.authors,
    "language": document.language,
    "section": document.section,
    "tags": document.tags,
}
_TIERS: Final = {
    "structured": "text that the page's structured data confirms",
    "fast": "text that two fast extractors agree on",
    "careful": "Trafilatura, since nothing confirms the fast extractor",
}
_SHOWN: Final = "shown on the page"
_SHOWN_FIELDS: Final = ("published_at", "authors")
_VARDUMP: Final = {
    "published_at": "line 1", "paragraphs": "the lines after the date", "wire_service": "end of the last paragraph",
    "desk_code": "the line before the dump", "related": "the dump",
}  # fmt: skip
_ELSEWHERE: Final = timezone(timedelta(hours=13, minutes=37))  # nobody's


@dataclass(frozen=True, slots=True)
class Origins:
    """The origins by field, and what the profile named in vain."""

    fields: Mapping[str, str]
    problems: tuple[str, ...]


def origins_of(page: ParsedPage, payload: Payload, profile: SourceProfile) -> Origins:
    """Return what the fields of a page came from that was parsed of this payload, with this profile."""
    said, found = _said(page, payload, profile)
    filled = [one.name for one in fields(page) if one.name not in ABOUT and getattr(page, one.name)]
    origins = {
        name: (found.places if found else {}).get(name) or said.get(name, f"parser {page.parser}") for name in filled
    }
    problems = [*(found.problems if found else ()), *_unread(page, profile)]
    if page.published_at is not None and (note := _of_profile(page, profile)):
        origins["published_at"] += f"; {note}"
    return Origins(origins, tuple(problems))


def _said(page: ParsedPage, payload: Payload, profile: SourceProfile) -> tuple[Mapping[str, str], Found | None]:
    """Return what the page's own words for its fields are, and what was found at the profile's places."""
    if page.parser == "html":
        _, parts, meta, found = html.read(payload, profile)
        return _of_html(page, parts, meta), found
    if page.parser == "json":
        _, article, found = json.read(payload, profile)
        return _of_json(page, article, payload.base), found
    if page.parser == "feed":
        return {name: f"<{tag}>" for name, tag in feed.tags_of(payload).items()}, None
    return (_VARDUMP if page.parser == "vardump" else {}), None


def _of_html(page: ParsedPage, parts: Parts, meta: Metadata) -> dict[str, str]:
    said = {name: _first(page, parts, meta, name) for name in _html_readers(meta)}
    said["image"] = said["image"] or "<link rel=image_src>"
    if page.language in {one.get("lang") for one in parts["html"]}:
        said["language"] = "<html lang>"
    canonical = any("canonical" in (one.get("rel") or "").lower().split() for one in parts["link"])
    return {
        **{name: words for name, words in said.items() if words},
        "canonical_url": "<link rel=canonical>" if canonical else "og:url",
        "paragraphs": _TIERS.get(page.tier or "", ""),
        "outlinks": "links of the text",
        "related": "links or a dump of related items",
    }


def _first(page: ParsedPage, parts: Parts, meta: Metadata, name: str) -> str:
    """Return what the first syntax calls a field that has it as the page was read; else where the page shows it."""
    read, final = _html_readers(meta)[name], page.published_raw if name == "published_at" else getattr(page, name)
    for syntax, obj in meta.sources.items():
        if (key := _key(obj, read)) and (name == "modified_at" or _holds(read(obj), final)):
            return meta_name(parts, syntax, key) or f"{syntax} {key}"
    if name == "title":
        headings = {" ".join(one.text_content().split()) for one in parts["h1"]}
        return "<h1>" if page.title in headings else "<title>"
    return _SHOWN if name in _SHOWN_FIELDS else ""


def _html_readers(meta: Metadata) -> Mapping[str, Callable[[document.Obj], Any]]:
    return {**_READERS, "image": lambda obj: document.image(obj, meta.base)}


def _holds(said: Any, final: Any) -> bool:
    """Tell whether a syntax says what the page was read to say; of authors, a publication may have been left out."""
    return said == final or (isinstance(said, tuple) and isinstance(final, tuple) and set(final) <= set(said))


def _of_json(page: ParsedPage, article: document.Obj, base: str | None) -> dict[str, str]:
    readers = {
        **_READERS,
        "image": lambda obj: document.image(obj, base),
        "canonical_url": lambda obj: document.url(obj, base),
        "paragraphs": document.paragraphs,
        "related": document.related_list,
    }
    said = {name: f"JSON {key}" for name, read in readers.items() if (key := _key(article, read))}
    if article.get("date_gmt") == page.published_raw is not None:
        said["published_at"] = "JSON date_gmt"
    return said


def _key(obj: document.Obj, read: Callable[[document.Obj], Any]) -> str | None:
    """Return the key of an object that a reader takes its field from."""
    found = read(obj)
    return next((key for key in obj if read({key: obj[key]}) == found), None) if found else None


def _unread(page: ParsedPage, profile: SourceProfile) -> Iterable[str]:
    """Yield what is wrong with a date that is written on the page and was not read."""
    if page.published_raw is None or page.published_at is not None:
        return
    either = any(any_date(page.published_raw, zone_of(profile.timezone), order) for order in ("dmy", "mdy"))
    why = "may be read in two ways: the profile's date_order says which" if either else "is no date that penstock reads"
    yield f"published_at: {page.published_raw!r} {why}"


def _of_profile(page: ParsedPage, profile: SourceProfile) -> str:
    """Say what of the date is the profile's."""
    zone, raw = zone_of(profile.timezone), page.published_raw or ""
    if any_date(raw, zone, profile.date_order) != page.published_at:
        return ""
    order = f"date_order {profile.date_order}" if any_date(raw, zone) is None else ""
    ours = any_date(raw, _ELSEWHERE, profile.date_order) != page.published_at
    return " and ".join(filter(None, [order, f"timezone {profile.timezone} of the profile" if ours else ""]))
