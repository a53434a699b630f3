"""The sites of a farm: what is on them, what names what, and how each host behaves. All of it follows from a seed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from tests.support.corpus import WORDS

NAMED = 14  # items that a page names
PARAGRAPHS = 6
POOL = 2_000  # paragraphs
TICKS = 637_817_000_000_000_000  # .NET's, in 2022
ROOT = 0
PLACES = 1_000_000  # an item's ID tells its site and its number
PATH = "/news/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Robots:
    """A host's robots.txt."""

    status: int = 200
    digit: str = ""  # items whose ID ends in it are disallowed
    crawl_delay: float = 0.0
    unavailable_seconds: float = 0.0  # so long it answers 500, from when it is asked first

    def text(self) -> str:
        lines = ["User-agent: *", f"Disallow: {PATH}*{self.digit}$" if self.digit else "Disallow:"]
        return "\n".join([*lines, *([f"Crawl-delay: {self.crawl_delay:g}"] if self.crawl_delay else []), ""])


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What a host does for a while, from the moment at which so many pages were asked for."""

    after: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One host, and how a crawler is told to treat it."""

    number: int
    seed: int
    items: int
    first: int = 6  # items that the root names as the only one
    fan: int = 3  # and any other page
    gone_every: int = 0  # each item whose number is a multiple of it answers 404
    delay_seconds: float = 0.0
    concurrency: int = 1
    robots: Robots = Robots()
    busy: Trouble | None = None  # answers 503, with the seconds that are left as Retry-After
    down: Trouble | None = None  # refuses connections

    @property
    def name(self) -> str:
        return f"site-{self.number:02d}"

    @property
    def address(self) -> str:
        return f"127.0.{1 + self.number // 200}.{1 + self.number % 200}"

    @property
    def least_delay(self) -> float:
        """Seconds between two requests."""
        return max(self.delay_seconds, self.robots.crawl_delay)

    def item(self, number: int) -> str:
        return str((self.number + 1) * PLACES + number)

    def allows(self, item: str) -> bool:
        return not self.robots.digit or not item.endswith(self.robots.digit)

    def has(self, item: str) -> bool:
        """Tell whether the item has a page."""
        number = int(item) - (self.number + 1) * PLACES
        is_gone = self.gone_every and number != ROOT and number % self.gone_every == 0
        return 0 <= number < self.items and not is_gone

    def named(self, number: int) -> list[str]:
        """Return what a page names: its own children, so that all is reached, and others of the site, not the root."""
        begin, count = (1, self.first) if number == ROOT else (1 + self.first + (number - 1) * self.fan, self.fan)
        children = range(min(begin, self.items), min(begin + count, self.items))
        rng = random.Random(self.seed * PLACES + number)
        others = (1 + int(rng.random() * (self.items - 1)) for _ in range(max(0, NAMED - len(children))))
        return [self.item(one) for one in dict.fromkeys((*children, *others)) if one != number]

    def page(self, item: str) -> bytes:
        """Write an item's page in the vardump form, some 5 KB."""
        number = int(item) - (self.number + 1) * PLACES
        rng = random.Random(self.seed * PLACES * 7 + int(item))
        pool = _pool(self.seed)
        text = "\n".join(pool[int(rng.random() * POOL)] for _ in range(PARAGRAPHS))
        head = f"Tue Mar {1 + number % 4 * 7:02d}, 2022 08:{number % 60:02d}:00\nReport {item} of {self.name}."
        block = f"[{' ,'.join(map(_entry, self.named(number)))} ]".encode()
        return f"{head}\n{text}\nK/L 104-7\n".encode() + b'string(%d) "%s"' % (len(block), block)


@dataclass(frozen=True, slots=True)
class Reach:
    """What a crawl of a site comes to that begins with its root."""

    pages: frozenset[str]  # the root too
    gone: frozenset[str]
    disallowed: frozenset[str]


def reach(site: Site) -> Reach:
    """Follow a site's pages as far as that is allowed."""
    root = site.item(ROOT)
    if site.robots.status >= 500:
        return Reach(frozenset({root}), frozenset(), frozenset())
    seen, waiting = {root}, [root]
    pages, gone, disallowed = set(), set(), set()
    while waiting:
        item = waiting.pop()
        if not site.allows(item) and item != root:  # that one is given
            disallowed.add(item)
        elif not site.has(item):
            gone.add(item)
        else:
            pages.add(item)
            fresh = [one for one in site.named(int(item) % PLACES) if one not in seen]
            seen.update(fresh)
            waiting += fresh
    return Reach(frozenset(pages), frozenset(gone), frozenset(disallowed))


def plain_sites(count: int, *, seed: int, items: int, delay_seconds: float = 0.0, concurrency: int = 8) -> list[Site]:
    """Return sites whose roots name all that they have, so that all of it is known at once."""
    return [
        Site(number=at, seed=seed, items=items, first=items, delay_seconds=delay_seconds, concurrency=concurrency)
        for at in range(count)
    ]


@cache
def _pool(seed: int) -> Sequence[str]:
    rng = random.Random(seed)
    return [" ".join(_sentences(rng)) for _ in range(POOL)]


def _sentences(rng: random.Random) -> Iterator[str]:
    for _ in range(rng.randrange(3, 6)):
        yield " ".join(rng.choices(WORDS, k=rng.randrange(8, 20))).capitalize() + "."


@cache
def _entry(item: str) -> str:
    title = f"PHOTOS: Report number {item} from the “old” quay"
    pic = f"/2022/02/27/site_{TICKS + int(item) * 10_000_019}_25f_4x3.jpg"
    return f'{{"id":"{item}","sort":"{item}","contenttypeid":"21","pic":"{pic}","title":"{title}"}}'
