from __future__ import annotations

import hashlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.steps.similar import LEAST_TOKENS, MOST_CHARACTERS, THRESHOLD, VERSION, keys, similarity, sketch, tokens


def text(seed: int, length: int = 200) -> list[str]:
    rng = random.Random(seed)
    return [f"{rng.choice('bdfgklmnprst')}{rng.choice('aeiou')}{rng.randrange(300)}" for _ in range(length)]


def sketched(words: list[str]) -> bytes:
    found = sketch([" ".join(words)])
    assert found is not None
    return found


def replaced(words: list[str], share: float, seed: int) -> list[str]:
    rng = random.Random(seed)
    return [f"new{rng.randrange(10_000)}" if rng.random() < share else word for word in words]


def test_the_sketch_of_a_known_text_never_changes() -> None:
    """Should it change, what is stored is worth nothing: ``VERSION`` must rise, see ADR 9."""
    found = sketched(text(1))
    assert VERSION == 1
    assert len(found) == 209
    assert hashlib.sha256(found).hexdigest() == "11040b033f82caedd5fba8a29a5c05ec884b3ad5ba9d0f88591c36e7790f2c39"
    assert keys(found)[:2] == (-6444572638427668266, -2107257194296571312)


@pytest.mark.parametrize(
    "paragraphs,told",
    [
        (["The  Tide’s", "TURNED; at—last."], "the tide s turned at last"),
        (["STRASSE straße"], "strasse strasse"),
        (["عاد المدّ، أخيراً؟"], "عاد المدّ أخيراً"),
        (["潮水终于turned。退了"], "潮 水 终 于 turned 退 了"),
        (["しおが 引いた、ガ"], "し お が 引 い た ガ"),
        (["조수가 돌았다"], "조 수 가 돌 았 다"),
        (["½ «a» \u200bb\ufeff \ud800"], "½ a b"),
        ([], ""),
    ],
)
def test_tokens_are_words_without_case_and_punctuation(paragraphs: list[str], told: str) -> None:
    assert b" ".join(tokens(paragraphs)).decode() == told


def test_a_short_text_has_no_sketch() -> None:
    words = text(2, LEAST_TOKENS)
    assert sketch([" ".join(words[1:])]) is None
    assert sketch([" ".join(words)]) is not None
    assert sketch([]) is None
    assert sketch(["潮水终于退了，" * 9]) is not None


def test_what_says_nothing_changes_nothing() -> None:
    words = text(3)
    shouted = ["“" + " ,\t".join(words[:90]).upper(), "  " + " ".join(words[90:]) + "…”"]
    assert sketch(shouted) == sketched(words)


def test_edited_texts_are_found_and_similar() -> None:
    found = alike = 0
    for seed in range(200):
        one, other = sketched(text(seed)), sketched(replaced(text(seed), 0.1, seed))
        found += bool(set(keys(one)) & set(keys(other)))
        alike += similarity(one, other) >= THRESHOLD
    assert found >= 198
    assert alike >= 198


def test_other_texts_are_neither() -> None:
    sketches = [sketched(text(seed)) for seed in range(60)]
    pairs = [(one, other) for at, one in enumerate(sketches) for other in sketches[:at]]
    assert not any(set(keys(one)) & set(keys(other)) for one, other in pairs)
    assert max(similarity(one, other) for one, other in pairs) < 0.1


def test_the_estimate_is_near_the_share_of_pairs_in_common() -> None:
    words = text(5, 2000)
    half = replaced(words, 0.0, 1)[:1000] + text(6, 1000)
    assert similarity(sketched(words), sketched(half)) == pytest.approx(1 / 3, abs=0.12)
    assert similarity(sketched(words), sketched(words)) == 1.0


def test_only_so_much_of_a_text_is_looked_at() -> None:
    words = text(7, 30_000)
    cut = " ".join(words)[:MOST_CHARACTERS]
    assert sketch([cut + " and more"]) == sketch([cut + " and less"]) == sketch([cut])


def test_a_sketch_of_another_version_is_similar_to_none() -> None:
    one = sketched(text(8))
    other = bytes((VERSION + 1,)) + one[1:]
    assert similarity(one, other) == similarity(other, other) == 0.0
    assert keys(other) == ()


@given(st.lists(st.text(max_size=400), max_size=6), st.integers(1, 60))
def test_whatever_the_text_a_sketch_is_made(paragraphs: list[str], times: int) -> None:
    found = sketch(paragraphs * times)
    if found is not None:
        assert similarity(found, found) == 1.0
        assert 1 <= len(keys(found)) <= 10
        assert all(-(2**63) <= one < 2**63 for one in keys(found))
        assert sketch(paragraphs * times) == found


@pytest.mark.parametrize("hostile", ["a " * 50_000, "\ud800 " * 60, "é\u0301" * 9000, "中" * 90_000, "((( " * 900])
def test_a_hostile_text_is_no_error(hostile: str) -> None:
    found = sketch([hostile])
    assert found is None or len(found) <= 209
