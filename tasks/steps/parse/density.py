"""The article of a page by where its prose is dense: our own, fast extractor, and two checks of it.

By elements, after Arc90's Readability (https://github.com/mozilla/readability): paragraphs vote for what holds them.
Here those of one parent vote together, each with the length of all, so that one article outweighs many teasers of the
same size in sum. By order, after Pasternack and Roth, Extracting article text from the web with maximum subsequence
segmentation (WWW 2009): the run of blocks with the greatest sum, where prose counts for and all else against it. That
checks it; so does an election that nobody else comes near to winning.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import field
from operator import itemgetter
from typing import Final

from tasks.steps.parse.blocks import Block, Element, Outline, is_doubtful, outline
from tasks.steps.values import dataclass

CONFIRMED: Final = 0.9  # of ours that another answer must hold to confirm it
NOT_MISSED: Final = 2 / 3  # of the other answer that ours must hold; the rest are captions, teasers and bylines

_SHARE: Final = 0.8  # of the votes that an element needs so that we look for the article inside of it
_DOUBTFUL_SHARE: Final = 0.4  # of the prose: an element with more is the article, whatever its class is
_AT_THE_EDGE: Final = frozenset({"blockquote", "h2", "h3", "h4", "li", "p", "td"})
_LABEL: Final = 40  # characters; text of a <div> that is shorter and no sentence
_ENDS: Final = re.compile('[.!?…。！？؟।:;"”’»)\\]]$')  # noqa: RUF001 (of several scripts)
_RIVAL: Final = 0.25  # of the article's prose: who has no more does not contest it
_AGAINST: Final = 400  # characters of prose that a block of anything else weighs up


@dataclass(frozen=True, slots=True)
class Dense:
    """An article, and whether the order of the blocks alone leads to the same, or no other element contests it."""

    paragraphs: tuple[str, ...] = field(repr=False)
    links: tuple[str, ...] = field(repr=False)  # addresses as the article has them; of the page, where there is none
    confirmed: bool


def dense_text(body: Element) -> Dense:
    """Return the article of a page's body; no paragraphs where none of its text is prose."""
    page = outline(body)
    little, none = _named(page)
    kept = page.without(number for number, element in little if is_doubtful(element))
    start, end = _place(kept)
    inside = [(number, element) for number, element in none if start <= number < end]
    kept = kept.without(number for number, element in inside if is_doubtful(element))
    article = _cut([block for block in kept.blocks if start <= block.element < end])
    return Dense(
        tuple(line for block in article if _is_text(block) for line in block.lines),
        tuple(link for element, link in kept.links if start <= element < end),
        confirmed=_confirms(_densest_run(page.blocks), article) or _uncontested(page.blocks, article),
    )


def _named(page: Outline) -> tuple[list[tuple[int, Element]], list[tuple[int, Element]]]:
    """Return which elements with little of the page's prose, and which with none, their names may speak against.

    The names of those with none count only inside of the article. An element with much is it, whatever its name.
    """
    sums = page.sums(block.prose for block in page.blocks)
    most = _DOUBTFUL_SHARE * sums[-1]
    held = [(sums[page.ends[number]] - sums[number], number, element) for number, element in page.named]
    little = [(number, element) for prose, number, element in held if 0 < prose <= most]
    return little, [(number, element) for prose, number, element in held if not prose]


def _place(page: Outline) -> tuple[int, int]:
    """Return the innermost element that holds most of the votes, as its number and where its blocks end."""
    sums = page.sums(_votes(page.blocks))
    found, inner = 0, 1 if sums[-1] else page.ends[0]
    while inner < page.ends[found]:
        held = sums[page.ends[inner]] - sums[inner]
        if held >= _SHARE * (sums[page.ends[found]] - sums[found]):
            found, inner = inner, inner + 1
        else:
            inner = page.ends[inner]
    return found, page.ends[found]


def _votes(blocks: Sequence[Block]) -> list[int]:
    together = _prose_by_voter(blocks)
    return [block.prose * together[_voter(block)] for block in blocks]


def _prose_by_voter(blocks: Iterable[Block]) -> dict[int, int]:
    prose: dict[int, int] = {}
    for block in blocks:
        voter = _voter(block)
        prose[voter] = prose.get(voter, 0) + block.prose
    return prose


def _voter(block: Block) -> int:
    """Return whose paragraph the block is: its parent's, but text right inside of a <div> is the <div>'s."""
    return block.element if block.tag == "div" else block.parent


def _cut(blocks: Sequence[Block]) -> Sequence[Block]:
    """Cut off what stands before and after the prose, but not what shares an element with it."""
    dense = [at for at, block in enumerate(blocks) if block.prose]
    if not dense:
        return ()
    first, last = dense[0], dense[-1]
    parents = {blocks[at].parent for at in dense}
    while first and _belongs(blocks[first - 1], parents):
        first -= 1
    while last + 1 < len(blocks) and _belongs(blocks[last + 1], parents):
        last += 1
    return blocks[first : last + 1]


def _belongs(block: Block, parents: Collection[int]) -> bool:
    return block.tag in _AT_THE_EDGE and block.parent in parents and not block.is_links


def _is_text(block: Block) -> bool:
    """Tell whether a block inside of the article is part of its text: lists of links and labels are not."""
    if block.prose or not (block.is_links or block.tag == "div"):
        return True
    return not block.is_links and (block.length >= _LABEL or bool(_ENDS.search(block.lines[-1])))


def _densest_run(blocks: Sequence[Block]) -> Iterator[Block]:
    """Yield the prose of the run with the greatest sum (Kadane's algorithm)."""
    best, total, start, span = 0, 0, 0, slice(0)
    for block in blocks:
        total += block.prose or -(_AGAINST + block.linked)
        if total <= 0:
            total, start = 0, block.at + 1
        elif total > best:
            best, span = total, slice(start, block.at + 1)
    return (block for block in blocks[span] if block.prose)


def _confirms(run: Iterator[Block], article: Sequence[Block]) -> bool:
    ours = {block.at for block in article}
    theirs = list(run)
    both = sum(block.prose for block in theirs if block.at in ours)
    return agree(both, sum(block.prose for block in article), sum(block.prose for block in theirs))


def _uncontested(blocks: Iterable[Block], article: Iterable[Block]) -> bool:
    """Tell whether nearly all of the article are one voter's paragraphs, and no other of the page has many."""
    ours = _prose_by_voter(article)
    voter, most = max(ours.items(), key=itemgetter(1), default=(0, 0))
    rivals = (prose for other, prose in _prose_by_voter(blocks).items() if other != voter)
    return 0 < CONFIRMED * sum(ours.values()) <= most and max(rivals, default=0) <= _RIVAL * most


def agree(both: int, ours: int, theirs: int) -> bool:
    """Tell whether an answer confirms ours, given the sizes of what they share, of ours and of theirs."""
    return 0 < both >= CONFIRMED * ours and both >= NOT_MISSED * theirs
