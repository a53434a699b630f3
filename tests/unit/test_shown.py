"""What an article page shows and does not state: its heading, the day, the authors. Wrong ones are worse than none."""

from __future__ import annotations

import json

import pytest

from tasks.steps.page import ParsedPage, Payload, SourceProfile
from tasks.steps.parse import parse

URL = "https://quay.example/news/2450700"
TEXT = (
    "<p>The harbour was closed to small craft on Thursday after a third night of fog, said the port office.</p>"
    "<p>Pilots had asked for the survey in January, when a coaster touched ground where charts show nine metres.</p>"
    "<p>The bank has moved further in one winter than in the ten before it, the town council was told on Monday.</p>"
)
HEADING = "<h1>Harbour closed</h1>"
TIME = "<time datetime=2024-03-12>12 March</time>"
TITLE = "<title>Harbour closed</title>"


def page(body: str, head: str = TITLE, language: str = "en", url: str | None = URL) -> ParsedPage:
    text = f"<!doctype html><html lang='{language}'><head>{head}</head><body>{body}</body></html>"
    return parse(Payload(source="quay", body=text.encode(), url=url, content_type="text/html"), SourceProfile(name="q"))


def day(body: str, language: str = "en") -> str | None:
    found = page(body, language=language).published_at
    return found.date().isoformat() if found else None


@pytest.mark.parametrize(
    "line, language",
    [
        ("<p>12 March 2024</p>", "en"),
        ("<p>Published 12 March 2024, 5:41 PM ET | Updated 13 March 2024</p>", "en"),
        ("<p>Updated 13 March 2024. Published 12 March 2024</p>", "en"),
        ("<p>Posted by Ida Holm on March 12, 2024 at 5:41 pm</p>", "en"),
        ("<p>Oslo - <time datetime='2024-03-12T08:15:00+01:00'>2 hours ago</time></p>", "en"),
        ("<p>Updated: <time datetime=2024-03-13>13</time> Published: <time datetime=2024-03-12>12</time></p>", "en"),
        ("<b>Published: <time datetime=2024-03-12>12</time></b><b>Updated: <time datetime=2024-03-13></b>", "en"),
        ("<time class=updated datetime=2024-03-13>13</time><time class=published datetime=2024-03-12>12</time>", "en"),
        ("<abbr class=published title='2024-03-12T08:15:00Z'>08:15</abbr>", "en"),
        ("<span property='schema:dateCreated' content='2024-03-12T08:15:00Z'>03/12</span>", "en"),
        ("<div>12.03.2024, 08:15 Uhr</div>", "de"),
        ("<div>Von Max Müller, 12.03.2024</div>", "de"),
        ("<div>Publié le 12/03/2024 à 08h15, mis à jour le 13/03/2024 à 10h00</div>", "fr"),
        ("<div>12/03/2024 08h15 Atualizado há 2 horas</div>", "pt-BR"),
        ("<div>08:15 12.03.2024 (обновлено: 10:01 13.03.2024)</div>", "ru"),
        ("<div>Yayınlanma: 12.03.2024 08:15 · Güncelleme: 13.03.2024 11:50</div>", "tr"),
        ("<div>تاریخ انتشار: ۲۲ اسفند ۱۴۰۲ - ۰۸:۱۵</div>", "fa"),
        ("<div>انتشار: ۱۴۰۲/۱۲/۲۲</div>", "fa"),
        ("<div>الثلاثاء ٢ رمضان ١٤٤٥ هـ - ١٢ مارس ٢٠٢٤</div>", "ar"),
        ("<div>2024年3月12日 8時15分</div>", "ja"),
        ("<div>发布于 2024年03月12日 08:15 来源：海港报</div>", "zh"),
        ("<div>입력 2024.03.12 08:15 수정 2024.03.13 10:00</div>", "ko"),
    ],
)  # fmt: skip
def test_the_day_is_read_where_it_stands_below_the_heading(line: str, language: str) -> None:
    assert day(f"{HEADING}{line}{TEXT}", language) == "2024-03-12"


@pytest.mark.parametrize(
    "body",
    [
        f"{HEADING}<p>03/04/2025</p>{TEXT}",
        f"{HEADING}<p>Last updated: 3 May 2024</p>{TEXT}",
        f"{HEADING}<p class=last-updated>3 May 2024</p>{TEXT}",
        f"{HEADING}<p>3 May 2024 (updated)</p>{TEXT}",
        f"{HEADING}<p>2 hours ago</p>{TEXT}",
        f"{HEADING}<p>The festival opens on 12 March 2024</p>{TEXT}",
        f"{HEADING}<p>Wednesday, 12 March 2024</p>{TEXT}",
        f"{HEADING}<p>12 March 2024</p><p>14 March 2024</p>{TEXT}",
        f"{HEADING}{TEXT}<p>12 March 2024</p>",
        f"<div><div>Tuesday, 12 March 2024</div>{HEADING}{TEXT}</div>",
        f"<div><div>12 March 2024</div><nav><a href=/sea>Sea</a></nav>{HEADING}{TEXT}</div>",
        f"<div><h2>Other news</h2><p>12 March 2024</p>{HEADING}{TEXT}</div>",
        f"<article>{HEADING}<p>Short.</p></article><article><h2>Two</h2>{TIME}</article>",
        f"<article>{HEADING}<p>Short.</p><article>{TIME} Max: Yes.</article></article>",
        f"{HEADING}<p>Short.</p><h2>More</h2><p>12 March 2024</p>",
        f"{HEADING}<ul class=comments><li>Max Poe, 12 March 2024</li></ul>{TEXT}",
        f"<article>{HEADING}{TEXT}<p>On {TIME} three cranes fell into the basin, as some still know.</p></article>",
        f"{HEADING}<div><time datetime=2024-03-12T21:10Z>21:10</time> <b>Closed</b></div>{TEXT}",
    ],
)  # fmt: skip
def test_a_day_that_may_be_another_ones_is_none(body: str) -> None:
    assert day(body) is None


def test_nothing_is_read_around_a_heading_of_another_title() -> None:
    found = page(
        f"<h1>Ferry turns back</h1><p>By Ida Holm</p><p>12 March 2024</p>{TEXT}", ld(article("Harbour closed", URL))
    )
    assert (found.title, found.published_at) == ("Harbour closed", None)


def test_a_profile_outweighs_the_language() -> None:
    body = f"<html lang=de>{HEADING}<p>03.04.2025</p>{TEXT}</html>".encode()
    found = parse(Payload(source="q", body=body), SourceProfile(name="q", date_order="mdy")).published_at
    assert found is not None
    assert found.date().isoformat() == "2025-03-04"


@pytest.mark.parametrize(
    "line, names",
    [
        ("<p>By Ida Holm and Per Lund</p>", ("Ida Holm", "Per Lund")),
        ("<p>By <a href=/a>Ida Holm</a>, <a href=/b>Per Lund</a> and <a href=/c>Max Poe</a></p>",
         ("Ida Holm", "Per Lund", "Max Poe")),
        ("<p>12 March 2024 Text: Ida Holm Foto: Max Poe</p>", ("Ida Holm",)),
        ("<span class=author>Ida Holm</span><span class=author>Per Lund</span>", ("Ida Holm", "Per Lund")),
        ("<div class=author><a href=/p/ida>Ida Holm</a> <a href=/f/ida>Follow</a></div>", ("Ida Holm",)),
        ("<div class=author><a href=/p/ida>Ida Holm</a><span>Legal Affairs</span></div>", ("Ida Holm",)),
        ("<div class=byline><a href=/p/ida>Ida Holm</a><a href=/p/per>Per Lund</a></div>", ("Ida Holm", "Per Lund")),
        ("<a rel=author href=/a>Ida Holm</a> <a rel=author href=/b>Per Lund</a>", ("Ida Holm", "Per Lund")),
        ("<span class='author vcard'><b class=fn>Ida Holm</b>, <i class=org>Harbour Weekly</i></span>", ("Ida Holm",)),
        ("<p class=byline>By <b>Ida Holm</b><time datetime=2024-03-12>12 March</time></p>", ("Ida Holm",)),
        ("<p>By <b>Ida Holm</b> <i>Port Lowen</i></p>", ("Ida Holm",)),
        ("<p>Photo by Ida Holm</p>", ()),
        ("<p class=byline>Harbour desk</p>", ()),
        ("<p>By The Quay</p>", ()),
        ("<p>By Ida Holm <b>|</b> Legal Affairs</p>", ()),
        ("<div class=related><a rel=author href=/a>Ida Holm</a></div>", ()),
        ("<ul class=comments><li class=author>Ida Holm</li></ul>", ()),
    ],
)  # fmt: skip
def test_authors_are_read_where_a_byline_stands(line: str, names: tuple[str, ...]) -> None:
    head = f"{TITLE}<meta property=og:site_name content='The Quay'>"
    assert page(f"{HEADING}{line}{TEXT}", head).authors == names


@pytest.mark.parametrize(
    "author, names",
    [
        ('{"@type": "Organization", "name": "The Quay"}', ("Ida Holm",)),
        ('"The Quay staff"', ("Ida Holm",)),
        ('"webteam"', ("Ida Holm",)),
        ('"https://quay.example/staff/ida"', ("Ida Holm",)),
        ('{"@type": "Person", "name": "Per Lund"}', ("Per Lund",)),
        ('{"@type": "Person", "name": ["Per Lund", "Max Poe"]}', ("Per Lund", "Max Poe")),
    ],
)
def test_a_person_who_is_shown_outweighs_a_stated_author_who_is_none(author: str, names: tuple[str, ...]) -> None:
    stated = f'{{"@type": "NewsArticle", "author": {author}, "publisher": {{"name": "The Quay"}}}}'
    found = page(f"{HEADING}<p>By Ida Holm</p>{TEXT}", f"{TITLE}<script type=application/ld+json>{stated}</script>")
    assert found.authors == names


def test_a_source_that_states_the_same_authors_and_more_is_believed() -> None:
    labelled = "<meta name=twitter:label1 content='Verfasst von'><meta name=twitter:data1 content='Ida Holm, Per Lund'>"
    assert page(HEADING + TEXT, f"{TITLE}<meta name=author content='Ida Holm'>{labelled}").authors == (
        "Ida Holm",
        "Per Lund",
    )
    other = labelled.replace("Verfasst von", "Est. reading time").replace("Ida Holm, Per Lund", "2 minutes")
    assert page(HEADING + TEXT, f"{TITLE}{other}").authors == ()


def ld(*objects: object) -> str:
    return "".join(f"<script type=application/ld+json>{json.dumps(one)}</script>" for one in objects)


def article(title: str, url: str) -> dict[str, object]:
    return {"@type": "NewsArticle", "headline": title, "url": url, "author": {"name": f"Ida {title[:4]}"}}


def test_of_several_articles_in_json_ld_the_pages_own_counts() -> None:
    own, other = article("Harbour closed", URL), article("Ferry turns back", "https://quay.example/2")
    assert page(HEADING + TEXT, TITLE + ld([other], own)).authors == ("Ida Harb",)
    own["url"] = "/moved"
    assert page(HEADING + TEXT, TITLE + ld(other, own)).authors == ("Ida Harb",)
    own["headline"] = "Harbour shut"
    assert page(HEADING + TEXT, TITLE + ld(other, own)).authors == ()


@pytest.mark.parametrize(
    "script",
    [
        '{"@type": "NewsArticle", "datePublished": "2024-03-12", "description": "Two\nlines"}',
        '<!-- {"@type": "NewsArticle", "datePublished": "2024-03-12",} -->',
        '//<![CDATA[\n{"@type": "NewsArticle", "datePublished": "2024-03-12"}\n//]]>',
    ],
)
def test_json_ld_is_read_with_the_faults_that_templates_have(script: str) -> None:
    found = page(HEADING + TEXT, f"{TITLE}<script type='application/ld+json'>{script}</script>")
    assert found.published_raw == "2024-03-12"


@pytest.mark.parametrize(
    "head",
    [
        "<meta property=article:published_time content='1970-01-01T00:00:00+00:00'>",
        "<meta http-equiv=date content='2024-03-12'>",
        "<meta property=og:updated_time content='2024-03-12'>",
    ],
)
def test_what_software_puts_in_is_no_day_of_publication(head: str) -> None:
    assert page(HEADING + TEXT, TITLE + head).published_at is None


def test_meta_elements_of_items_inside_of_the_page_are_theirs() -> None:
    item = "<div itemscope itemtype=https://schema.org/Article><meta itemprop=datePublished content=2024-03-12></div>"
    assert page(HEADING + TEXT + item * 2).published_at is None
    whole = (
        f"<div itemscope itemtype=https://schema.org/WebPage>{HEADING}<meta itemprop=datePublished content=2024-03-12>"
    )
    assert page(f"{whole}{TEXT}</div>").published_raw == "2024-03-12"
