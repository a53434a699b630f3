"""A generated crawl in the vardump form, and a plain single-process reference of what it must become.

The reference knows the pages because it made them; it shares no code with penstock.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import dataclass, field

WORDS = [
    "harbour",
    "council",
    "river",
    "bridge",
    "winter",
    "market",
    "signal",
    "engine",
    "garden",
    "window",
    "paper",
    "copper",
    "tower",
    "station",
    "island",
    "letter",
    "morning",
    "captain",
    "village",
    "orchestra",
    "ladder",
    "museum",
    "captain’s",
    "théâtre",
    "señal",
    "كتاب",
    "thunder",
    "pocket",
    "marble",
    "lantern",
    "railway",
    "compass",
    "meadow",
    "bakery",
    "chapter",
    "sailor",
    "quarry",
    "festival",
    "library",
    "senator",
    "pilot",
    "valley",
    "cabin",
]
SERVICES = ("Courier", "Evening Post", "Northern Wire")
KINDS = ("fresh", "repeat", "revision", "copy", "broken")
WEIGHTS = (69, 20, 5, 5, 1)


@dataclass(frozen=True)
class Push:
    """One push, with the truth about it."""

    item: str
    body: bytes = field(repr=False)
    text: tuple[str, ...] = field(repr=False)
    related: tuple[str, ...]
    broken: bool = False

    def envelope(self) -> str:
        """Return the NDJSON line that pushes it."""
        return json.dumps({"source": "bench", "item": self.item, "body": self.body.decode()}, ensure_ascii=False)


@dataclass
class Reference:
    """What a store must hold after a set of pushes."""

    outcomes: Counter[str] = field(default_factory=Counter)
    texts: dict[str, list[tuple[str, ...]]] = field(default_factory=dict)  # item → its texts, oldest first
    named: set[str] = field(default_factory=set)  # every item ID that a page names, or that was pushed
    failed: set[str] = field(default_factory=set)


def corpus(seed: int, pages: int) -> list[Push]:
    """Make ``pages`` pushes: fresh articles, exact repeats, revisions, copies under another ID, and broken ones."""
    rng = random.Random(seed)
    made: list[Push] = []
    fresh: list[Push] = []  # the newest version of each article
    for number in range(pages):
        kind = rng.choices(KINDS, WEIGHTS)[0] if len(fresh) > 1 else "fresh"
        item = str(1_000_000 + number)
        # An article is either revised or copied: if both, "new" or "duplicate" would hang on who comes first.
        at = rng.randrange(len(fresh) // 2) * 2 if len(fresh) > 1 else 0
        if kind == "fresh":
            push = _push(rng, item, _paragraphs(rng, number))
            fresh.append(push)
        elif kind == "repeat":
            push = rng.choice(fresh)
        elif kind == "revision":
            old = fresh[at]
            text = (*old.text[:-1], f"Correction {number}: {_sentence(rng)}")
            push = fresh[at] = _push(rng, old.item, text)
        elif kind == "copy":
            push = _push(rng, item, fresh[at + 1].text)
        else:
            whole = _push(rng, item, _paragraphs(rng, number)).body
            # Within its dump: a page that ends with a paragraph, and has none, is whole.
            kept = max(len(whole) - rng.randrange(2, 800), whole.index(b'"[') + 2)
            push = Push(item, whole[:kept].decode(errors="ignore").encode(), (), (), broken=True)
        made.append(push)
    return made


def reference(pushes: list[Push]) -> Reference:
    """Work out, one push after the other, what the store must hold."""
    truth = Reference()
    first_with: dict[tuple[str, ...], str] = {}
    for push in pushes:
        if push.broken:
            truth.outcomes["failed"] += 1
            truth.failed.add(push.item)
            continue
        truth.named.update((push.item, *push.related))
        texts = truth.texts.get(push.item)
        if texts is None:
            owner = first_with.setdefault(push.text, push.item)
            truth.outcomes["new" if owner == push.item else "duplicate"] += 1
            truth.texts[push.item] = [push.text]
        elif push.text == texts[-1]:
            truth.outcomes["unchanged"] += 1
        else:
            truth.outcomes["revision"] += 1
            texts.append(push.text)
            first_with.setdefault(push.text, push.item)
    return truth


def page(text: tuple[str, ...], related: tuple[str, ...], *, sort: int = 5_000_000, desk: str = "K/L 104-7") -> bytes:
    """Write a page in the vardump form."""
    entries = [_entry(one, sort + at) for at, one in enumerate(related)]
    block = ("[" + " ,".join(entries) + " ]").encode()
    day = 1 + sort % 28  # of March 2022, which began on a Tuesday; the weekday has to fit
    weekday = ("Tue", "Wed", "Thu", "Fri", "Sat", "Sun", "Mon")[(day - 1) % 7]
    head = f"{weekday} Mar {day:02d}, 2022 08:15:{sort % 60:02d}"
    lines = "\n".join((head, *text, desk)).encode()
    return lines + b'\nstring(%d) "%s"' % (len(block), block)


def _entry(item: str, sort: int) -> str:
    ticks = 637_817_000_000_000_000 + int(item) * 10_000_019
    title = json.dumps(f"PHOTOS: Report number {item} from the “old” quay", ensure_ascii=False)
    pic = f"/2022/02/27/site_{ticks}_25f_4x3.jpg"
    return f'{{"id":"{item}","sort":"{sort}","contenttypeid":"21","pic":"{pic}","title":{title}}}'


def _push(rng: random.Random, item: str, text: tuple[str, ...]) -> Push:
    related = tuple(dict.fromkeys(str(1_000_000 + int(rng.paretovariate(0.6)) % 3_000_000) for _ in range(14)))
    related = tuple(one for one in related if one != item)
    return Push(item, page(text, related, sort=rng.randrange(3_000_000, 9_000_000)), text, related)


def _paragraphs(rng: random.Random, number: int) -> tuple[str, ...]:
    body = [" ".join(_sentence(rng) for _ in range(rng.randrange(1, 4))) for _ in range(rng.randrange(3, 9))]
    return (f"Report {number}. {body[0]}", *body[1:-1], f"{body[-1][:-1]}, {rng.choice(SERVICES)} reported.")


def _sentence(rng: random.Random) -> str:
    words = [rng.choice(WORDS) for _ in range(rng.randrange(6, 22))]
    return " ".join(words).capitalize() + "."
