"""HTML articles: the tiers of the cascade, and each field from each syntax."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from tasks.steps.page import ParsedPage, Payload, SourceProfile
from tasks.steps.parse import parse
from tasks.steps.parse.density import dense_text
from tasks.steps.parse.markup import tree_of

URL = "https://quay.example/news/sea/2450700"
SENTENCES = (
    "The harbour was closed to small craft on Thursday after a third night of fog and a rising swell.",
    "Pilots had asked for the survey in January, when a coaster touched ground where the chart shows nine metres.",
    "The bank has moved further in one winter than in the ten before it, the port office told the town council.",
    "About fourteen hundred boats are kept in the old basin, and their owners were told to double their lines.",
    "A second boat will arrive from the north on Monday, with sounding gear that was borrowed from the lighthouse.",
)
TEASERS = (
    "Divers lift an anchor from the old basin that nobody had known of, and the museum wants it for its garden.",
    "The night ferry turns back in heavy fog with ninety passengers, all of whom were given soup and blankets.",
    "Council votes on the new breakwater after eleven years of plans, by nine to eight, and will now look for money.",
    "Two tugs collide by the coal pier and no one is hurt, says the company, which will pay for the paint.",
    "The fish market moves to the east quay in spring, where the ice machine is, and the gulls will follow it.",
)


def page(body: str, head: str = "", attributes: str = "") -> ParsedPage:
    text = f"<!doctype html><html {attributes}><head>{head}</head><body>{body}</body></html>"
    payload = Payload(source="quay", body=text.encode(), url=URL, content_type="text/html")
    return parse(payload, SourceProfile(name="quay", timezone="Europe/Oslo"))


def paragraphs(*texts: str) -> str:
    return "".join(f"<p>{text}</p>\n" for text in texts)


def ld(**fields: Any) -> str:
    stated = {"@context": "https://schema.org", "@type": "NewsArticle", **fields}
    return f'<script type="application/ld+json">{json.dumps(stated)}</script>'


def meta(*pairs: tuple[str, str]) -> str:
    return "".join(f'<meta {"property" if ":" in name else "name"}="{name}" content="{text}">' for name, text in pairs)


def teasers(*texts: str) -> str:
    return "".join(
        f"<div class=item><h3><a href=/t>{text[:20]}</a></h3><div><p>{text}</p></div></div>" for text in texts
    )


ARTICLE = f"<article><h1>Harbour closed</h1>{paragraphs(*SENTENCES)}</article>"


def test_an_article_in_one_piece_is_taken_from_the_fast_tier() -> None:
    found = page(f"<nav><a href=/>Home</a></nav>{ARTICLE}<footer><p>{TEASERS[0]}</p></footer>")
    assert (found.tier, found.paragraphs) == ("fast", SENTENCES)


def scattered(kind: str = "") -> str:
    """Return an article of paragraphs without a common parent, between labels: neither votes nor order prove it."""
    parts = (f"<section><p>{text}</p></section>" for text in SENTENCES)
    return f"<div {kind}>" + "<div>Advertisement</div>".join(parts) + "</div>"


@pytest.mark.parametrize(
    "head, kind",
    [
        (ld(articleBody="\n".join(SENTENCES)), ""),
        (ld(articleBody=" ".join(SENTENCES)), ""),
        ("", "itemprop=articleBody"),
    ],
    ids=["JSON-LD", "JSON-LD in one line", "microdata"],
)
def test_structured_data_that_agrees_is_believed(head: str, kind: str) -> None:
    found = page(scattered(kind), head)
    assert (found.tier, found.paragraphs) == ("structured", SENTENCES)


TALL = "<div>" + "<div>Advertisement</div>".join(f"<p>{text}</p>" for text in SENTENCES) + "</div>"


@pytest.mark.parametrize(
    "body, proven",
    [
        (ARTICLE, True),
        (TALL, True),
        (TALL + f"<div>{paragraphs(TEASERS[0])}</div>", True),
        (TALL + f"<div>{paragraphs(*TEASERS[:2])}</div>", False),
        (scattered(), False),
        ("<p>Closed.</p>", False),
    ],
    ids=["in one piece", "of one parent", "a teaser", "two teasers", "of many parents", "no prose"],
)
def test_votes_prove_an_article_of_one_parent_where_no_other_has_many_paragraphs(body: str, *, proven: bool) -> None:
    tree = tree_of(f"<html><body>{body}</body></html>".encode())
    assert dense_text(tree.body).confirmed is proven


def test_where_neither_votes_nor_order_prove_anything_a_second_extractor_may() -> None:
    found = page(scattered())
    assert (found.tier, found.paragraphs) == ("fast", SENTENCES)


def test_structured_data_that_disagrees_is_not() -> None:
    found = page(scattered() + teasers(*TEASERS), ld(articleBody=" ".join(TEASERS)))
    assert found.tier != "structured"
    assert set(SENTENCES) <= set(found.paragraphs)


def test_two_fast_extractors_that_disagree_leave_it_to_the_careful_one() -> None:
    lists = "".join(f"<section>{teasers(text)}</section>" for text in (*TEASERS, *TEASERS))
    found = page(f"<div><div>{paragraphs(*SENTENCES[:1])}</div>{lists}</div>")
    assert found.tier == "careful"


def test_a_page_without_prose_is_left_to_the_careful_tier() -> None:
    found = page("<p>Closed.</p>")
    assert (found.tier, found.paragraphs) == ("careful", ("Closed.",))


@pytest.mark.parametrize("shown", ["", f"<p>{SENTENCES[0]}</p>"], ids=["nothing", "the beginning"])
def test_what_only_the_structured_data_has_in_full_is_read_from_there(shown: str) -> None:
    found = page(f"<div id=app>{shown}</div>", ld(articleBody="\n\n".join(SENTENCES)))
    assert (found.tier, found.paragraphs) == ("structured", SENTENCES)


def test_teasers_comments_and_captions_are_no_part_of_the_article() -> None:
    aside = f"<div class='related-stories'>{teasers(*TEASERS)}</div>"
    comments = f"<section id=comments>{paragraphs(*TEASERS[:2])}</section>"
    figure = "<figure><img src=/a.jpg><figcaption>The south light in fog, seen from the pier.</figcaption></figure>"
    body = paragraphs(*SENTENCES[:2]) + figure + paragraphs(*SENTENCES[2:])
    assert page(f"<main><div>{body}</div>{aside}{comments}</main>").paragraphs == SENTENCES


@pytest.mark.parametrize(
    "script",
    [
        "<SCRIPT>if (1 < 2) write('<p>An advertisement that is long enough to be taken for prose.</p>')</SCRIPT >",
        "<script async data-of='a>b'>x</script>",
        "<script>x = '<script>y'</script>",
        "<!-- <script> -->",
        "<i title='<script>'></i>",
        "<script src=/a.js></script><!-- </script> -->",
    ],
)
def test_scripts_go_without_any_text_around_them(script: str) -> None:
    between = f"{script}<p>{SENTENCES[2]}</p><script>z</script>"
    assert page(f"<div>{paragraphs(*SENTENCES[:2])}{between}{paragraphs(*SENTENCES[3:])}</div>").paragraphs == SENTENCES


@pytest.mark.parametrize("wrapper", ["has-sidebar", "ad-free newsletter", "comments"])
def test_a_doubtful_class_around_the_whole_article_does_not_hide_it(wrapper: str) -> None:
    assert page(f"<div class='{wrapper}'>{ARTICLE}</div>").paragraphs == SENTENCES


def test_lists_tables_and_headings_of_the_article_are_kept_and_lists_of_links_are_not() -> None:
    body = (
        f"<div>{paragraphs(*SENTENCES[:2])}<h2>What is known</h2><ul><li>Nine metres.</li><li>One winter.</li></ul>"
        f"<ul><li><a href=/x>More on fog</a></li></ul><table><tr><td>Low tide</td><td>06:12</td></tr></table>"
        f"{paragraphs(*SENTENCES[2:])}<p>More soon.</p></div>"
    )
    known = ("What is known", "Nine metres.", "One winter.", "Low tide", "06:12")
    assert page(body).paragraphs == (*SENTENCES[:2], *known, *SENTENCES[2:], "More soon.")


def test_lines_of_text_that_only_breaks_divide_are_paragraphs() -> None:
    assert page(f"<div>{'<br><br>'.join(SENTENCES)}</div>").paragraphs == SENTENCES


PUBLISHED, MODIFIED = "2022-02-24T07:41:09+01:00", "2022-02-25T08:00:00+01:00"
MICRODATA = (
    "<div itemscope itemtype='https://schema.org/NewsArticle'><h2 itemprop=headline>Harbour closed</h2>"
    f"<time itemprop=datePublished datetime='{PUBLISHED}'>today</time><meta itemprop=inLanguage content=en>"
    f"<time itemprop=dateModified datetime='{MODIFIED}'>now</time><span itemprop=articleSection>Sea</span>"
    "<span itemprop=author itemscope itemtype='https://schema.org/Person'><b itemprop=name>Ida Holm</b></span>"
    "<span itemprop=author>Per Lund</span><meta itemprop=keywords content='fog'>"
    "<meta itemprop=keywords content='pilots'><img itemprop=image src='/fog.jpg'></div>"
)
SYNTAXES = {
    "JSON-LD": (
        ld(
            headline="Harbour closed",
            datePublished=PUBLISHED,
            dateModified=MODIFIED,
            author=[{"@type": "Person", "name": "Ida Holm"}, {"@type": "Person", "name": "Per Lund"}],
            articleSection="Sea",
            keywords=["fog", "pilots"],
            image={"@type": "ImageObject", "url": "https://quay.example/fog.jpg"},
            inLanguage="en",
        ),
        "",
    ),
    "OpenGraph": (
        meta(
            ("og:title", "Harbour closed"),
            ("article:published_time", PUBLISHED),
            ("article:modified_time", MODIFIED),
            ("article:author", "https://social.example/ida"),
            ("article:section", "Sea"),
            ("article:tag", "fog"),
            ("article:tag", "pilots"),
            ("og:image", "https://quay.example/fog.jpg"),
        )
        + meta(("author", "Ida Holm"), ("author", "Per Lund"), ("content-language", "en")),
        "",
    ),
    "meta": (
        meta(
            ("twitter:title", "Harbour closed"),
            ("parsely-pub-date", PUBLISHED),
            ("last-modified", MODIFIED),
            ("author", "By Ida Holm"),
            ("author", "Per Lund"),
            ("parsely-section", "Sea"),
            ("news_keywords", "fog, pilots"),
            ("twitter:image", "/fog.jpg"),
        )
        + '<meta http-equiv="content-language" content="en">',
        "",
    ),
    "microdata": (
        "",
        MICRODATA,
    ),
}


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_every_field_is_read_from_every_syntax(syntax: str) -> None:
    head, before = SYNTAXES[syntax]
    found = page(before + ARTICLE.replace("<h1>Harbour closed</h1>", ""), head)
    assert found.title == "Harbour closed"
    assert found.published_raw == PUBLISHED
    assert (found.published_at, found.modified_at) == tuple(map(datetime.fromisoformat, (PUBLISHED, MODIFIED)))
    assert found.authors == ("Ida Holm", "Per Lund")
    assert (found.section, found.tags, found.language) == ("Sea", ("fog", "pilots"), "en")
    assert found.image == "https://quay.example/fog.jpg"
    assert found.paragraphs == SENTENCES


def test_the_page_itself_speaks_last() -> None:
    body = ARTICLE.replace("</h1>", f"</h1><time datetime='{PUBLISHED}'>today</time><a rel=author href=/i>Ida Holm</a>")
    found = page(body, "<link rel=image_src href=/fog.jpg>", "lang=en-GB")
    assert (found.title, found.published_raw, found.authors) == ("Harbour closed", PUBLISHED, ("Ida Holm",))
    assert (found.language, found.image) == ("en-GB", "https://quay.example/fog.jpg")


@pytest.mark.parametrize(
    "title, headings, site, expected",
    [
        ("Harbour closed | The Quay", "", "The Quay", "Harbour closed"),
        ("Harbour closed – The Quay", "", "The Quay", "Harbour closed"),
        ("A walk on The Quay", "", "The Quay", "A walk on The Quay"),
        ("The Quay", "", "The Quay", None),
        ("Harbour closed | The Quay", "<h1>The Quay</h1><h1>Harbour closed</h1>", "", "Harbour closed"),
        ("Harbour closed | The Quay", "<h1>News</h1><h1>Sea</h1>", "", "Harbour closed"),
        ("Harbour closed | Daily", "<h1>News</h1><h1>Sea</h1>", "", None),
        ("Sea | Harbour closed | Daily", "<h2>Sea</h2><h2>Harbour closed</h2>", "", "Harbour closed"),
        ("Daily: Harbour closed", "<h1>Harbour closed</h1>", "", "Harbour closed"),
        ("Harbour closed - Daily", "<h1><a href=/>Daily</a></h1><h2>Harbour closed</h2>", "", "Harbour closed"),
        ("Harbour closed - Daily", "<h1>Daily</h1><h2>Harbour closed</h2>", "", "Harbour closed"),
        ("Harbour closed - Daily", "<h1>Daily</h1>", "", None),
        ("Harbour closed", "<h1>Sea</h1>", "", "Harbour closed"),
        ("港口关闭_海港报", "<h1>港口关闭</h1>", "", "港口关闭"),
        ("Closed", "<h1>Harbour<br>closed</h1>", "", "Harbour closed"),
    ],
)
def test_the_name_of_the_site_is_no_part_of_the_title(
    title: str, headings: str, site: str, expected: str | None
) -> None:
    head = f"<title>{title}</title>" + meta(("og:site_name", site))
    assert page(headings + paragraphs(*SENTENCES), head).title == expected


LONG = "Council approves the tidal barrier after nine years, but pilots say that the gates will open at the wrong hour"


@pytest.mark.parametrize(
    "head, body, expected",
    [
        (meta(("og:title", "The Quay"), ("og:site_name", "The Quay")), ARTICLE, "Harbour closed"),
        (meta(("og:title", "Harbour closed - Local")), ARTICLE, "Harbour closed"),
        (meta(("og:title", "Harbour closed - The Quay"), ("og:site_name", "The Quay")), "", "Harbour closed"),
        (ld(headline=LONG[:100] + "..."), f"<h1>{LONG}</h1>", LONG),
        (ld(headline=LONG[:106]) + meta(("og:title", LONG)), "", LONG),
        (ld(headline="<em>Harbour</em> closed &amp; shut"), "", "Harbour closed & shut"),
        (ld(headline="Why it shut") + "<title>Harbour closed - Local</title>", ARTICLE, "Harbour closed"),
        (ld(headline="Harbour") + "<title>Harbour - Local</title>", ARTICLE, "Harbour"),
    ],
    ids=["site", "suffix", "named suffix", "ellipsis", "cut off", "markup", "two against one", "one against one"],
)
def test_a_stated_title_is_mended_by_what_the_page_shows(head: str, body: str, expected: str) -> None:
    assert page(body + paragraphs(*SENTENCES), head).title == expected


@pytest.mark.parametrize(
    "stated, names",
    [
        ("By Ida Holm and Per Lund", ("Ida Holm", "Per Lund")),
        ("Ida Holm; Per Lund & Ida Holm", ("Ida Holm", "Per Lund")),
        ("Salt and Pepper", ("Salt and Pepper",)),
        ("desk@quay.example", ()),
        ("www.quay.example", ()),
        ("https://social.example/ida", ()),
    ],
)
def test_authors_are_names_each_once(stated: str, names: tuple[str, ...]) -> None:
    assert page(ARTICLE, meta(("author", stated))).authors == names


def test_what_a_page_does_not_have_is_not_guessed() -> None:
    found = page(paragraphs(*SENTENCES))
    assert (found.title, found.published_at, found.modified_at, found.language) == (None, None, None, None)
    assert (found.authors, found.section, found.tags, found.image, found.canonical_url) == ((), None, (), None, None)


LIST = "<div itemscope itemtype='https://schema.org/Article'><b itemprop=headline>One of many</b></div>"
CONFLICTS: dict[str, tuple[str, str, Callable[[ParsedPage], object], object]] = {
    "JSON-LD before OpenGraph": (
        ld(headline="Stated") + meta(("og:title", "Shared")),
        ARTICLE,
        lambda found: found.title,
        "Stated",
    ),
    "OpenGraph before microdata": (
        meta(("og:title", "Shared")),
        LIST + ARTICLE,
        lambda found: found.title,
        "Shared",
    ),
    "microdata before meta": (
        meta(("twitter:title", "Tweeted")),
        LIST + ARTICLE,
        lambda found: found.title,
        "One of many",
    ),
    "meta before the page": (meta(("twitter:title", "Tweeted")), ARTICLE, lambda found: found.title, "Tweeted"),
    "a list of articles says nothing": ("", LIST * 2 + ARTICLE, lambda found: found.title, "Harbour closed"),
    "an impossible date is told": (
        ld(datePublished="2022-02-31"),
        ARTICLE,
        lambda found: (found.published_raw, found.published_at),
        ("2022-02-31", None),
    ),
    "an image that is no web address": (
        ld(image="data:image/png;base64,AAAA") + meta(("og:image", "https://quay.example/fog.jpg")),
        ARTICLE,
        lambda found: found.image,
        "https://quay.example/fog.jpg",
    ),
    "the first of several sections and images": (
        ld(articleSection=["Sea", "Town"], image=["https://quay.example/1.jpg", "https://quay.example/2.jpg"]),
        ARTICLE,
        lambda found: (found.section, found.image),
        ("Sea", "https://quay.example/1.jpg"),
    ),
}


@pytest.mark.parametrize("name", CONFLICTS)
def test_syntaxes_that_disagree_are_believed_in_their_order(name: str) -> None:
    head, body, read, expected = CONFLICTS[name]
    assert read(page(body, head)) == expected


def test_what_json_ld_names_by_id_is_looked_up_in_its_graph() -> None:
    person = {"@type": "Person", "@id": "https://quay.example/#ida", "name": "Ida Holm"}
    picture = {"@type": "ImageObject", "@id": "https://quay.example/#fog", "url": "https://quay.example/fog.jpg"}
    article = {"@type": "Article", "author": {"@id": person["@id"]}, "image": [{"@id": picture["@id"]}]}
    head = f'<script type="application/ld+json">{json.dumps({"@graph": [article, person, picture]})}</script>'
    found = page(ARTICLE, head)
    assert (found.authors, found.image) == (("Ida Holm",), "https://quay.example/fog.jpg")


def test_outlinks_are_those_of_the_article_absolute_and_once() -> None:
    links = (
        "<a href='/news/1?utm_source=x#a'>one</a> <a href='https://quay.example/news/1'>again</a> <a href='#top'>up</a>"
        "<a href='mailto:a@quay.example'>mail</a> <a href='//port.example/chart'>chart</a> <a href='http://['>no</a>"
    )
    related = "<div class=related><a href='/news/9'>nine</a></div>"
    article = (
        f"<article>{paragraphs(SENTENCES[0] + links, *SENTENCES[1:3])}{related}{paragraphs(*SENTENCES[3:])}</article>"
    )
    menu = "<ul class=menu><li><a href=/sea>Sea</a></li></ul><div><a href=/about>About</a></div>"
    found = page(menu + article)
    assert found.outlinks == ("https://quay.example/news/1", "https://port.example/chart")


def test_outlinks_are_bounded_and_relative_to_the_base_of_the_page() -> None:
    links = "".join(f"<a href='{number}'>{number}</a> " for number in range(600))
    found = page(f"<article>{paragraphs(*SENTENCES)}<p>{SENTENCES[0]} {links}</p></article>", "<base href='/b/'>")
    assert len(found.outlinks) == 500
    assert found.outlinks[:2] == ("https://quay.example/b/0", "https://quay.example/b/1")


@pytest.mark.parametrize(
    "fields",
    [
        {"dateModified": MODIFIED, "articleSection": "Sea", "keywords": "fog, pilots, fog", "image": "/fog.jpg"},
        {
            "updated_at": MODIFIED,
            "category": {"name": "Sea"},
            "tags": [{"name": "fog"}, "pilots"],
            "featured_image": {"src": "/fog.jpg"},
        },
    ],
    ids=["schema.org", "a content system"],
)
def test_a_json_document_has_the_same_fields(fields: dict[str, Any]) -> None:
    body = json.dumps({"title": "Harbour closed", "body": "\n".join(SENTENCES), **fields}).encode()
    found = parse(Payload(source="quay", body=body, url=URL), SourceProfile(name="quay"))
    assert (found.section, found.tags, found.image) == ("Sea", ("fog", "pilots"), "https://quay.example/fog.jpg")
    assert found.modified_at == datetime.fromisoformat(MODIFIED)
    assert (found.outlinks, found.tier) == ((), None)


def test_a_menu_before_a_control_character_is_left_out() -> None:
    found = page("<p>Fog lay on the quay.</p><ul class=menu><li>Home</ul> until\x01 noon<p>Then it rose.</p>")
    assert "Home" not in " ".join(found.paragraphs)
    assert "Then it rose." in found.paragraphs
