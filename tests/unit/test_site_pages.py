"""Title, day and authors of articles on sites of all kinds: right or none, and rarely none.

``tests/pages/sites/SHAPE/N.html`` are three pages each of the shapes that sites have; ``expected.json`` beside them
says of each what its reader would: null where it does not say it. All of it is invented.
"""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from tasks.steps.page import Payload, SourceProfile
from tasks.steps.understand import understand
from tests.support.pages import CAPTURED

SITES = CAPTURED / "sites"
EXPECTED: Mapping[str, Mapping[str, Any]] = json.loads((SITES / "expected.json").read_text())
FIELDS = ("title", "day", "authors")
LEAST_FOUND = {"title": 1.0, "day": 0.96, "authors": 0.98}  # of the pages that say it


@functools.cache
def found(name: str) -> Mapping[str, Any]:
    """Return what penstock finds on a page of a source that it knows nothing of."""
    payload = Payload(
        source="unknown",
        body=(SITES / f"{name}.html").read_bytes(),
        url=EXPECTED[name]["url"],
        content_type="text/html",
    )
    page = understand(payload, SourceProfile(name="unknown")).page
    day = page.published_at.date().isoformat() if page.published_at else None
    return {"title": page.title, "day": day, "authors": list(page.authors)}


@pytest.mark.parametrize("name", EXPECTED)
def test_what_is_found_on_a_page_is_what_its_reader_would_say(name: str) -> None:
    wrong = {
        field: f"{found(name)[field]!r}, and it is {EXPECTED[name][field]!r}"
        for field in FIELDS
        if found(name)[field] and found(name)[field] != EXPECTED[name][field]
    }
    assert not wrong, name


@pytest.mark.parametrize("field", FIELDS)
def test_little_of_what_the_pages_say_is_missed(field: str) -> None:
    said = [name for name in EXPECTED if EXPECTED[name][field]]
    missed = [name for name in said if not found(name)[field]]
    assert 1 - len(missed) / len(said) >= LEAST_FOUND[field], f"{field} of {missed}"


def test_there_are_twenty_shapes_of_three_pages_in_many_languages() -> None:
    shapes = Counter(name.partition("/")[0] for name in EXPECTED)
    assert (len(shapes), set(shapes.values())) == (20, {3})
    assert len({page["language"] for page in EXPECTED.values()}) >= 16
    assert {path.relative_to(SITES).with_suffix("").as_posix() for path in SITES.glob("*/*.html")} == set(EXPECTED)


@pytest.mark.parametrize("field, least", [("title", 60), ("day", 54), ("authors", 50)])
def test_most_pages_say_it_and_some_do_not(field: str, least: int) -> None:
    """A floor in shares means little where few pages say it; where all do, nothing shows that none is made up."""
    said = sum(bool(page[field]) for page in EXPECTED.values())
    assert said >= least
    assert field == "title" or said < len(EXPECTED)
