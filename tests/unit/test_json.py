from __future__ import annotations

import json
from typing import Any

import pytest

from tasks.errors import Malformed
from tasks.steps.page import ParsedPage, Payload, SourceProfile
from tasks.steps.parse import parse


def read(document: Any, timezone: str = "UTC") -> ParsedPage:
    payload = Payload(source="a", body=json.dumps(document).encode(), url="https://quay.example/a.json")
    return parse(payload, SourceProfile(name="a", timezone=timezone))


@pytest.mark.parametrize(
    "document",
    [
        [{"body": "One."}, {"body": "Two."}],
        {"posts": [{"html": "One."}, {"html": "Two."}]},
        {"data": [{"attributes": {"body": "One."}}, {"attributes": {"body": "Two."}}]},
        [{"@type": "NewsArticle", "articleBody": "One."}, {"@type": "NewsArticle", "articleBody": "Two."}],
    ],
)
def test_a_list_of_articles_is_not_one_page(document: Any) -> None:
    with pytest.raises(Malformed, match="2 articles"):
        read(document)


@pytest.mark.parametrize(
    "document",
    [
        {"posts": [{"html": "One."}]},
        {"data": {"attributes": {"body": {"value": "One."}, "item": {"text": "Two."}}}},
        {"body": "Two.", "data": {"@type": "NewsArticle", "articleBody": "One."}},
        {"body": "One.", "item": {"body": "Two."}},
    ],
)
def test_the_article_is_the_typed_or_the_outermost_with_a_body(document: Any) -> None:
    assert read(document).paragraphs == ("One.",)


@pytest.mark.parametrize(
    "author, authors",
    [
        ({"@id": "#1"}, ("Ida Holm",)),
        ([{"@id": "#1"}, {"@type": "Person", "@id": "#2"}], ("Ida Holm",)),
        ([{"@id": "#2", "name": "Jon Lind"}, {"@id": "#1"}], ("Jon Lind", "Ida Holm")),
        ({"@id": "#3"}, ()),
        ("By Ida Holm", ("Ida Holm",)),
    ],
)
def test_authors_may_be_named_elsewhere_in_the_document(author: Any, authors: tuple[str, ...]) -> None:
    article = {"@type": "NewsArticle", "articleBody": "One.", "author": author}
    document = {"@graph": [article, {"@id": "#1", "@type": "Person", "name": "Ida Holm"}, {"@id": "#2", "x": 1}]}
    assert read(document).authors == authors


@pytest.mark.parametrize(
    "dates, expected",
    [
        ({"date": "2022-02-24T07:41:09", "date_gmt": "2022-02-24T06:41:09"}, "2022-02-24T06:41:09+00:00"),
        ({"date": "2022-02-24T07:41:09", "date_gmt": "never"}, "2022-02-24T07:41:09+01:00"),
        ({"date": "2022-02-24T07:41:09", "date_gmt": None}, "2022-02-24T07:41:09+01:00"),
        ({"datePublished": "24 février 2022 07:41"}, "2022-02-24T07:41:00+01:00"),
        ({"datePublished": "02/03/2022"}, None),
    ],
)
def test_a_date_is_in_the_zone_that_the_document_means(dates: dict[str, str], expected: str | None) -> None:
    found = read({"body": "One."} | dates, "Europe/Oslo").published_at
    assert (found.isoformat() if found else None) == expected
