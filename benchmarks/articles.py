r"""Article bodies: how right and how fast penstock's HTML parser and other extractors are on pages with known bodies.

PATH holds ``ground-truth.json``, which maps IDs to ``articleBody`` and ``url``, and ``html/ID.html.gz``: the form of
https://github.com/scrapinghub/article-extraction-benchmark, whose score this is, too. Tokens are ``\w+``; prediction
and truth are bags of runs of four. Precision and recall are means over pages, F1 is of those.

    python -m benchmarks.articles PATH

Each page goes through all extractors before the next one does, from bytes to text, and what counts is the CPU time of
this process: moods of the machine hit all alike. The second row of penstock is its whole parser, with all fields.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Final, get_args

from tasks.steps.page import Payload, SourceProfile, Tier
from tasks.steps.parse.body import article_body
from tasks.steps.parse.charset import decoder, in_utf8
from tasks.steps.parse.html import parse_html
from tasks.steps.parse.json_ld import article_of, objects_of
from tasks.steps.parse.markup import tree_of

PENSTOCK: Final = "penstock"
BASELINE: Final = "trafilatura fast"  # what speeds are compared with
_TOKEN: Final = re.compile(r"\w+")
_RUN: Final = 4  # tokens
_WARM_UP: Final = 3  # pages

Extractor = Callable[[bytes], tuple[str, str]]  # text, and the tier that it is from, where there are tiers


@dataclass(frozen=True, slots=True)
class Page:
    """A page and its body."""

    raw: bytes = field(repr=False)
    body: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one page: shares of its text that are right, and of the body that are there; CPU seconds."""

    precision: float
    recall: float
    seconds: float
    tier: str


def main() -> None:
    """Measure, and print the tables in Markdown."""
    parser = argparse.ArgumentParser(description="Measure extractors of article bodies.")
    parser.add_argument("path", type=Path, help="the folder with ground-truth.json and html/")
    answers = measure(pages_of(parser.parse_args().path), extractors())
    print("\n".join(table(answers)))
    print()
    print("\n".join(tiers(answers[PENSTOCK])))


def pages_of(path: Path) -> list[Page]:
    """Read the pages, in the order of their IDs."""
    truth = json.loads((path / "ground-truth.json").read_bytes())
    return [
        Page(gzip.decompress((path / "html" / f"{one}.html.gz").read_bytes()), truth[one]["articleBody"])
        for one in sorted(truth)
    ]


def measure(pages: Sequence[Page], named: Mapping[str, Extractor]) -> dict[str, list[Answer]]:
    """Run each page through all extractors in turn, another one first each time: it finds the page in no cache."""
    for page in pages[:_WARM_UP]:
        for extract in named.values():
            extract(page.raw)
    answers: dict[str, list[Answer]] = defaultdict(list)
    turns = deque(named)
    for page in pages:
        for name in turns:
            answers[name].append(_answer(page, named[name]))
        turns.rotate()
    return {name: answers[name] for name in named}


def _answer(page: Page, extract: Extractor) -> Answer:
    began = time.process_time()
    text, tier = extract(page.raw)
    seconds = time.process_time() - began
    return Answer(*precision_and_recall(text, page.body), seconds, tier)


def precision_and_recall(text: str, body: str) -> tuple[float, float]:
    """Compare a text with the true body; two empty ones are the same."""
    found, true = _runs(text), _runs(body)
    both = (found & true).total()
    if not found and not true:
        return 1.0, 1.0
    return both / (found.total() or 1), both / (true.total() or 1)


def _runs(text: str) -> Counter[tuple[str, ...]]:
    tokens = _TOKEN.findall(text)
    last = max(len(tokens) - _RUN, 0)
    return Counter(tuple(tokens[at : at + _RUN]) for at in range(last + 1)) if tokens else Counter()


def scores(answers: Sequence[Answer]) -> tuple[float, float, float]:
    """Return F1, precision and recall of some pages."""
    precision = sum(one.precision for one in answers) / len(answers)
    recall = sum(one.recall for one in answers) / len(answers)
    return 2 * precision * recall / ((precision + recall) or 1), precision, recall


def table(answers: Mapping[str, Sequence[Answer]]) -> Iterator[str]:
    """Yield a table of all extractors."""
    yield "| extractor | F1 | precision | recall | pages/s per core | ratio |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for name, own in answers.items():
        ratio = _seconds(answers[BASELINE]) / _seconds(own)
        numbers = " | ".join(f"{one:.3f}" for one in scores(own))
        yield f"| {name} | {numbers} | {len(own) / _seconds(own):.0f} | {ratio:.2f} |"


def tiers(answers: Sequence[Answer]) -> Iterator[str]:
    """Yield a table of the tiers of the cascade."""
    yield "| tier | share of pages | F1 | ms a page |"
    yield "| --- | ---: | ---: | ---: |"
    for tier in sorted({one.tier for one in answers}, key=get_args(Tier).index):
        own = [one for one in answers if one.tier == tier]
        mean = _seconds(own) / len(own) * 1000
        yield f"| {tier} | {len(own) / len(answers):.0%} | {scores(own)[0]:.3f} | {mean:.1f} |"


def _seconds(answers: Sequence[Answer]) -> float:
    return sum(one.seconds for one in answers)


def extractors() -> dict[str, Extractor]:
    """Return penstock's and the peers that are installed, in the order of the table."""
    peers: tuple[tuple[str, str, Callable[[], Callable[[bytes], str | None]]], ...] = (
        (BASELINE, "trafilatura", _trafilatura_fast),
        ("trafilatura", "trafilatura", _trafilatura),
        ("readability-lxml", "readability", _readability),
        ("resiliparse", "resiliparse", _resiliparse),
        ("turbohtml", "turbohtml", _turbohtml),
    )
    ours = {PENSTOCK: _penstock, f"{PENSTOCK}, all fields": _penstock_page}
    return ours | {name: _untiered(make()) for name, module, make in peers if find_spec(module)}


def _untiered(extract: Callable[[bytes], str | None]) -> Extractor:
    return lambda raw: (extract(raw) or "", "")


def _penstock(raw: bytes) -> tuple[str, str]:
    page = in_utf8(raw, decoder(raw, meta=True))
    tree = tree_of(page)
    body = article_body(tree, page, article_of(objects_of(tree.iter("script"))))
    return "\n".join(body.paragraphs), body.tier


def _penstock_page(raw: bytes) -> tuple[str, str]:
    page = parse_html(Payload(source="articles", body=raw), SourceProfile(name="articles"))
    return "\n".join(page.paragraphs), page.tier or ""


def _trafilatura_fast() -> Callable[[bytes], str | None]:
    from trafilatura import extract

    return lambda raw: extract(raw, fast=True, include_comments=False)


def _trafilatura() -> Callable[[bytes], str | None]:
    from trafilatura import extract

    return lambda raw: extract(raw, include_comments=False)


def _readability() -> Callable[[bytes], str | None]:
    from lxml.html import fromstring
    from readability import Document

    from tasks.steps.parse.markup import paragraphs_of_tree

    return lambda raw: "\n".join(paragraphs_of_tree(fromstring(Document(raw).summary())))


def _resiliparse() -> Callable[[bytes], str | None]:
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.encoding import detect_encoding
    from resiliparse.parse.html import HTMLTree

    def extract(raw: bytes) -> str:
        tree = HTMLTree.parse_from_bytes(raw, detect_encoding(raw) or "utf-8")
        return str(extract_plain_text(tree, main_content=True, alt_texts=False, list_bullets=False))

    return extract


def _turbohtml() -> Callable[[bytes], str | None]:
    from turbohtml import parse

    return lambda raw: parse(raw).main_text()


if __name__ == "__main__":
    main()
