"""Related items: from decoded JSON objects to ``Related`` values.

What a value says beyond ID, title and path is read out of these three when it is asked for: most pages are stored
without anybody asking.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any, Final, overload

import orjson

from tasks.errors import Malformed
from tasks.steps.page import MediaKind, Related
from tasks.steps.values import dataclass

_TAG: Final = r"(?:PHOTOS?|VIDEOS?|VDO|URGENT)"
_TAGS: Final = re.compile(rf"\s*({_TAG}(?:\s*[:/&+,|]\s*{_TAG})*)\s*:", re.IGNORECASE)
_TITLES: Final = ("title", "headline")
_PICS: Final = ("pic", "media_path", "image", "thumbnail")
_WORD: Final = re.compile(r"[A-Za-z]+")
_KINDS: Final[Mapping[str, MediaKind]] = {
    **dict.fromkeys(("jpg", "jpeg", "png", "gif", "webp", "bmp", "svg", "avif", "tif", "tiff"), "image"),
    **dict.fromkeys(("mp4", "webm", "mov", "avi", "flv", "m4v", "mkv", "mpg", "mpeg", "3gp", "wmv", "m3u8"), "video"),
}
Row = tuple[str, str | None, str | None]  # ID, title, path
_ID, _TITLE, _PIC = itemgetter("id"), itemgetter("title"), itemgetter("pic")
_TEXT: Final = {str}

# .NET ticks: 100 ns since 0001-01-01 (https://learn.microsoft.com/dotnet/api/system.datetime.ticks), in a file name.
_TICKS: Final = re.compile(r"[0-9]{18,}")
_DIGITS_OF_TICKS: Final = 18
_EPOCH: Final = datetime(1, 1, 1, tzinfo=UTC)
_TICKS_FROM: Final = 627_667_488_000_000_000  # 1990-01-01: pictures on news sites are younger
_TICKS_TO: Final = 662_380_416_000_000_000  # 2100-01-01


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class RelatedItems(Sequence[Related]):
    """The related items of a page, in its order, each as its ID, title and path: the ``Related`` are made when read."""

    ids: tuple[str, ...]
    titles: tuple[str | None, ...]
    paths: tuple[str | None, ...]

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.ids)

    @overload
    def __getitem__(self, at: int) -> Related: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[Related, ...]: ...
    def __getitem__(self, at: int | slice) -> Related | tuple[Related, ...]:
        """Return one, or a tuple of some."""
        if isinstance(at, slice):
            return tuple(self)[at]
        return related(self.ids[at], self.titles[at], self.paths[at])

    def __iter__(self) -> Iterator[Related]:
        """Make each."""
        return map(related, self.ids, self.titles, self.paths)

    def __add__(self, other: Iterable[Related]) -> tuple[Related, ...]:
        """Return a tuple of these and others: parsers of before made tuples, and plug-ins add to them."""
        return (*self, *other)

    def __radd__(self, other: Iterable[Related]) -> tuple[Related, ...]:
        """Return a tuple of others and these."""
        return (*other, *self)

    def __eq__(self, other: object) -> bool:
        """Tell whether the other one has equal items, in whatever kind of sequence."""
        if isinstance(other, RelatedItems):
            return (self.ids, self.titles, self.paths) == (other.ids, other.titles, other.paths)
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        """Return the hash of the tuple that it equals."""
        return hash(tuple(self))

    def __repr__(self) -> str:
        """Return the number of items: their texts are the page's."""
        return f"<{len(self)} related items>"


def ids_of(items: Sequence[Related]) -> Sequence[str]:
    """Return the IDs, in order."""
    return items.ids if isinstance(items, RelatedItems) else [one.id for one in items]


def related_of_dump(text: bytes | str) -> Sequence[Related]:
    """Read the JSON array of a dump; an empty string is no items. Raises ``Malformed`` naming what is wrong."""
    if not text:
        return ()
    try:
        items = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Malformed(f"the dump is not JSON: {error}") from error
    if not isinstance(items, list):
        raise Malformed("the dump is not a JSON array")
    return _usual(items) or listed([_of_dump(number, item) for number, item in enumerate(items, start=1)])


def _usual(items: list[Any]) -> RelatedItems | None:
    """Read a list in which every item has its three texts, as nearly all have; None where one has not."""
    try:
        ids, titles, paths = tuple(map(_ID, items)), tuple(map(_TITLE, items)), tuple(map(_PIC, items))
    except (KeyError, TypeError):
        return None
    texts = (*ids, *titles, *paths)
    return RelatedItems(ids, titles, paths) if all(texts) and {*map(type, texts)} == _TEXT else None


def listed(rows: Collection[Row]) -> Sequence[Related]:
    """Return items, given as ID, title and path each."""
    return RelatedItems(*zip(*rows, strict=True)) if rows else ()


def related_of_list(items: Iterable[Any]) -> Sequence[Related]:
    """Read a document's list of objects or bare IDs; entries that name no ID lead nowhere and are left out."""
    return listed([row for item in items if (row := _of_any(item)) is not None])


def related(item: str, title: str | None, pic: str | None) -> Related:
    """Build one entry; its tags, media kind and upload time are read out of title and path."""
    return Related(
        id=item,
        title=title or None,
        tags=tags_of(title) if title and ":" in title else (),
        media_kind=media_kind(pic) if pic else None,
        media_path=pic or None,
        uploaded_at=uploaded_at(pic) if pic else None,
    )


def tags_of(title: str) -> tuple[str, ...]:
    """Return the tags that a title begins with, upper case: ``PHOTOS``, ``VDO``, ``VIDEO``, ``URGENT``."""
    found = _TAGS.match(title)
    if found is None:
        return ()
    words = found[1]
    if words.isascii() and words.isalpha():  # one word, as nearly always
        return (words.upper(),)
    return tuple([word.upper() for word in _WORD.findall(words)])


def media_kind(path: str) -> MediaKind | None:
    """Return the kind of file by its extension."""
    name = path.partition("?")[0].rpartition("/")[2]
    return _KINDS.get(name.rpartition(".")[2].lower()) if "." in name else None


def uploaded_at(path: str) -> datetime | None:
    """Return the time in a file name's .NET ticks, taken as UTC; None where there is none that makes sense."""
    found = _TICKS.search(path, path.rfind("/") + 1)
    if found is None or len(digits := found[0]) != _DIGITS_OF_TICKS:
        return None
    ticks = int(digits)
    return _EPOCH + timedelta(0, 0, ticks // 10) if _TICKS_FROM <= ticks < _TICKS_TO else None


def _of_dump(number: int, item: Any) -> Row:
    if not isinstance(item, dict):
        raise Malformed(f"item {number} of the dump is not an object")
    identity, title, pic = item.get("id"), item.get("title"), item.get("pic")
    if not isinstance(identity, str) or not identity:
        identity = _identity(identity)
    if identity is None:
        raise Malformed(f"item {number} of the dump has no id")
    if not (title is None or isinstance(title, str)) or not (pic is None or isinstance(pic, str)):
        raise Malformed(f"title or pic of item {number} of the dump is not text")
    return identity, title or None, pic or None


def _of_any(item: Any) -> Row | None:
    if not isinstance(item, dict):
        bare = _identity(item)
        return None if bare is None else (bare, None, None)
    identity = next((found for key in ("id", "item_id", "itemId") if (found := _identity(item.get(key)))), None)
    if identity is None:
        return None
    return identity, _first_text(item, _TITLES), _first_text(item, _PICS)


def _identity(value: Any) -> str | None:
    if isinstance(value, str):
        return value or None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _first_text(item: Mapping[str, Any], keys: Iterable[str]) -> str | None:
    return next((value for key in keys if isinstance(value := item.get(key), str) and value), None)
