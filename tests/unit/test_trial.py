"""A page tried with a profile: where each field stood, and whether it is what a sample says."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from tasks.steps.page import Payload, Place, SourceProfile
from tests.support.pages import CAPTURED
from worker.field_tables import Sample
from worker.trial import Trial, tried

QUAY = SourceProfile(name="quay", timezone="Europe/Oslo")
PAGE = b"""<html lang=en><head><title>Fog - The Quay</title><meta property="og:site_name" content="The Quay">
<meta property="article:published_time" content="02/03/2024"><meta name=keywords content="fog, ice"></head><body>
<article><p>Fog lay over the quay all day, and pilots stayed ashore, as they had done the day before.</p>
<p>The ferry waited <a href="/ice">for the ice</a> to go, and nobody here knew when that would be.</p></article>
</body></html>"""


def trial(body: bytes, profile: SourceProfile = QUAY, **envelope: Any) -> Trial:
    return tried(Payload(source="quay", body=body, url="https://quay.example/1", **envelope), profile, nullcontext())


def origins(one: Trial) -> Mapping[str, str]:
    return {name: told["origin"] for name, told in one.record()["fields"].items() if told["origin"]}


def test_the_fields_of_a_page_that_speaks_for_itself() -> None:
    assert origins(trial(PAGE)) == {
        "title": "<title>",
        "tags": "keywords",
        "language": "<html lang>",
        "paragraphs": "text that two fast extractors agree on",
        "outlinks": "links of the text",
    }


@pytest.mark.parametrize(
    "order, note", [("dmy", "date_order dmy and timezone Europe/Oslo of the profile"), (None, None)]
)
def test_what_the_profile_adds_to_a_date(order: Any, note: str | None) -> None:
    one = trial(PAGE, SourceProfile(name="quay", timezone="Europe/Oslo", date_order=order))
    if note is not None:
        assert origins(one)["published_at"] == f"article:published_time; {note}"
        assert one.origins.problems == ()
    else:
        why = "published_at: '02/03/2024' may be read in two ways: the profile's date_order says which"
        assert one.origins.problems == (why,)


@pytest.mark.parametrize(
    "name, told",
    [
        (
            "article.page.html",
            {
                "title": "JSON-LD headline",
                "published_at": "JSON-LD datePublished",
                "related": "links or a dump of related items",
            },
        ),
        ("cms.page.json", {"title": "JSON title", "paragraphs": "JSON content", "canonical_url": "JSON url"}),
        ("wordpress.page.json", {"published_at": "JSON date_gmt"}),
        ("atom.page.xml", {"title": "<title>", "published_at": "<published>"}),
        ("rss.page.xml", {"title": "<title>", "paragraphs": "<content:encoded>"}),
        ("harbour.page.txt", {"published_at": "line 1; timezone Europe/Oslo of the profile", "related": "the dump"}),
    ],
)
def test_the_fields_of_captured_pages(name: str, told: Mapping[str, str]) -> None:
    found = origins(trial((CAPTURED / name).read_bytes()))
    assert {field: found.get(field) for field in told} == told


@pytest.mark.parametrize("path", sorted(CAPTURED.glob("*.page.*")), ids=lambda path: path.name)
def test_each_field_that_a_page_has_has_an_origin(path: Path) -> None:
    fields = trial(path.read_bytes()).record()["fields"]
    assert {name for name, told in fields.items() if told["value"]} == {
        name for name, told in fields.items() if told["origin"]
    }


def test_places_of_the_profile_are_told_as_they_stand_in_it() -> None:
    html = {
        "title": (Place(select="h6"), Place(select="title", pattern="(.*) -")),
        "section": (Place(select="meta", attribute="property", pattern="og:(.*)_"),),
        "tags": (Place(select="h6"), Place(select=".x")),
        "published_at": (Place(select="p"),),
    }
    one = trial(PAGE, SourceProfile(name="quay", date_order="dmy", html=html))
    assert origins(one)["title"] == "selector title, pattern (.*) -"
    assert origins(one)["section"] == "selector meta, attribute property, pattern og:(.*)_"
    assert origins(one)["tags"] == "keywords"
    date, tags = one.origins.problems
    assert date == (
        "published_at: selector p finds 'Fog lay over the quay all day, and pilots stayed ashore, as …', "
        "which is no date"
    )
    assert tags == "tags: selector h6 finds nothing; selector .x finds nothing"


def test_what_cannot_be_read_is_told_with_its_class() -> None:
    record = trial(b"<html><body>").record()
    assert (record["outcome"], record["error_class"], record["parser"]) == ("failed", "Truncated", "html")
    assert trial(b"?").record()["error_class"] == "UnknownFormat"


def test_follow_ups_are_counted() -> None:
    profile = SourceProfile(name="quay", item_url="https://quay.example/{id}", max_depth=1, max_items_per_page=2)
    body = (CAPTURED / "harbour.page.txt").read_bytes()
    few, none = trial(body, profile).record(), trial(body).record()
    count = sum(none["follow_ups"].values())
    assert few["follow_ups"] == {"due": 2, "bounded": count - 2, "unroutable": 0}
    assert none["follow_ups"] == {"due": 0, "bounded": 0, "unroutable": count}


@pytest.mark.parametrize(
    "expected, fields",
    [
        ({"title": "Fog", "tags": ("fog", "ice"), "paragraphs": 2, "section": "", "authors": ()}, []),
        ({"title": "fog"}, ["title"]),
        ({"title": ""}, ["title"]),
        ({"section": "Sea"}, ["section"]),
        ({"paragraphs": 3, "tags": ("ice", "fog")}, ["tags", "paragraphs"]),
        ({"tags": "fog"}, ["tags"]),
        ({"tags": ""}, ["tags"]),
        ({"published_at": "2024-03-01T23:00:00+00:00", "outlinks": "https://quay.example/ice"}, []),
        ({"published_at": "2024-03-02T00:00:00"}, ["published_at"]),
        ({"published_at": "soon"}, ["published_at"]),
        ({"published_at": ""}, ["published_at"]),
        ({"parser": "html", "tier": "careful"}, ["tier"]),
    ],
)
def test_a_sample_says_what_a_page_must_be(expected: dict[str, Any], fields: list[str]) -> None:
    one = trial(PAGE, SourceProfile(name="quay", timezone="Europe/Oslo", date_order="dmy"))
    assert sorted(diff.name for diff in one.differences(Sample(file="x", expected=expected))) == sorted(fields)


def test_related_items_are_compared_by_id() -> None:
    one = trial((CAPTURED / "harbour.page.txt").read_bytes())
    assert one.result is not None
    ids = tuple(item.id for item in one.result.page.related)
    assert one.differences(Sample(file="x", expected={"related": ids})) == []
    assert one.differences(Sample(file="x", expected={"related": len(ids)})) == []
    assert [diff.name for diff in one.differences(Sample(file="x", expected={"related": ids[1:]}))] == ["related"]


def test_of_a_page_that_cannot_be_read_all_that_its_sample_says_differs() -> None:
    assert len(trial(b"?").differences(Sample(file="x", expected={"title": "Fog", "paragraphs": 2}))) == 2
