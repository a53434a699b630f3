"""Fields where a source's profile says that they stand: by CSS selectors in HTML, by JMESPath in JSON.

What is found becomes an object with schema.org's names, so that the readers of ``document`` treat it as they treat all
else that pages say. What a reader cannot use, as a date that is none, counts as not found.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, TypeVar

import jmespath
import lxml.html
import re2
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions

from tasks.errors import Permanent
from tasks.steps.canonical import canonical_url
from tasks.steps.page import Place, Related, SourceProfile
from tasks.steps.parse import document
from tasks.steps.parse.body import Body
from tasks.steps.parse.dates import published
from tasks.steps.parse.markup import drop, folded, paragraphs_of_tree
from tasks.steps.parse.selectors import select
from tasks.steps.related import Row, listed, related_of_list

Element: TypeAlias = lxml.html.HtmlElement
T = TypeVar("T")

# Our name of a field, schema.org's, and its reader; the reader's second argument is what links are relative to.
_SAID: Final[Mapping[str, tuple[str, Callable[[document.Obj, str | None], Any]]]] = {
    "language": ("inLanguage", lambda obj, _: document.language(obj)),  # first, as dates are read by it
    "title": ("headline", lambda obj, _: document.title(obj)),
    "published_at": ("datePublished", lambda obj, _: document.published(obj)),
    "modified_at": ("dateModified", lambda obj, _: document.modified(obj)),
    "authors": ("author", lambda obj, _: document.authors(obj)),
    "section": ("articleSection", lambda obj, _: document.section(obj)),
    "tags": ("keywords", lambda obj, _: document.tags(obj)),
    "image": ("image", document.image),
    "canonical_url": ("url", document.url),
    "wire_service": ("wire_service", lambda obj, _: document.plain(obj["wire_service"])),
    "desk_code": ("desk_code", lambda obj, _: document.plain(obj["desk_code"])),
}
_REMOVE: Final = "remove"
_DATES: Final = ("published_at", "modified_at")
# Attributes that outweigh an element's text, by field; of the other fields it is the one that meta elements have.
_ATTRIBUTES: Final[Mapping[str, Sequence[str]]] = {
    **dict.fromkeys(_DATES, ("datetime", "content")),
    **dict.fromkeys(("image", "canonical_url", "outlinks"), ("href", "src", "content")),
    "related": ("data-item-id", "data-id", "href"),
}
_USUAL: Final = ("content",)
_PATTERN_CHARS: Final = 10_000  # of a value, that a pattern is looked for in
_MAX_RELATED: Final = 1000
_SHOWN: Final = 60  # characters of a value that is told
_MEMO: Final = 4096  # paths and patterns


@dataclass(slots=True)
class Found:
    """What stands where a profile says; and, for people, where each field stood and what was not found."""

    obj: dict[str, Any] = field(default_factory=dict, repr=False)  # under schema.org's names
    body: Body | None = None
    links: tuple[str, ...] = field(default=(), repr=False)
    related: Sequence[Related] = field(default=(), repr=False)
    places: dict[str, str] = field(default_factory=dict)  # by field
    problems: list[str] = field(default_factory=list)

    def text(self, name: str) -> str | None:
        """Return a field that is a line of text."""
        return document.plain(self.obj.get(name))


NOTHING: Final = Found()


def in_page(tree: Element, profile: SourceProfile, base: str | None, language: str | None) -> Found:
    """Read the fields of an HTML page, but for its text.

    ``base`` is what its links are relative to, ``language`` the one that it is in by its own words.
    """
    reading = _Reading("selector", profile.html, functools.partial(select, tree), language=language)
    for name in _SAID:
        reading.say(name, functools.partial(_texts, name), profile, base)
    found = reading.found
    found.related = reading.first("related", functools.partial(_related, base)) or ()
    found.links = reading.first("outlinks", _links) or ()
    return found


def text_of_page(tree: Element, profile: SourceProfile, found: Found) -> bool:
    """Cut what the profile removes out of the tree, then read the text; tell whether anything was cut."""
    reading = _Reading("selector", profile.html, functools.partial(select, tree), found)
    cut = [reading.first(_REMOVE, _cut, [place]) for place in profile.html.get(_REMOVE, ())]
    found.body = reading.first("paragraphs", _body)
    return any(cut)


def in_document(loaded: Any, profile: SourceProfile, base: str | None) -> Found:
    """Read the fields of a JSON document; ``base`` is what its links are relative to."""
    language = next(filter(None, map(document.language, document.objects(loaded))), None)
    reading = _Reading("path", profile.json, lambda path: compiled_path(path).search(loaded), language=language)
    for name in _SAID:
        reading.say(name, _values, profile, base)
    found = reading.found
    found.related = reading.first("related", _items) or ()
    lines = reading.first("paragraphs", _lines)
    found.body = Body(lines, "profile", ()) if lines else None
    return found


def add_problems(error: Permanent, found: Found) -> None:
    """Add to the message of a page without text what the profile said in vain."""
    error.message = "; ".join([error.message, *found.problems])


class _Reading:
    """One page that is read: its profile's places, how they are looked up, and what has been found so far."""

    def __init__(
        self,
        kind: str,
        places: Mapping[str, Sequence[Place]],
        look_up: Callable[[str], Any],
        found: Found | None = None,
        *,
        language: str | None = None,
    ) -> None:
        self.found = found or Found()
        self._language = language
        self._kind = kind
        self._places = places
        self._look_up = look_up

    def first(self, name: str, use: Callable[[Place, Any], T], places: Sequence[Place] | None = None) -> T | None:
        """Return what ``use`` makes of what stands at the first place where it makes anything of it."""
        why = []
        for place in self._places.get(name, ()) if places is None else places:
            words = _words(self._kind, place)
            try:
                there = self._look_up(place.select)
                used = use(place, there) if there else None
            except JMESPathError as error:
                why.append(f"{words} fails: {first_line(error)}")
                continue
            if used:
                self.found.places[name] = words
                return used
            why.append(f"{words} finds {_useless(name, there) if there else 'nothing'}")
        if why:
            self.found.problems.append(f"{name}: {'; '.join(why)}")
        return None

    def say(self, name: str, values: Callable[[Place, Any], Any], profile: SourceProfile, base: str | None) -> None:
        """Note a field under schema.org's name, where its reader can use it."""
        key, read = _SAID[name]

        def use(place: Place, there: Any) -> Any:
            value = values(place, there)
            if name in _DATES:
                texts = map(document.plain, value if isinstance(value, list) else [value])
                language = document.language(self.found.obj) or self._language
                return next((text for text in texts if published(text, profile, language)), None)
            return value if value and read({key: value}, base) else None

        used = self.first(name, use)
        if used is not None:
            self.found.obj[key] = used


def _words(kind: str, place: Place) -> str:
    attribute = f", attribute {place.attribute}" if place.attribute else ""
    pattern = f", pattern {place.pattern}" if place.pattern else ""
    return f"{kind} {place.select}{attribute}{pattern}"


def _useless(name: str, there: Any) -> str:
    value = _text(there[0]) if isinstance(there, list) and hasattr(there[0], "text_content") else there
    text = value if isinstance(value, str) else str(value)
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    return f"{shown!r}, which is {'no date' if name in _DATES else f'of no use as {name}'}"


# --- HTML -------------------------------------------------------------------------------------------------------


def _texts(name: str, place: Place, there: Sequence[Element]) -> list[str] | str:
    """Return what elements say, in lines; of a single one the text, since commas divide what is no list."""
    found = [text for element in there for text in _matched(place, [_said(name, place, element)])]
    return found[0] if len(found) == 1 else found


def _said(name: str, place: Place, element: Element) -> str:
    names = [place.attribute] if place.attribute else _ATTRIBUTES.get(name, _USUAL)
    stated = next((value for one in names if (value := element.get(one))), None)
    return stated or ("" if place.attribute else _text(element))


def _text(element: Element) -> str:
    return " ".join(element.text_content().split())


def _body(place: Place, there: Sequence[Element]) -> Body | None:
    """Return the text of elements; of an element inside of another one it is the other's."""
    every = set(there)
    outer = [one for one in there if not any(element in every for element in one.iterancestors())]
    if place.attribute:
        lines = folded(one.get(place.attribute) or "" for one in outer)
    else:
        lines = tuple(line for one in outer for line in paragraphs_of_tree(one))
    paragraphs = tuple(_matched(place, lines))
    links = tuple(href for one in outer for link in one.iter("a") if (href := link.get("href")))
    return Body(paragraphs, "profile", links) if paragraphs else None


def _links(place: Place, there: Sequence[Element]) -> tuple[str, ...]:
    found = _texts("outlinks", place, there)
    return (found,) if isinstance(found, str) else tuple(found)


def _related(base: str | None, place: Place, there: Sequence[Element]) -> Sequence[Related]:
    """Return related items: each with its ID, its text for a title, and its picture."""
    found: dict[str, Row] = {}
    for element in there[:_MAX_RELATED]:
        for item in _matched(place, [_said("related", place, element)]):
            picture = next((src for one in element.iter("img") if (src := one.get("src"))), None)
            identity = item if place.pattern else _address(item, base)
            found.setdefault(identity, (identity, _text(element) or None, element.get("data-pic") or picture))
    return listed(found.values())


def _address(item: str, base: str | None) -> str:
    """Return an item's address in the form that names a page; an ID as it is."""
    if "/" not in item:
        return item
    url = document.absolute(item, base)
    return (canonical_url(url) if url else None) or item


def _cut(_: Place, there: Sequence[Element]) -> Sequence[Element]:
    cut = [one for one in there if one.getparent() is not None]
    if cut:
        drop(cut[0].getroottree().getroot(), cut)
    return cut


# --- JSON -------------------------------------------------------------------------------------------------------


def _values(place: Place, there: Any) -> Any:
    """Return what stands in a document; with a pattern, what that finds in its texts."""
    if not place.pattern:
        return there
    texts = (document.plain(one) or "" for one in (there if isinstance(there, list) else [there]))
    found = list(_matched(place, texts))
    return found[0] if len(found) == 1 else found


def _lines(place: Place, there: Any) -> tuple[str, ...]:
    return tuple(_matched(place, document.paragraphs({"articleBody": there})))


def _items(place: Place, there: Any) -> Sequence[Related]:
    value = _values(place, there)
    return related_of_list(value if isinstance(value, list) else [value])


# --- patterns and paths -----------------------------------------------------------------------------------------


def _matched(place: Place, texts: Iterable[str]) -> Iterator[str]:
    """Yield the texts, or what the place's pattern finds in them; none where that is nothing."""
    for text in texts:
        if place.pattern:
            match = compiled_pattern(place.pattern).search(text[:_PATTERN_CHARS])
            text = match[1] or "" if match else ""  # noqa: PLW2901 (what is left of it)
        if text := text.strip():
            yield text


@functools.lru_cache(maxsize=_MEMO)
def compiled_pattern(pattern: str) -> Any:
    """Return a regular expression of RE2; raises ``ValueError`` telling what is wrong.

    Its time grows with the text, whatever the pattern: with others a page could make it grow without end.
    """
    options = re2.Options()
    options.log_errors = False  # it would do so on standard error
    try:
        found = re2.compile(pattern, options)
    except re2.error as error:
        raise ValueError(f"{pattern!r} is not a pattern: {error.args[0].decode(errors='replace')}") from error
    if found.groups != 1:
        raise ValueError(f"{pattern!r} must have one group in parentheses, around what is the value")
    return found


@functools.lru_cache(maxsize=_MEMO)
def compiled_path(path: str) -> Any:
    """Return a JMESPath expression; raises ``ValueError`` telling what is wrong."""
    try:
        found = jmespath.compile(path)
    except JMESPathError as error:
        raise ValueError(f"{path!r} is not a path: {first_line(error)}") from error
    for name in _functions(found.parsed):  # which it would tell only when it gets there
        if name not in Functions.FUNCTION_TABLE:
            raise ValueError(f"{path!r} is not a path: there is no function {name}()")
    return found


def _functions(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if node["type"] == "function_expression":
            yield node["value"]
        for child in node["children"]:
            yield from _functions(child)


def first_line(error: JMESPathError) -> str:
    """Return the sentence of an error, without the drawing of where that is."""
    return str(error).partition("\n")[0].rstrip(":").removesuffix(", for expression")
