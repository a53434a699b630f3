from __future__ import annotations

import re
import tomllib
from collections import Counter
from itertools import combinations, pairwise
from typing import Any

import pytest

from tasks.errors import PenstockError
from tasks.steps.fingerprint import content_hash
from tasks.steps.page import ParsedPage, Payload, SourceProfile
from tasks.steps.parse import parse
from worker.demo.formats import TIMEZONE, Article, Format
from worker.demo.model import FAILURES, Answer, Kind
from worker.demo.server import demo_profile
from worker.demo.site import SOURCE, Site, build_site

SEEDS = (1, 2, 20_260)
NAMED = re.compile(rb'(?:"id": ?|data-item-id=)"([0-9]+)"')
PROFILE = SourceProfile(name=SOURCE, timezone=TIMEZONE)


@pytest.fixture(scope="module", params=SEEDS)
def site(request: pytest.FixtureRequest) -> Site:
    return build_site(request.param)


def parsed(answer: Answer) -> ParsedPage:
    return parse(Payload(source=SOURCE, body=answer.body, content_type=answer.content_type), PROFILE)


def of_kind_and_format(site: Site, kind: Kind, form: Format) -> Answer:
    page = next(page for page in site.pages.values() if page.kind is kind and page.article.format == form)
    return page.answer(1)


def crawled(site: Site, *, follow: set[Kind]) -> set[str]:
    """Return every ID that one hears of when only pages of these kinds are followed."""
    heard, waiting = set(site.start), list(site.start)
    while waiting:
        page = site.pages[waiting.pop()]
        if page.kind in follow:
            new = {found.decode() for found in NAMED.findall(page.answers[-1].body)} - heard
            heard |= new
            waiting += new
    return heard


def test_a_seed_always_gives_the_same_site() -> None:
    assert build_site(7, 60) == build_site(7, 60)


def test_seeds_give_different_sites() -> None:
    one, other = build_site(7, 60), build_site(8, 60)
    texts = [{page.article.paragraphs for page in made.pages.values()} for made in (one, other)]
    assert not texts[0] & texts[1]


def test_a_site_too_small_for_what_is_planted_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 40"):
        build_site(1, 39)
    small = build_site(1, 40)
    assert crawled(small, follow=set(Kind)) == small.reachable


def test_every_planted_kind_is_there_and_most_pages_are_ordinary(site: Site) -> None:
    kinds = Counter(page.kind for page in site.pages.values())
    assert set(kinds) == set(Kind)
    assert kinds[Kind.ORDINARY] + kinds[Kind.EDITED] + kinds[Kind.RESHUFFLED] == 300


def test_what_is_reachable_is_what_the_served_bytes_name(site: Site) -> None:
    unreachable = set(site.of_kind(Kind.UNREACHABLE))
    assert len(unreachable) == 6
    assert crawled(site, follow=set(Kind)) == site.reachable == site.pages.keys() - unreachable


def test_everything_is_found_without_following_failures_and_duplicates(site: Site) -> None:
    assert crawled(site, follow={Kind.ORDINARY, Kind.EDITED, Kind.RESHUFFLED}) == site.reachable


def test_expected_pages_and_failures_share_out_what_is_reachable(site: Site) -> None:
    assert site.expected_pages | site.expected_failures.keys() == site.reachable
    assert not site.expected_pages & site.expected_failures.keys()
    assert set(site.expected_failures.values()) == set(FAILURES.values())


def test_start_pages_are_ordinary_and_in_all_formats(site: Site) -> None:
    assert {site.pages[item].kind for item in site.start} == {Kind.ORDINARY}
    assert {site.pages[item].article.format for item in site.start} == {"vardump", "html", "json"}
    assert [(visit.id, visit.body) for visit in site.start_pages()] == [
        (item, site.pages[item].answer(1).body) for item in site.start
    ]


def test_every_page_names_six_to_fourteen_others_once_each(site: Site) -> None:
    for page in site.pages.values():
        if page.kind not in FAILURES:
            assert 6 <= len(page.related) <= 14
            assert len(set(page.related)) == len(page.related)
            assert page.id not in page.related


def test_the_parsers_read_back_exactly_what_the_site_knows(site: Site) -> None:
    for item in site.expected_pages:
        page = site.pages[item]
        read, article = parsed(page.answers[-1]), page.article
        assert tuple(related.id for related in read.related) == page.related
        assert [related.title for related in read.related] == [
            site.pages[related].article.listed_title for related in page.related
        ]
        assert [related.uploaded_at for related in read.related] == [
            site.pages[related].article.uploaded for related in page.related
        ]
        assert read.published_at is not None
        assert read.published_at.replace(tzinfo=None) == article.published
        assert read.paragraphs == expected_paragraphs(article)
        assert (read.wire_service, read.desk_code) == (article.wire_service, article.desk_code)
        if article.format != "vardump":
            assert (read.title, read.authors, read.language) == (article.title, article.authors, article.language)


def expected_paragraphs(article: Article) -> tuple[str, ...]:
    *first, last = article.paragraphs
    return (*first, f"{last}, {article.wire_service} reported." if article.wire_service else last)


def test_pages_that_cannot_be_parsed_fail_with_the_class_that_is_expected(site: Site) -> None:
    for item, expected in site.expected_failures.items():
        answer = site.pages[item].answers[-1]
        if answer.status == 200:
            with pytest.raises(PenstockError) as failed:
                parsed(answer)
            assert failed.value.error_class == expected


def test_pages_that_are_refused_once_are_whole_at_the_second_request(site: Site) -> None:
    for item in site.of_kind(Kind.BUSY_ONCE, Kind.CUT_ONCE):
        first, second = site.pages[item].answer(1), site.pages[item].answer(2)
        assert (first.status == 503 and first.retry_after) or (first.status == 200 and len(first.body) < 5000)
        assert second.status == 200
        assert parsed(second).related
        assert site.pages[item].answer(99) == second
    (cut,) = site.of_kind(Kind.CUT_ONCE)
    with pytest.raises(PenstockError) as failed:
        parsed(site.pages[cut].answer(1))
    assert failed.value.error_class == "Truncated"


def test_duplicates_have_the_content_of_their_original_and_no_other_page_does(site: Site) -> None:
    hashes = {item: content_hash(parsed(site.pages[item].answers[-1])) for item in site.expected_pages}
    assert all(hashes[copy] == hashes[original] for copy, original in site.duplicates)
    assert len(site.expected_pages) - len(set(hashes.values())) == len(site.duplicates) == 9
    formats = {(site.pages[a].article.format, site.pages[b].article.format) for a, b in site.duplicates}
    assert ("vardump", "vardump") in formats
    assert ("json", "html") in formats


def test_an_edit_changes_the_content_and_a_reshuffle_does_not(site: Site) -> None:
    for item in site.of_kind(Kind.EDITED, Kind.RESHUFFLED):
        page = site.pages[item]
        before, after = parsed(page.answer(1)), parsed(page.answer(1, edited=True))
        if page.kind is Kind.EDITED:
            assert content_hash(before) != content_hash(after)
            assert before.related == after.related
        else:
            assert content_hash(before) == content_hash(after)
            assert before.related != after.related
            assert {related.id for related in after.related} <= site.reachable
    assert {visit.id for visit in site.second_visit()} >= set(site.of_kind(Kind.EDITED, Kind.RESHUFFLED))


def test_no_two_articles_are_alike_by_accident(site: Site) -> None:
    """Word 2-shingles at .45 are the rule for near-duplicates."""
    copies = {copy for copy, _ in site.duplicates}
    shingles = []
    for page in site.pages.values():
        if page.id not in copies:
            words = re.findall(r"\w+", " ".join(page.article.paragraphs).lower())
            shingles.append(frozenset(pairwise(words)))
    assert max(len(a & b) / len(a | b) for a, b in combinations(shingles, 2)) < 0.45


def test_a_dump_counts_bytes_and_not_characters(site: Site) -> None:
    longer = 0
    for page in site.pages.values():
        if page.article.format == "vardump" and page.kind is Kind.ORDINARY:
            text, _, dump = page.answer(1).body.rpartition(b"string(")
            count, _, rest = dump.partition(b') "')
            assert len(rest) == int(count) + 1
            assert rest.endswith(b'} ]"')
            assert b"} ,{" in rest
            assert text.count(b"\n") >= 5
            longer += len(rest.decode()) < len(rest)
    assert longer > 5


def test_the_date_line_has_the_form_of_the_format(site: Site) -> None:
    first, _, _ = of_kind_and_format(site, Kind.ORDINARY, "vardump").body.partition(b"\n")
    assert re.fullmatch(rb"[A-Z][a-z]{2} (?:Jan|Feb|Mar) [0-9]{2}, 2016 [0-9]{2}:[0-9]{2}:[0-9]{2}", first)


def test_the_demo_profile_is_toml_and_fits_the_site(site: Site) -> None:
    loaded = tomllib.loads(demo_profile(8123))["sources"][SOURCE]
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in loaded.items()
    }
    profile = SourceProfile(name=SOURCE, **fields)
    assert profile.hosts == profile.allow_private_hosts == ("127.0.0.1:8123",)
    assert profile.item_url == "http://127.0.0.1:8123/news/{id}"
    assert profile.timezone == TIMEZONE
    assert profile.max_items_per_page >= 14
    assert profile.max_items_per_run is not None
    assert profile.max_items_per_run >= len(site.pages)
