"""The title of an article, as its reader sees it: one that the page states or shows, without the name of the site.

What is stated is believed in its order, but for four cases: it is the site's name; it is cut off, and a heading goes
on; or the heading and the title element are another one, both the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeAlias

from tasks.steps.parse.publication import Publication, divided, is_part_of, key

Deeper: TypeAlias = Callable[[], Sequence[str]]  # lists have many headings, and few titles need them

_CUT: Final = ("…", "...")
_LIMIT: Final = 100  # characters, beyond which headlines are cut off: Google once read 110
_PLAIN: Final = 15  # characters; a shorter heading of one word may be a section's


def title_of(
    stated: Sequence[str], headings: tuple[Sequence[str], Deeper], element: str | None, site: Publication
) -> str | None:
    """Choose the title.

    ``stated`` are those of structured data and meta elements, the best first; ``headings`` the texts of h1 elements,
    and a way to those of h2 and h3; ``element`` is the text of the title element.
    """
    first = [text for text in headings[0] if not site.is_named(text)]
    for one in stated:
        bare = _bare(one, first, site)
        if not site.is_named(bare):
            return _agreed(bare, first, element) or _whole(bare, (*first, *stated))
    return _shown(first, headings[1], element, site)


def _bare(title: str, headings: Sequence[str], site: Publication) -> str:
    """Return a title without what a heading shows to be none of it, or what is known to be the site's name."""
    if any(key(one) == key(title) for one in headings):
        return title
    ends = [one for one in headings if is_part_of(one, title)]
    return max(ends, key=len) if ends else site.without_name(title)


def _agreed(title: str, headings: Sequence[str], element: str | None) -> str | None:
    """Return the heading that the title element begins with, where what is stated is another title than both."""
    if element is None or key(title) in key(element):
        return None
    return next((one for one in headings if element.startswith(one) and _tells(one)), None)


def _tells(heading: str) -> bool:
    """Tell whether a heading is more than the name of a section."""
    return " " in heading or len(heading) >= _PLAIN


def _whole(title: str, longer: Iterable[str]) -> str:
    """Return the text that goes on where a title was cut off, else the title."""
    ending = next((mark for mark in _CUT if title.endswith(mark)), "")
    start = title.removesuffix(ending).rstrip()
    for one in longer:
        rest = one.removeprefix(start)
        if rest in {"", one, ending} or is_part_of(start, one):
            continue
        if ending or len(start) >= _LIMIT or rest[0].isalnum():
            return one
    return title


def _shown(first: Sequence[str], deeper: Deeper, element: str | None, site: Publication) -> str | None:
    """Return the heading that the title element has, too, else the only h1, else what the title element has alone."""
    if element is not None:
        same = [one for one in (*first, *deeper()) if one == element or is_part_of(one, element)]
        same = [one for one in same if not site.is_named(one)]
        if same:
            return max(same, key=len)
    if len(first) == 1 and (element is None or (_tells(first[0]) and not element.endswith(first[0]))):
        return first[0]
    if element is None:
        return None
    bare = site.without_name(element)
    return None if divided(bare) or site.is_named(bare) else bare
