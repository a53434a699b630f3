"""The workload: pages like a news crawl's in the vardump form, made from a seed; some 4.5 KB with 14 related items.

A page is a function of the seed, its number and its version, so that a repeat or a revision of any earlier page can be
made anew: a million pages take no memory. Times of fetching rise by a second a page, and thus what a store must hold
in the end does not depend on the order in which pages are handled.
"""

from __future__ import annotations

import random
from array import array
from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import accumulate
from typing import Final

from tasks.steps.page import Payload

SOURCE: Final = "bench"
ITEM_URL: Final = "https://news.bench.example/item/{id}"  # nothing is fetched: the workers measured only ingest
FIRST_ITEM: Final = 1_000_000
POOL: Final = 5_000_000  # items that a page may name
RELATED: Final = 14  # of one page
SEED: Final = 4

# Shares of what is not fresh, out of 100.
REPEATS: Final = 20  # an earlier page, byte by byte
REVISIONS: Final = 5  # an earlier item with another text
NEAR: Final = 5  # another item with nearly an earlier text
BROKEN: Final = 1  # a dump that was cut

_BEGAN: Final = datetime(2024, 1, 1, tzinfo=UTC)
_PUBLISHED: Final = datetime(2023, 6, 1, 6, tzinfo=UTC)
_TICKS: Final = 638_000_000_000_000_000  # .NET's, in September 2022
# Item n of the pool is named with a probability that falls as n**-1.2; where this runs beyond the pool it begins anew,
# which gives the long tail.
_TAIL: Final = -1 / 0.2
_PHRASES: Final = 1 << 15
_PHRASES_OF_A_PAGE: Final = 48
_PHRASES_OF_A_PARAGRAPH: Final = 6
_TITLES: Final = 1 << 13
_HASH: Final = 2_654_435_761  # Knuth's multiplier, which spreads neighbours

_ONSETS: Final[tuple[str, ...]] = (*"bcdfghjklmnprstvw", "br", "ch", "cl", "dr", "gr", "pl", "sh", "st", "tr")
_VOWELS: Final[tuple[str, ...]] = (*"aaeeiou", "ai", "ea", "ou")
_CODAS: Final[tuple[str, ...]] = ("", "", "", "", *"lmnnrrst", "nd", "rt", "st")
_SYLLABLES: Final = (1, 2, 1, 2, 3)
_LINKS: Final = ("the", "of", "to", "and", "in", "that", "it", "for", "was", "on", "with", "by", "as", "at", "has")
_SERVICES: Final = ("Morning Ledger", "Coastal Wire", "Tribune", "Northern Post")
_TAGS: Final = ("", "", "", "", "", "PHOTOS: ", "VDO: ", "URGENT: ")


@dataclass(frozen=True, slots=True)
class _Words:
    """What texts are put together from."""

    phrases: tuple[str, ...] = field(repr=False)
    titles: tuple[str, ...] = field(repr=False)


@dataclass(slots=True)
class _Crawl:
    """What was made so far. Numbers are those of the pages that brought an item first."""

    articles: array[int] = field(default_factory=lambda: array("L"))  # whole pages, in order
    versions: dict[int, int] = field(default_factory=dict)  # number → how often it was revised
    originals: dict[int, int] = field(default_factory=dict)  # number → the number whose text it nearly has


def pages(count: int, seed: int = SEED) -> Iterator[Payload]:
    """Yield ``count`` payloads; the first ones of a longer workload are those of a shorter one."""
    rng = random.Random(seed)
    crawl = _Crawl()
    for number in range(count):
        item, body = _next(rng, crawl, seed, number)
        identity = str(FIRST_ITEM + item)
        yield Payload(
            source=SOURCE,
            body=body,
            item=identity,
            url=ITEM_URL.replace("{id}", identity),
            fetched_at=_BEGAN + timedelta(seconds=number),
        )


def _next(rng: random.Random, crawl: _Crawl, seed: int, number: int) -> tuple[int, bytes]:
    """Return the item, by its number, and the body of the next page."""
    drawn = rng.random() * 100
    if drawn < BROKEN:
        body = _body(seed, number)
        return number, body[: -rng.randrange(2, 2000)]
    drawn -= BROKEN
    if drawn < REPEATS + REVISIONS and crawl.articles:
        item = rng.choice(crawl.articles)
        if drawn < REVISIONS:
            crawl.versions[item] = crawl.versions.get(item, 0) + 1
        return item, _body(seed, item, crawl.originals.get(item), crawl.versions.get(item, 0))
    drawn -= REPEATS + REVISIONS
    if 0 <= drawn < NEAR and crawl.articles:
        near = rng.choice(crawl.articles)
        crawl.originals[number] = crawl.originals.get(near, near)
    crawl.articles.append(number)
    return number, _body(seed, number, crawl.originals.get(number))


def _body(seed: int, number: int, original: int | None = None, version: int = 0) -> bytes:
    """Write a page: its own one, or one with nearly the text of ``original``; a version of it."""
    rng = random.Random(_mixed(seed, number if original is None else original, 0))
    paragraphs = _paragraphs(rng)
    rng.seed(_mixed(seed, number, version + 1))
    words = _words()
    if original is not None:
        paragraphs[0] += f" Report {number} follows."
    if version:
        at = rng.randrange(len(paragraphs))
        paragraphs[at] = f"Correction {version}: {rng.choice(words.phrases)}. {paragraphs[at]}"
    paragraphs[-1] = f"{paragraphs[-1]}, {_SERVICES[number % len(_SERVICES)]} reported."
    published = _PUBLISHED + timedelta(seconds=17 * number)
    text = "\n".join(paragraphs)
    block = _related(rng, number, version, words).encode()
    head = f"{published:%a %b %d, %Y %H:%M:%S}\n{text}\nB/W {100 + number % 800}-{number % 90}\n"
    return head.encode() + b'string(%d) "%s"' % (len(block), block)


def _paragraphs(rng: random.Random) -> list[str]:
    """Return paragraphs of some 1,500 characters in all; of two sentences one is quoted, as news are."""
    phrases = rng.choices(_words().phrases, k=_PHRASES_OF_A_PAGE)
    made = []
    for at in range(0, _PHRASES_OF_A_PAGE, _PHRASES_OF_A_PARAGRAPH):
        first, second = " ".join(phrases[at : at + 3]), ", ".join(phrases[at + 3 : at + 6])
        made.append(f"{first.capitalize()}. “{second.capitalize()}.”")
    made[-1] = made[-1][:-2]
    return made


def _related(rng: random.Random, number: int, version: int, words: _Words) -> str:
    """Return the JSON array of related items, which counts on from page to page."""
    chance = rng.random
    named: dict[int, None] = {}
    while len(named) < RELATED:
        one = int((1.0 - chance()) ** _TAIL) % POOL
        if one != number:
            named[one] = None
    sort = 3_000_000 + number * RELATED + version
    titles = words.titles
    return (
        "["
        + " ,".join(
            f'{{"id":"{FIRST_ITEM + one}","sort":"{sort + at}","contenttypeid":"21",'
            f'"pic":"/2022/09/{1 + one % 28:02d}/site_{_TICKS + one * 1_234_567_891}_25f_4x3.'
            f'{"mp4" if one % 9 == 0 else "jpg"}","title":"{titles[one * _HASH % _TITLES]}"}}'
            for at, one in enumerate(named)
        )
        + " ]"
    )


def _mixed(seed: int, number: int, salt: int) -> int:
    return (seed << 56) ^ (number << 16) ^ salt


@cache
def _words() -> _Words:
    """Make the vocabulary, always the same: 4,096 words of which, as in a language, few are used most."""
    rng = random.Random(0)

    def syllable() -> str:
        return rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS)

    made = dict.fromkeys("".join(syllable() for _ in range(_SYLLABLES[at % 5])) for at in range(6000))
    words = [*_LINKS, *list(made)[: 4096 - len(_LINKS)]]
    weights = list(accumulate(1 / (at + 2) ** 1.1 for at in range(len(words))))

    def phrase(length: int) -> str:
        return " ".join(words[bisect(weights, rng.random() * weights[-1])] for _ in range(length))

    return _Words(
        phrases=tuple(phrase(rng.randrange(3, 8)) for _ in range(_PHRASES)),
        titles=tuple(rng.choice(_TAGS) + phrase(rng.randrange(10, 18)).title() for _ in range(_TITLES)),
    )
