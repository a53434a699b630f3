"""Text from word lists: titles, paragraphs and names, varied enough that no two articles are alike by accident."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import Final

from worker.demo.words import FIRST_NAMES, LAST_NAMES, TOWN_PARTS, Language

_SLOT: Final = re.compile(r"\{(\w+)\}")


class Writer:
    """Writes in one language; the same ``rng`` state gives the same text."""

    def __init__(self, rng: random.Random, language: Language) -> None:
        self._rng = rng
        self._language = language

    def title(self) -> str:
        """Return a title; the caller sees to it that titles differ."""
        return self._filled(self._rng.choice(self._language.titles))

    def paragraphs(self, count: int) -> tuple[str, ...]:
        """Return ``count`` paragraphs of two to four sentences."""
        sentences = self._sentences()
        return tuple(" ".join(next(sentences) for _ in range(self._rng.randint(2, 4))) for _ in range(count))

    def sentence(self) -> str:
        """Return one sentence."""
        return next(self._sentences())

    def _sentences(self) -> Iterator[str]:
        """Yield sentences; a pattern comes again only when all others have been used."""
        while True:
            for pattern in self._rng.sample(self._language.sentences, len(self._language.sentences)):
                yield self._filled(pattern)

    def _filled(self, pattern: str) -> str:
        text = _SLOT.sub(lambda found: self._word(found[1]), pattern)
        return text[0].upper() + text[1:]

    def _word(self, slot: str) -> str:
        if slot == "town":
            return "".join(self._rng.choice(part) for part in TOWN_PARTS)
        if slot == "person":
            return person(self._rng)
        if slot == "number":
            return str(self._rng.randint(3, 980))
        return self._rng.choice(self._language.slots[slot])


def person(rng: random.Random) -> str:
    """Return an invented name."""
    return f"{rng.choice(FIRST_NAMES)} {rng.choice(LAST_NAMES)}"
