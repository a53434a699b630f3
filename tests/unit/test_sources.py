"""The source profiles: what is read, and how each mistake is told."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import UsageError
from tasks.steps.page import Place, SourceProfile, Start
from worker.sources import _read, _Table, check, load_profiles


def problems(text: str) -> list[str]:
    return _read("sources.toml", text.encode())[1]


def test_the_shipped_profile_is_read() -> None:
    profiles = load_profiles()
    assert "alalam" in profiles.names()
    alalam = profiles.get("alalam")
    assert alalam.hosts == ("en.alalam.ir",)
    assert alalam.timezone == "Asia/Tehran"
    assert alalam.parser == "vardump"
    assert alalam.item_url == "http://en.alalam.ir/news/{id}"
    assert (alalam.max_depth, alalam.concurrency) == (2, 1)
    assert alalam.delay_seconds >= 1


def test_a_source_without_a_profile_gets_the_default_under_its_name() -> None:
    profile = load_profiles().get("unknown")
    assert profile == SourceProfile(name="unknown")
    assert (profile.parser, profile.timezone, profile.item_url, profile.max_depth) == (None, "UTC", None, 0)


def test_a_profile_of_the_user_takes_the_place_of_a_shipped_one_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[sources.alalam]\ntimezone = "UTC"\n[sources.other]\ndelay_seconds = 3\n')
    profiles = load_profiles(path)
    assert profiles.get("alalam") == SourceProfile(name="alalam")
    assert profiles.get("other").delay_seconds == 3.0
    assert profiles.names() == ["alalam", "other"]


def test_the_checked_table_has_the_fields_and_defaults_of_the_profile() -> None:
    (found,) = _read("sources.toml", b"[sources.a]")[0].values()
    assert found == (SourceProfile(name="a"), ())
    names = {field.name for field in dataclasses.fields(SourceProfile)}
    assert {"json" if name == "json_" else name for name in _Table.model_fields} - {"samples"} == names - {
        "name",
        "version",
    }


def test_every_field_arrives_where_it_belongs() -> None:
    text = """
    [sources."a.b-c_1"]
    hosts = ["A.Example", "127.0.0.1:8000", "[::1]:80"]
    timezone = "Europe/Paris"
    parser = "html"
    item_url = "https://a.example/n?id={id}"
    max_depth = 1
    max_items_per_page = 2
    max_items_per_run = 3
    max_items_per_day = 7
    recrawl_min = "90s"
    recrawl_max = "2w"
    delay_seconds = 0.5
    concurrency = 4
    max_attempts = 6
    allow_private_hosts = ["127.0.0.1:8000"]
    """
    found, told = _read("sources.toml", text.encode())
    assert told == []
    assert found["a.b-c_1"].profile == SourceProfile(
        name="a.b-c_1",
        hosts=("a.example", "127.0.0.1:8000", "[::1]:80"),
        timezone="Europe/Paris",
        parser="html",
        item_url="https://a.example/n?id={id}",
        max_depth=1,
        max_items_per_page=2,
        max_items_per_run=3,
        max_items_per_day=7,
        recrawl_min=90_000_000,
        recrawl_max=1_209_600_000_000,
        delay_seconds=0.5,
        concurrency=4,
        max_attempts=6,
        allow_private_hosts=("127.0.0.1:8000",),
        version=found["a.b-c_1"].profile.version,
    )


@pytest.mark.parametrize(
    "line,told",
    [
        ('timezone = "Asia/Tehrn"', "timezone: 'Asia/Tehrn' is not a known time zone; did you mean 'Asia/Tehran'?"),
        ('timezone = "Europe"', "timezone: 'Europe' is not a known time zone"),
        ('timezone = "../UTC"', "timezone: '../UTC' is not a known time zone"),
        ("max_dept = 2", "max_dept: is not a field of a source; did you mean 'max_depth'?"),
        ("qqq = 2", "qqq: is not a field of a source"),
        ('parser = "htlm"', "parser: 'htlm' is not a parser; did you mean 'html'?"),
        ('parser = "x"', "parser: 'x' is not a parser; there are vardump, html, json"),
        ('item_url = "http://x/news"', "item_url: 'http://x/news' must have {id} in its path or query"),
        ('item_url = "http://x/{id}/{n}"', "item_url: 'http://x/{id}/{n}' must have {id} in its path or query"),
        ('item_url = "http://{id}.x/"', "item_url: 'http://{id}.x/' must have {id} in its path or query"),
        ('item_url = "ftp://x/{id}"', "item_url: 'ftp://x/{id}' must be an http:// or https:// URL"),
        ('item_url = "http://[x/{id}"', "item_url: 'http://[x/{id}' is not a URL"),
        ('hosts = ["http://x"]', "hosts[0]: 'http://x' must be a host alone, without scheme and path"),
        ('hosts = ["a", "b c"]', "hosts[1]: 'b c' is not a host or host:port"),
        ('hosts = ["müller.de"]', "hosts[0]: 'müller.de' must be in its ASCII form: 'xn--mller-kva.de'"),
        ('hosts = "x"', "hosts: 'x' must be a list in brackets"),
        ("hosts = [3]", "hosts[0]: 3 must be a string in quotes"),
        ('allow_private_hosts = [""]', "allow_private_hosts[0]: '' is not a host or host:port"),
        ("max_depth = -1", "max_depth: -1 must be greater than or equal to 0"),
        ("max_depth = 1.5", "max_depth: 1.5 must be a whole number"),
        ('max_depth = "1"', "max_depth: '1' must be a whole number"),
        ("max_depth = true", "max_depth: True must be a whole number"),
        ("concurrency = 0", "concurrency: 0 must be greater than or equal to 1"),
        ("max_attempts = 0", "max_attempts: 0 must be greater than or equal to 1"),
        ("delay_seconds = -0.1", "delay_seconds: -0.1 must be greater than or equal to 0"),
        ("delay_seconds = inf", "delay_seconds: inf must be a finite number"),
        ("recrawl_min = 15", "recrawl_min: 15 must be a duration in quotes, such as '15m', '6h' or '30d'"),
        ('recrawl_min = "0m"', "recrawl_min: '0m' must be a duration in quotes"),
        ('recrawl_min = "1.5h"', "recrawl_min: '1.5h' must be a duration in quotes"),
        ('recrawl_min = "6h"', "recrawl_min: no page may be fetched, as there are neither hosts nor item_url"),
        ('recrawl_max = "6h"', "recrawl_max: without recrawl_min no page is fetched again"),
        ("max_items_per_day = -1", "max_items_per_day: -1 must be greater than or equal to 0"),
        ('delay_seconds = "1s"', "delay_seconds: '1s' must be a number"),
    ],
)
def test_a_mistake_is_told_with_its_place(line: str, told: str) -> None:
    (problem,) = problems(f"[sources.mine]\n{line}\n")
    assert problem.startswith(f"sources.toml: sources.mine.{told}")


def test_a_longest_time_below_the_shortest_is_told() -> None:
    text = '[sources.a]\nhosts = ["a.example"]\nrecrawl_min = "2h"\nrecrawl_max = "119m"'
    assert problems(text) == ["sources.toml: sources.a.recrawl_max: is shorter than recrawl_min"]
    assert problems(text.replace("119m", "120m")) == []


def test_start_urls_are_read() -> None:
    text = """
    [sources.a]
    hosts = ["a.example"]
    [[sources.a.start]]
    url = "HTTPS://a.example/news sitemap.xml"
    every = "15m"
    [[sources.a.start]]
    url = "https://a.example/"
    every = "1h"
    parser = "links"
    """
    found, told = _read("sources.toml", text.encode())
    assert told == []
    profile = found["a"].profile
    assert profile.start == (
        Start(url="https://a.example/news%20sitemap.xml", every=900_000_000),
        Start(url="https://a.example/", every=3_600_000_000, parser="links"),
    )
    assert profile.max_items_per_run is None  # it goes on by itself
    bounded = _read("sources.toml", text.replace("[[", "max_items_per_run = 5\n[[", 1).encode())[0]
    assert bounded["a"].profile.max_items_per_run == 5


def test_only_what_decides_how_a_start_url_is_read_makes_another_profile() -> None:
    def version(every: str, parser: str) -> str | None:
        table = f'url = "http://a.example/"\nevery = "{every}"\nparser = "{parser}"'
        text = f'[sources.a]\nhosts = ["a.example"]\n[[sources.a.start]]\n{table}'
        return _read("sources.toml", text.encode())[0]["a"].profile.version

    assert version("1h", "links") == version("2h", "links") != version("1h", "feed")


@pytest.mark.parametrize(
    "start,told",
    [
        ('url = "http://b.example/"\nevery = "1h"', "[0].url: its host is not among those of the source"),
        ('url = "ftp://a.example/"\nevery = "1h"', "[0].url: 'ftp://a.example/' must be an http:// or https:// URL"),
        ('url = "/feed"\nevery = "1h"', "[0].url: '/feed' must be an http:// or https:// URL"),
        ('url = "http://a.example/"\nevery = "5s"', "[0].every: '5s' is too often: once a minute at most"),
        ('url = "http://a.example/"\nevery = 5', "[0].every: 5 must be a duration in quotes, such as '15m'"),
        ('every = "1h"', "[0].url: {'every': '1h'} is missing"),
        ('url = "http://a.example/"\nevery = "1h"\nparser = "htlm"', "[0].parser: 'htlm' is not a parser; did you"),
        ('url = "http://a.example/"\nevery = "1h"\neach = 1', "[0].each: is not a field"),
    ],
)
def test_a_mistake_in_a_start_url_is_told_with_its_place(start: str, told: str) -> None:
    (problem,) = problems(f'[sources.a]\nhosts = ["a.example"]\n[[sources.a.start]]\n{start}\n')
    assert problem.startswith(f"sources.toml: sources.a.start{told}")


def test_start_urls_that_contradict_the_source_are_told() -> None:
    start = '[[sources.a.start]]\nurl = "http://a.example/"\nevery = "1h"\n'
    twice = f'[sources.a]\nhosts = ["a.example"]\n{start}{start}'
    assert problems(twice) == ["sources.toml: sources.a.start[1].url: 'http://a.example/' is there twice"]
    told = "sources.toml: sources.a.start[0].url: no page may be fetched, as there are neither hosts nor item_url"
    assert problems(f"[sources.a]\n{start}") == [told]


def test_an_item_url_outside_the_hosts_is_told() -> None:
    text = '[sources.a]\nhosts = ["a.example"]\nitem_url = "http://b.example:81/{id}"'
    told = "sources.toml: sources.a.item_url: its host 'b.example:81' is not among hosts"
    assert problems(text) == [told]
    assert problems(text.replace("a.example", "b.example")) == [told]  # another port is another service
    assert problems(text.replace("a.example", "b.example:81")) == []
    assert problems(text.replace("a.example", "b.example").replace(":81", ":443")) == []


@pytest.mark.parametrize(
    "text,told",
    [
        ("[source.a]", "source: is not known here; did you mean 'sources'?"),
        ("sources = 3", "sources: must be tables like [sources.NAME]"),
        ("[sources]\na = 3", "sources.a: must be a table, [sources.a]"),
        ('[sources."a b"]', "sources.'a b': a name is 1 to 100 letters, digits, '.', '_' and '-'"),
        ("[sources.a]\nx = = 1", "line 2, column 5: Invalid value"),
        ("[sources.a]\n[sources.a]", "line 2, column 11: Cannot declare ('sources', 'a') twice"),
        ("[sources.a", "end of document: Expected ']' at the end of a table declaration"),
    ],
)
def test_a_file_that_is_wrong_as_a_whole_is_told(text: str, told: str) -> None:
    assert problems(text) == [f"sources.toml: {told}"]


def test_all_problems_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text('x = 1\n[sources.a]\ntimezone = "X"\nparser = "y"\n[sources.b]\nmax_depth = -1\n')
    assert len(check(path)) == 4
    assert all(line.startswith("my.toml: ") for line in check(path))
    with pytest.raises(UsageError) as caught:
        load_profiles(path)
    assert str(caught.value).splitlines() == check(path)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    assert check(tmp_path / "x.toml") == [f"x.toml: {tmp_path}/x.toml cannot be read: No such file or directory"]
    assert check(tmp_path)[0].endswith("cannot be read: Is a directory")


def test_a_file_that_is_not_utf_8_is_told_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(b"[sources.a]\n# caf\xe9\n")
    assert check(path) == ["x.toml: line 2: the file is not UTF-8"]


def test_a_byte_order_mark_is_no_mistake() -> None:
    assert _read("x", b"\xef\xbb\xbf[sources.a]")[1] == []


_values = st.one_of(
    st.text(), st.integers(), st.floats(), st.booleans(), st.lists(st.text(), max_size=2), st.just({"a": 1})
)


@given(st.dictionaries(st.sampled_from([*_Table.model_fields, "other"]), _values))
def test_any_table_is_a_profile_or_a_list_of_single_lines(table: dict[str, object]) -> None:
    from worker.sources import _source  # noqa: PLC0415 (only here)

    found = _source("a", table)
    if isinstance(found, list):
        assert found
        assert all(line.startswith("sources.a.") and len(line.splitlines()) == 1 for line in found)
    else:
        assert found.profile.name == "a"


def test_retries_by_error_class_are_read_and_wrong_ones_are_told(tmp_path: Path) -> None:
    path = tmp_path / "sources.toml"
    path.write_text("[sources.s]\nretries = { Truncated = 8, Poison = 0 }\n", encoding="utf-8")
    assert load_profiles(path).get("s").retries == {"Truncated": 8, "Poison": 0}
    path.write_text('[sources.s]\nretries = { Truncatd = 8, Poison = -1, Malformed = "3" }\n', encoding="utf-8")
    told = check(path)
    assert any(
        "sources.s.retries.Truncatd: 'Truncatd' is not the error class of a page; did you mean 'Truncated'?" in one
        for one in told
    ), told
    assert any("sources.s.retries.Poison: -1 must be greater than or equal to 0" in one for one in told), told
    assert any("sources.s.retries.Malformed: '3' must be a whole number" in one for one in told), told


@pytest.mark.parametrize(
    "line,told",
    [
        ("html = 3", "html: 3 must be a table"),
        ('html.title = "h1..x"', "html.title: 'h1..x' is not a CSS selector: Expected ident, got <DELIM '.' at 3>"),
        ('html.titel = "h1"', "html.titel: is no field that has a place; did you mean 'title'?"),
        ('json.outlinks = "x"', "json.outlinks: is no field that has a place; there are title, published_at"),
        ("html.title = 3", "html.title: 3 must be a string in quotes or a table, as { select = "),
        ("html.title = []", "html.title: must not be an empty list"),
        ('html.title = ["h1", 3]', "html.title: 3 must be a string in quotes or a table"),
        ('html.title = { attribute = "x" }', "html.title: {'attribute': 'x'} must be a string in quotes or a table"),
        ('html.title = { select = "p", atribute = "x" }', "html.title: 'atribute' is not known here; did you mean"),
        ('html.title = { select = "p", attribute = "" }', "html.title: attribute must be a string of 1 to 1000 char"),
        ('html.title = { select = "p", pattern = "(a" }', "html.title: '(a' is not a pattern: missing ): (a"),
        ('html.title = { select = "p", pattern = "a" }', "html.title: 'a' must have one group in parentheses"),
        ('html.remove = { select = "p", pattern = "(a)" }', "html.remove: elements are removed as a whole"),
        ('json.title = "data..x"', "json.title: 'data..x' is not a path: Expecting"),
        ('json.title = { select = "x", attribute = "y" }', "json.title: attribute is for HTML"),
        ('html.title = "h1"\nparser = "json"', "html: is not read where parser is 'json'"),
        ('json.title = "x"\nparser = "feed"', "json: is not read where parser is 'feed'"),
        ("samples = 3", "samples: 3 must be a list in brackets"),
        ('samples = [{ title = "x" }]', 'samples[0]: must be a table with file = "…"'),
        (
            'samples = [{ file = "x" }, { file = "y", titel = "x" }]',
            "samples[1]: 'titel' is not a field of a page; did",
        ),
        ('samples = [{ file = "x", url = 3 }]', "samples[0]: url must be a string in quotes"),
        ('samples = [{ file = "x", tags = [1] }]', "samples[0]: tags must be a string, a list of strings, or the num"),
        (
            'samples = [{ file = "x", published_at = 2024-01-01T00:00:00 }]',
            "samples[0]: published_at must have its off",
        ),
        ('samples = [{ file = "x", published_at = 2024-01-01 }]', "samples[0]: published_at must be a string, a list"),
    ],
)
def test_a_mistake_about_fields_is_told_with_its_place(line: str, told: str) -> None:
    (problem,) = problems(f"[sources.mine]\n{line}\n")
    assert problem.startswith(f"sources.toml: sources.mine.{told}")


def profile_of(text: str) -> SourceProfile:
    found, told = _read("sources.toml", f"[sources.a]\n{text}".encode())
    assert told == []
    return found["a"].profile


def test_places_are_read_one_by_one_and_in_lists() -> None:
    found, told = _read(
        "sources.toml",
        b"""[sources.a]
        html.title = "h1"
        html.published_at = ["time", { select = ".when", attribute = "title", pattern = "on (.*)" }]
        json.tags = { select = "data.tags" }
        [[sources.a.samples]]
        file = "x.html"
        url = "http://a.example"
        title = "T"
        tags = ["a"]
        paragraphs = 3
        published_at = 2024-03-02T14:05:00+01:00
        """,
    )
    assert told == []
    assert found["a"].profile.html == {
        "title": (Place(select="h1"),),
        "published_at": (Place(select="time"), Place(select=".when", attribute="title", pattern="on (.*)")),
    }
    assert found["a"].profile.json == {"tags": (Place(select="data.tags"),)}
    (sample,) = found["a"].samples
    assert (sample.file, sample.url) == ("x.html", "http://a.example")
    assert sample.expected == {
        "title": "T",
        "tags": ("a",),
        "paragraphs": 3,
        "published_at": "2024-03-02T14:05:00+01:00",
    }


def test_a_profile_has_a_version_that_tells_how_pages_are_read() -> None:
    one = profile_of('html.title = "h1"\nhtml.tags = "p"')
    assert one.version == profile_of('html.tags = "p"\nhtml.title = "h1"\nmax_depth = 3\nhosts = ["a"]').version
    others = (
        'html.title = "h2"', 'json.title = "h1"', 'html.title = { select = "h1", attribute = "x" }', 'parser = "html"',
        'timezone = "Europe/Oslo"', 'date_order = "dmy"',
    )  # fmt: skip
    versions = [one.version, *(profile_of(other).version for other in others)]
    assert len(set(versions)) == len(others) + 1
    assert profile_of("max_depth = 3").version is None


def test_the_profiles_tell_versions_and_samples(tmp_path: Path) -> None:
    path = tmp_path / "sources.toml"
    path.write_text('[sources.a]\nhtml.title = "h1"\nsamples = [{ file = "x" }]\n[sources.b]\n')
    profiles = load_profiles(path)
    assert profiles.versions() == {name: profiles.get(name).version for name in ("a", "alalam")}
    assert [len(profiles.samples(name)) for name in ("a", "b", "c")] == [1, 0, 0]
