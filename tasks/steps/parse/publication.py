"""What the publication that a page belongs to is called: its name is no part of a title, and no author."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

from tasks.steps.canonical import host_of
from tasks.steps.site import registered_label
from tasks.steps.values import dataclass

_LONG_ENOUGH: Final = 4  # letters of a name that stands inside of a longer one
_LONGEST: Final = 50  # characters of a name
_LONGEST_TITLE: Final = 500
_MARK: Final = r"\s*[|｜_]\s*|\s*::\s*|(?<=[\u2e80-\u9fff])[-–—－](?=[\u2e80-\u9fff])|\s+[–—•·~»«:-]\s+|\s*[»«]\s+"
_DIVIDERS: Final = re.compile(_MARK)
_COLON: Final = re.compile(r"\s*:\s+")
_AT_THE_END: Final = re.compile(rf"(?:{_MARK}|\s*:\s+)$")


@dataclass(frozen=True, slots=True)
class Publication:
    """The names that a page gives it, and the one that its host has, as ``key`` writes them."""

    names: frozenset[str]
    host: str

    def is_named(self, text: str) -> bool:
        """Tell whether a text is the name and nothing else."""
        return bool(plain := key(text)) and (plain in self.names or plain == self.host)

    def is_behind(self, author: str) -> bool:
        """Tell whether an author is the publication itself, as "The Quay" and "The Quay staff" are."""
        words = author.split()
        return self.is_named(author) or any(key(" ".join(words[:count])) in self.names for count in range(len(words)))

    def _is_end(self, text: str) -> bool:
        """Tell whether an end of a title is the name, if only by the host."""
        short, long = sorted((key(text), self.host), key=len)
        by_host = len(short) >= _LONG_ENOUGH and len(short) * 2 >= len(long) and short in long
        return by_host or self.is_named(text)

    def without_name(self, title: str) -> str:
        """Return a title without the name at its end, else at its beginning."""
        if len(title) > _LONGEST_TITLE:
            return title
        bare = title
        while (found := _last(_DIVIDERS, bare)) and self._is_end(bare[found.end() :]):
            bare = bare[: found.start()]
        if bare == title:
            first = _DIVIDERS.search(title)
            colon = _COLON.search(title)
            if first and self._is_end(title[: first.start()]):
                bare = title[first.end() :]
            elif colon and self.is_named(title[: colon.start()]):
                bare = title[colon.end() :]
        return bare.strip() or title


def publication(names: Iterable[str | None], url: str | None) -> Publication:
    """Return what is known of it by the names that a page states and by its address."""
    host = host_of(url) if url else None
    plain = frozenset(filter(None, (key(name) for name in names if name and len(name) <= _LONGEST)))
    return Publication(plain, key(registered_label(host)) if host else "")


def key(text: str) -> str:
    """Return the letters and digits of a text, without case, accents and a leading "the"."""
    apart = unicodedata.normalize("NFKD", text.casefold().replace("ı", "i")).removeprefix("the ")
    return "".join(filter(str.isalnum, apart))


def divided(title: str) -> bool:
    """Tell whether there is a mark in a title that may stand before the name of a site."""
    return _DIVIDERS.search(title) is not None


def is_part_of(part: str, title: str) -> bool:
    """Tell whether a text is what stands between marks in a title; behind the last one only what is longer than before.

    What is shorter there may be the name of the site.
    """
    at = title.find(part)
    if at < 0 or part == title:
        return False
    before, behind = title[:at], title[at + len(part) :]
    if not behind and len(before) >= len(part):
        return False
    return (not before or _AT_THE_END.search(before) is not None) and (not behind or bool(_DIVIDERS.match(behind)))


def site_in(title: str | None, headings: Iterable[str]) -> str | None:
    """Return what a page's title element has beside its heading, at the other end."""
    found = next((one for one in headings if title and is_part_of(one, title)), None)
    if found is None or title is None:
        return None
    before, _, behind = title.partition(found)
    parts = [part for one in _DIVIDERS.split(behind or before) if (part := one.strip(" :"))]
    return parts[-1 if behind else 0] if parts else None


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    found = None
    for found in pattern.finditer(text):  # noqa: B007 (the last one counts)
        pass
    return found
