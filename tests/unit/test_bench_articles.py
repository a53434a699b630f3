from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from benchmarks.articles import BASELINE, PENSTOCK, extractors, measure, pages_of, precision_and_recall, table, tiers

TEXTS = {
    "a": (
        "The pier was closed on Thursday after a third night of fog.",
        "It will be opened again when the sand has gone.",
    ),
    "b": (
        "Pilots had asked for the survey in January, and were heard.",
        "A second boat will arrive from the north on Monday.",
    ),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "html").mkdir()
    for name, texts in TEXTS.items():
        text = "<html><body><article>" + "".join(f"<p>{one}</p>" for one in texts) + "</article></body></html>"
        (tmp_path / "html" / f"{name}.html.gz").write_bytes(gzip.compress(text.encode()))
    truth = {name: {"articleBody": "\n".join(texts), "url": ""} for name, texts in TEXTS.items()}
    (tmp_path / "ground-truth.json").write_text(json.dumps(truth))
    return tmp_path


@pytest.mark.parametrize(
    "text, body, expected",
    [
        ("", "", (1, 1)),
        ("", "one", (0, 0)),
        ("one", "one", (1, 1)),
        ("a b c d", "a b c d", (1, 1)),
        ("a b c d e", "a b c d", (1 / 2, 1)),
        ("a b c d", "a b c d a b c d", (1, 1 / 5)),
        ("A b c d", "a b c d", (0, 0)),
    ],
)
def test_texts_are_compared_by_runs_of_four_words(text: str, body: str, expected: tuple[float, float]) -> None:
    assert precision_and_recall(text, body) == expected


def test_the_tables_tell_of_every_extractor_and_tier(folder: Path) -> None:
    ours = {name: extract for name, extract in extractors().items() if name in {PENSTOCK, BASELINE}}
    answers = measure(pages_of(folder), ours)
    rows = [line.split(" | ") for line in table(answers)]
    assert [row[:4] for row in rows[2:]] == [[f"| {name}", "1.000", "1.000", "1.000"] for name in (PENSTOCK, BASELINE)]
    assert [line.split(" | ")[:3] for line in tiers(answers[PENSTOCK])][2:] == [["| fast", "100%", "1.000"]]
