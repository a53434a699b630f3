"""The demo news site, made from a seed: the articles, who names whom, and what goes wrong where."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final, get_args
from zoneinfo import ZoneInfo

from worker.demo import plants
from worker.demo.formats import TIMEZONE, Article, Format, render
from worker.demo.model import FAILURES, SOURCE, Answer, Kind, Page, Site
from worker.demo.prose import Writer, person
from worker.demo.words import ARABIC, ENGLISH, FRENCH, SPANISH, WIRE_SERVICES

__all__ = ["SOURCE", "Site", "build_site"]

MIN_ARTICLES: Final = 40
START_PAGES: Final = 5
MIN_RELATED, MAX_RELATED = 6, 14
UNREACHABLE: Final = 6

_FORMATS: Final[tuple[Format, ...]] = get_args(Format)
_LANGUAGES: Final = (ENGLISH,) * 9 + (FRENCH, SPANISH, ARABIC)
_TAGS: Final = (None,) * 8 + ("PHOTOS", "VDO", "VIDEO", "URGENT")
_MAX_CHILDREN: Final = 10  # leaves room for names of pages that others have found already
_FIRST_DAY: Final = datetime(2016, 1, 4)  # noqa: DTZ001 (the site writes dates without a zone)
_MINUTES: Final = 60 * 24 * 60  # sixty days; no change of the clock in them


def build_site(seed: int, articles: int = 300) -> Site:
    """Return the site of ``seed`` with ``articles`` ordinary articles and some 30 special ones; always the same one.

    Raises ``ValueError`` for fewer than 40 articles, which could not hold the links to the special ones.
    """
    if articles < MIN_ARTICLES:
        message = f"a demo site has at least {MIN_ARTICLES} articles"
        raise ValueError(message)
    return _Builder(random.Random(seed), articles).site(seed)


class _Builder:
    """The parts of a site while it is made."""

    def __init__(self, rng: random.Random, articles: int) -> None:
        self.rng = rng
        self.titles: set[str] = set()
        self.ids = _ids(rng, articles + UNREACHABLE + len(plants.PLANTED) + len(plants.COPIES))
        self.kinds: dict[str, Kind] = {}
        self.articles: dict[str, Article] = {}
        self.duplicates: list[tuple[str, str]] = []
        self.ordinary = [self.add(Kind.ORDINARY, _FORMATS[n % len(_FORMATS)]).id for n in range(articles)]

    def site(self, seed: int) -> Site:
        """Add what is special, link everything, and write the pages."""
        start = tuple(self.ordinary[:START_PAGES])
        self.copy_some()
        self.edit_some()
        for kind, form in plants.PLANTED:
            self.add(kind, form)
        for number in range(UNREACHABLE):
            self.add(Kind.UNREACHABLE, _FORMATS[number % len(_FORMATS)])
        links = self.links(start)
        pages = {item: self.page(item, links) for item in sorted(self.articles)}
        return Site(seed=seed, pages=pages, start=start, duplicates=tuple(self.duplicates))

    def add(self, kind: Kind, form: Format) -> Article:
        """Write one more article."""
        article = _article(self.rng, next(self.ids), form, self.titles)
        self.articles[article.id], self.kinds[article.id] = article, kind
        return article

    def copy_some(self) -> None:
        """Publish some articles again under another ID, some of them in another format."""
        for form, original in zip(plants.COPIES, self._some(plants.COPIES_OF), strict=True):
            published = self.articles[original].published + timedelta(minutes=self.rng.randint(5, 300))
            copy = replace(self.articles[original], id=next(self.ids), format=form, published=published)
            self.articles[copy.id], self.kinds[copy.id] = copy, Kind.DUPLICATE
            self.duplicates.append((copy.id, original))

    def edit_some(self) -> None:
        """Choose the pages that change when the site is edited."""
        for kind, forms in ((Kind.EDITED, plants.EDITED), (Kind.RESHUFFLED, plants.RESHUFFLED)):
            for item in self._some(forms):
                self.kinds[item] = kind

    def _some(self, forms: Sequence[Format]) -> list[str]:
        """Choose one ordinary page of each format asked for, none twice, no start page."""
        taken = {original for _, original in self.duplicates}
        free = [item for item in self.ordinary[START_PAGES:] if self.kinds[item] is Kind.ORDINARY and item not in taken]
        chosen: list[str] = []
        for form in forms:
            chosen.append(next(item for item in free if self.articles[item].format == form and item not in chosen))
        return chosen

    def links(self, start: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
        """Decide who names whom: a tree from the start pages makes everything reachable, then others are named too.

        Only pages that are new to any crawl carry the tree: what a copy names is not needed to find anything.
        """
        originals = {original for _, original in self.duplicates}
        carriers = list(start)
        children: dict[str, list[str]] = {item: [] for item in self.articles}
        carrying = {Kind.ORDINARY, Kind.EDITED, Kind.RESHUFFLED}
        others = [item for item in self.articles if self.kinds[item] is not Kind.UNREACHABLE and item not in carriers]
        for item in self._shuffled(others):
            parent = self.rng.choice([one for one in carriers if len(children[one]) < _MAX_CHILDREN])
            children[parent].append(item)
            if self.kinds[item] in carrying and item not in originals:
                carriers.append(item)
        popular = self._shuffled([*start, *others])
        return {item: self._list(item, children[item], popular) for item in self.articles}

    def _list(self, item: str, children: Sequence[str], popular: Sequence[str]) -> tuple[str, ...]:
        """Fill up a list of related items; few pages are named by very many."""
        listed = dict.fromkeys(children)
        wanted = max(len(listed), self.rng.randint(MIN_RELATED, MAX_RELATED))
        while len(listed) < wanted:
            other = popular[int(len(popular) * self.rng.random() ** 2)]
            if other != item:
                listed[other] = None
        return tuple(self._shuffled(list(listed)))

    def _shuffled(self, items: Sequence[str]) -> list[str]:
        return self.rng.sample(items, len(items))

    def page(self, item: str, links: Mapping[str, tuple[str, ...]]) -> Page:
        """Write the page with all its answers."""
        article, kind = self.articles[item], self.kinds[item]
        whole = plants.whole(article, self._render(article, links[item]))
        edited_article: Article | None = None
        edited: Answer | None = None
        if kind is Kind.EDITED:
            edited_article = self._edit(article)
            edited = plants.whole(article, self._render(edited_article, links[item]))
        elif kind is Kind.RESHUFFLED:
            edited = plants.whole(article, self._render(article, tuple(reversed(links[item]))[:-1]))
        return Page(
            article=article,
            kind=kind,
            related=() if kind in FAILURES else links[item],
            answers=plants.answers(kind, whole, self.rng),
            edited=edited,
            edited_article=edited_article,
        )

    def _render(self, article: Article, related: Sequence[str]) -> bytes:
        return render(article, [self.articles[item] for item in related], self.rng.randint(3_000_000, 3_900_000))

    def _edit(self, article: Article) -> Article:
        """Give the article another second paragraph."""
        language = next(one for one in _LANGUAGES if one.code == article.language)
        (paragraph,) = Writer(self.rng, language).paragraphs(1)
        first, _, *rest = article.paragraphs
        return replace(article, paragraphs=(first, paragraph, *rest))


def _ids(rng: random.Random, count: int) -> Iterator[str]:
    """Yield ``count`` different numeric IDs in no order."""
    numbers = [2_400_000 + place * 17 + rng.randint(0, 16) for place in range(count)]
    rng.shuffle(numbers)
    return map(str, numbers)


def _article(rng: random.Random, item: str, form: Format, titles: set[str]) -> Article:
    language = rng.choice(_LANGUAGES)
    writer = Writer(rng, language)
    published = _FIRST_DAY + timedelta(minutes=rng.randint(0, _MINUTES), seconds=rng.randint(0, 59))
    before = timedelta(seconds=rng.randint(60, 7200), microseconds=rng.randint(1, 999_999))
    tag, dump = rng.choice(_TAGS), form == "vardump"
    return Article(
        id=item,
        format=form,
        language=language.code,
        title=_new_title(writer, titles),
        tag=tag,
        paragraphs=writer.paragraphs(rng.randint(4, 10 if language is ENGLISH else 6)),
        published=published,
        uploaded=published.replace(tzinfo=ZoneInfo(TIMEZONE)).astimezone(UTC) - before,
        video=tag == "VDO" or (tag == "VIDEO" and _happens(rng, 50)),
        authors=() if dump else (person(rng),),
        wire_service=rng.choice(WIRE_SERVICES) if dump and _happens(rng, 50) else None,
        desk_code=_desk_code(rng) if dump and _happens(rng, 70) else None,
    )


def _happens(rng: random.Random, per_cent: int) -> bool:
    return rng.randrange(100) < per_cent


def _new_title(writer: Writer, titles: set[str]) -> str:
    title = writer.title()
    while title in titles:
        title = writer.title()
    titles.add(title)
    return title


def _desk_code(rng: random.Random) -> str:
    return f"{rng.choice('ACEM')}/{rng.choice('KPSW')} {rng.randint(100, 299)}-{rng.randint(10, 30)}"
