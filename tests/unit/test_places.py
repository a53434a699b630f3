"""Fields where a profile says that they stand."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import Malformed, PenstockError
from tasks.steps.page import HTML_FIELDS, JSON_FIELDS, ParsedPage, Payload, Place, SourceProfile
from tasks.steps.parse import parse
from tasks.steps.parse.places import compiled_path, compiled_pattern
from tests.support.pages import CAPTURED

PAGE = """<!doctype html><html lang="en"><head><title>Fog | The Quay</title>
<meta property="og:title" content="The page's own title"><meta name="author" content="The page's own author">
<meta property="article:published_time" content="2020-01-01T00:00:00Z"></head><body>
<nav><a href="/">Home</a></nav><h1 class="head"> Fog closes
 the harbour</h1><p class="by">By <a href="/staff/7">Ida Holm</a> and <a href="/staff/8">Per Lund</a></p>
<time class="pub" datetime="2024-03-02T14:05">yesterday</time><span class="when">Changed: 03/04/2024 10:00.</span>
<p class="tags">fog, harbour , ferry</p><img class="lead" src="/a.jpg" data-full="/full.jpg">
<div class="story"><p>Fog lay over the quay.</p><div class="promo">Subscribe now!</div>
<p>The <a href="/pilots">pilots</a> stayed ashore.</p></div>
<ul class="also"><li><a href="/news/42"><img src="/42.jpg">The ferry is late</a></li>
<li><a href="/news/43#x">Storm</a></li><li><a data-id="44" href="/news/44">Sun</a></li></ul></body></html>"""
URL = "https://quay.example/news/41"


def place(value: Any) -> tuple[Place, ...]:
    entries = value if isinstance(value, list) else [value]
    return tuple(Place(select=one) if isinstance(one, str) else Place(**one) for one in entries)


def html(page: str = PAGE, *, zone: str = "Europe/Oslo", **places: Any) -> ParsedPage:
    profile = SourceProfile(
        name="quay", timezone=zone, date_order="dmy", html={name: place(value) for name, value in places.items()}
    )
    return parse(Payload(source="quay", body=page.encode(), url=URL, content_type="text/html"), profile)


def of_json(document: Any, **places: Any) -> ParsedPage:
    profile = SourceProfile(name="quay", json={name: place(value) for name, value in places.items()})
    return parse(Payload(source="quay", body=json.dumps(document).encode(), url=URL), profile)


@pytest.mark.parametrize(
    "name, where, value",
    [
        ("title", "h1.head", "Fog closes the harbour"),
        ("title", ["h2", {"select": "h1"}, "title"], "Fog closes the harbour"),
        ("title", {"select": "title", "pattern": "(.*) [|]"}, "Fog"),
        ("title", "meta[name=author]", "The page's own author"),
        ("authors", ".by a", ("Ida Holm", "Per Lund")),
        ("authors", ".by", ("Ida Holm", "Per Lund")),
        ("tags", ".tags", ("fog", "harbour", "ferry")),
        ("section", {"select": ".by a", "attribute": "href", "pattern": "/([a-z]+)/"}, "staff"),
        ("image", "img.lead", "https://quay.example/a.jpg"),
        ("image", {"select": "img.lead", "attribute": "data-full"}, "https://quay.example/full.jpg"),
        ("canonical_url", ".also li:last-child a", "https://quay.example/news/44"),
        ("language", {"select": "title", "pattern": "Fog . (The)"}, "The"),
        ("wire_service", {"select": "title", "pattern": "The (Quay)"}, "Quay"),
        ("desk_code", "title", "Fog | The Quay"),
        ("outlinks", ".by a", ("https://quay.example/staff/7", "https://quay.example/staff/8")),
        ("paragraphs", ".story p", ("Fog lay over the quay.", "The pilots stayed ashore.")),
        ("paragraphs", ".story, .story p", ("Fog lay over the quay.", "Subscribe now!", "The pilots stayed ashore.")),
        ("paragraphs", {"select": ".story p", "pattern": "(Fog.*)"}, ("Fog lay over the quay.",)),
        ("paragraphs", {"select": "img", "attribute": "src"}, ("/a.jpg", "/42.jpg")),
    ],
)
def test_a_field_is_what_stands_at_its_place(name: str, where: Any, value: Any) -> None:
    assert getattr(html(**{name: where}), name) == value


def test_a_date_is_read_as_the_profile_says() -> None:
    page = html(published_at="time.pub", modified_at={"select": ".when", "pattern": r"([0-9/]+ [0-9:]+)"})
    assert str(page.published_at) == "2024-03-02 14:05:00+01:00"
    assert page.published_raw == "2024-03-02T14:05"
    assert str(page.modified_at) == "2024-04-03 10:00:00+02:00"
    assert html(published_at="time.pub", zone="UTC").published_at == datetime(2024, 3, 2, 14, 5, tzinfo=UTC)


def test_where_nothing_stands_the_page_speaks_for_itself() -> None:
    usual = html()
    assert usual.title == "The page's own title"
    odd = html(
        title="h6",
        authors={"select": ".by a", "pattern": "(x+)"},
        published_at=".tags",
        paragraphs="article",
        remove="h6",
    )
    assert odd == usual


def test_of_several_dates_the_first_that_is_one_counts() -> None:
    assert html(published_at="h1, .tags, time").published_raw == "2024-03-02T14:05"


def test_what_is_removed_is_no_part_of_the_text_but_of_the_rest() -> None:
    page = html(remove=[".promo", ".by"], paragraphs=".story", authors=".by a")
    assert page.paragraphs == ("Fog lay over the quay.", "The pilots stayed ashore.")
    assert page.authors == ("Ida Holm", "Per Lund")
    assert (page.tier, page.outlinks) == ("profile", ("https://quay.example/pilots",))
    long = PAGE.replace("Fog lay", "Fog lay, as it had lain for so many long days and longer nights,").replace(
        "Subscribe now!", "Subscribe now, and read what all the pilots of this old harbour read each morning."
    )
    assert any("Subscribe" in line for line in html(long).paragraphs)
    cut = html(long, remove=".promo")
    assert not any("Subscribe" in line for line in cut.paragraphs)
    assert cut.tier != "profile"


def test_the_whole_page_may_be_removed() -> None:
    with pytest.raises(Malformed, match="no text"):
        html("<html><body><p>Only this.</p></body></html>", remove=["body", "html", "p"])


@pytest.mark.parametrize("tag, month", [("de", 4), ("en", None)])
def test_a_date_in_figures_is_read_as_the_page_writes_them(tag: str, month: int | None) -> None:
    profile = SourceProfile(name="quay", html={"published_at": place(".when")})
    body = f'<html lang="{tag}"><p class=when>03.04.2024</p><p>Nebel lag auf dem Kai.</p></html>'
    page = parse(Payload(source="quay", body=body.encode(), content_type="text/html"), profile)
    assert (page.published_at.month if page.published_at else None) == month


@pytest.mark.parametrize("where", ["lang", "said"])
def test_so_is_one_in_a_document(where: str) -> None:
    article = {"headline": "Nebel", "articleBody": "Nebel lag auf dem Kai.", "when": "03.04.2024", "said": "de"}
    language = {"inLanguage": "de"} if where == "lang" else {}
    places = {"language": "said"} if where == "said" else {}
    page = of_json({**article, **language}, published_at="when", **places)
    assert page.published_at == datetime(2024, 4, 3, tzinfo=UTC)


def test_related_items_are_named_by_id_or_by_address() -> None:
    found = html(related=".also a").related
    assert [(one.id, one.title, one.media_path) for one in found] == [
        ("https://quay.example/news/42", "The ferry is late", "/42.jpg"),
        ("https://quay.example/news/43", "Storm", None),
        ("44", "Sun", None),
    ]
    by_pattern = html(related={"select": ".also a", "attribute": "href", "pattern": "/news/([0-9]+)"}).related
    assert [one.id for one in by_pattern] == ["42", "43", "44"]


def test_a_page_without_text_tells_what_the_profile_named_in_vain() -> None:
    with pytest.raises(Malformed) as caught:
        html("<html><body><img src=x></body></html>", paragraphs=[".story", "article"], title="h1")
    assert str(caught.value) == (
        "no text; title: selector h1 finds nothing; "
        "paragraphs: selector .story finds nothing; selector article finds nothing"
    )


DOCUMENT = {
    "data": {
        "head": "Fog &amp; ice",
        "when": "2 March 2024",
        "utc": "2024-03-02T10:00:00Z",
        "blocks": [{"t": "<p>Fog lay</p><p>over it.</p>"}, {"t": "Ice, too."}],
        "by": "By Ida Holm; and Per Lund",
        "words": "fog,ice",
        "also": [{"id": 7, "title": "Sun"}, 8, {"ref": "x"}],
        "n": 3,
        "body": "The document's own text.",
        "title": "Its own title",
    },
    "link": "/news/41?b=1",
}


@pytest.mark.parametrize(
    "name, where, value",
    [
        ("title", "data.head", "Fog & ice"),
        ("title", ["data.nope", "data.by"], "By Ida Holm; and Per Lund"),
        ("title", {"select": "data.by", "pattern": "(Ida [A-Z][a-z]+)"}, "Ida Holm"),
        ("title", "data.n", "Its own title"),
        ("title", "join(' ', data.n)", "Its own title"),
        ("published_raw", "data.nope", None),
        ("paragraphs", "data.blocks[].t", ("Fog lay", "over it.", "Ice, too.")),
        ("paragraphs", {"select": "data.blocks[].t", "pattern": "(.*[.])"}, ("over it.", "Ice, too.")),
        ("paragraphs", "data.nope", ("The document's own text.",)),
        ("authors", {"select": "data.by", "pattern": "(Ida Holm)"}, ("Ida Holm",)),
        ("tags", "data.words", ("fog", "ice")),
        ("tags", "[data.n, data.head]", ("Fog & ice",)),
        ("canonical_url", "link", "https://quay.example/news/41?b=1"),
        ("desk_code", "data.utc", "2024-03-02T10:00:00Z"),
    ],
)
def test_a_field_is_what_a_path_leads_to(name: str, where: Any, value: Any) -> None:
    places = {} if name == "published_raw" else {name: where}
    assert getattr(of_json(DOCUMENT, **places), name) == value


def test_dates_and_related_items_of_json() -> None:
    page = of_json(DOCUMENT, published_at=["data.head", "data.when"], modified_at="data.utc", related="data.also")
    assert (str(page.published_at), page.published_raw) == ("2024-03-02 00:00:00+00:00", "2 March 2024")
    assert page.modified_at == datetime(2024, 3, 2, 10, tzinfo=UTC)
    assert [(one.id, one.title) for one in page.related] == [("7", "Sun"), ("8", None)]
    ids = of_json(DOCUMENT, related={"select": "data.words", "pattern": "(i[a-z]+)"}).related
    assert [one.id for one in ids] == ["ice"]


def test_a_document_that_is_no_article_is_one_where_the_profile_finds_its_text() -> None:
    with pytest.raises(Malformed, match="no body text"):
        of_json({"rows": [{"x": "Fog."}]})
    assert of_json({"rows": [{"x": "Fog."}]}, paragraphs="rows[].x").paragraphs == ("Fog.",)
    with pytest.raises(Malformed, match=r"no body text.*; paragraphs: path rows\[\].y finds nothing"):
        of_json({"rows": [{"x": "Fog."}]}, paragraphs="rows[].y")


def test_a_date_of_the_profile_outweighs_that_of_a_content_system() -> None:
    post = {"content": "Fog.", "date_gmt": "2024-01-01T00:00:00", "shown": "2024-03-02T00:00:00Z"}
    assert of_json(post, published_at="shown").published_raw == "2024-03-02T00:00:00Z"
    assert of_json(post, published_at="nope").published_raw == "2024-01-01T00:00:00"


@pytest.mark.parametrize(
    "pattern, told",
    [
        ("(a", "'(a' is not a pattern: missing )"),
        ("a", "'a' must have one group in parentheses, around what is the value"),
        ("(a)(b)", "'(a)(b)' must have one group"),
        ("(?=a)(b)", "'(?=a)(b)' is not a pattern: invalid perl operator"),
    ],
)
def test_a_pattern_that_is_none_is_told(pattern: str, told: str) -> None:
    with pytest.raises(ValueError, match=r"pattern|group") as caught:
        compiled_pattern(pattern)
    assert str(caught.value).startswith(told)


@pytest.mark.parametrize(
    "path, told",
    [
        ("data..x", "'data..x' is not a path: "),
        ("/data/x", "'/data/x' is not a path: Bad jmespath expression: Unknown token /"),
        ("a[].foo(x)", "'a[].foo(x)' is not a path: there is no function foo()"),
        ("", "'' is not a path: Invalid JMESPath expression: cannot be empty."),
    ],
)
def test_a_path_that_is_none_is_told_in_a_line(path: str, told: str) -> None:
    with pytest.raises(ValueError, match="is not a path") as caught:
        compiled_path(path)
    assert str(caught.value).startswith(told)
    assert "\n" not in str(caught.value)


def test_no_pattern_takes_time_without_end() -> None:
    """Such a pattern would take others than RE2 longer than the sun will shine."""
    page = PAGE.replace("Fog closes", "a" * 5_000)
    assert html(page, title={"select": "h1", "pattern": "((?:a+)+)$"}).title == "The page's own title"


EVERY = SourceProfile(
    name="a",
    html={name: place("p, .a > b, [title]") for name in HTML_FIELDS},
    json={name: place("*.body || [0] || @") for name in JSON_FIELDS},
)
SAMPLES = [path.read_bytes() for path in sorted(CAPTURED.glob("*.page.*"))]


def parsed(payload: Payload, profile: SourceProfile) -> ParsedPage | PenstockError:
    try:
        return parse(payload, profile)
    except PenstockError as error:
        return error


@given(data=st.data(), body=st.sampled_from(SAMPLES))
def test_no_page_makes_a_profile_raise_anything_but_our_errors(data: st.DataObject, body: bytes) -> None:
    at = data.draw(st.integers(0, len(body)))
    body = body[:at] + data.draw(st.binary(max_size=9)) + body[at + data.draw(st.integers(0, 20)) :]
    found = parsed(Payload(source="a", body=body), EVERY)
    if isinstance(found, PenstockError):
        assert found.error_class in {"Truncated", "Malformed", "UnknownFormat", "Undecodable"}, found.__cause__
    else:
        assert found.paragraphs
