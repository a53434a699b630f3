"""The fuzzer's targets on what it begins with and has found, and on those inputs damaged at random."""

from __future__ import annotations

import random

import pytest

from tests.fuzz.targets import TARGETS, seeds

DAMAGED = 60  # of each target


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_takes_its_corpus(target: str) -> None:
    begins = seeds(target)
    assert begins
    for seed in begins:
        TARGETS[target](seed.read_bytes())


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_takes_damaged_input(target: str) -> None:
    rng = random.Random(5)
    begins = [seed.read_bytes() for seed in seeds(target)]
    for _ in range(DAMAGED):
        TARGETS[target](_damaged(rng, rng.choice(begins)))


def _damaged(rng: random.Random, data: bytes) -> bytes:
    """Cut, repeat, swap or overwrite a part."""
    start, end = sorted(rng.choices(range(len(data) + 1), k=2))
    part = data[start:end]
    return data[:start] + rng.choice([b"", part * 2, rng.randbytes(len(part) % 9), part[::-1]]) + data[end:]
