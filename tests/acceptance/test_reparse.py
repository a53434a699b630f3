"""Newer parsers over stored pages, and the raw archive, through the installed command. The parser is a plug-in."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import Penstock, wait_for
from tests.support.plugins import SOURCE, install

# The second version leaves advertisements out, finds the language, and meets a page that it cannot survive.
BETTER = """
import ctypes
from tasks.errors import Malformed
from tasks.steps.page import ParsedPage, Payload, Related, SourceProfile
from tasks.steps.parse import Parser


def parse(payload: Payload, profile: SourceProfile) -> ParsedPage:
    title, *lines = payload.body.decode().splitlines()
    if title == "=== deadly":
        ctypes.string_at(0)
    if title == "=== odd":
        raise Malformed("odd pages are read no more")
    related = tuple(Related(id=line[4:]) for line in lines if line.startswith("see "))
    return ParsedPage(
        parser="{name}", parser_version={version}, title=title[4:], language="en", related=related,
        paragraphs=tuple(line for line in lines if line != "buy this" and not line.startswith("see ")),
    )


parser = Parser(name="{name}", version={version}, interface=1, parse=parse)
"""
SLOW = SOURCE.replace("    title, *lines", "    import time\n    time.sleep(0.02)\n    title, *lines")
PAGES = {
    "1": "=== Harbour closed\nFog again.\nbuy this",
    "2": "=== Harbour open\nNo fog.",
    "3": "=== Ferry late\nA storm.\nsee 77",
    "4": "=== deadly\nHarmless once.",
    "5": "=== odd\nFine once.",
    "6": "=== gone\nIts bytes are.",
}
DIFFERENCES = """\
site/1
  paragraphs
    - buy this
  language: none → en
site/2
  language: none → en
site/3
  paragraphs
    - see 77
  language: none → en
  related
    + 77
"""


@pytest.fixture
def plugins(penstock: Penstock) -> Path:
    """A folder for plug-ins, with the first version of one."""
    folder = penstock.home.parent / "plugins"
    folder.mkdir()
    penstock.environ["PYTHONPATH"] = str(folder)
    penstock.home.mkdir(exist_ok=True)
    profile = '[sources.site]\nparser = "mine"\nitem_url = "http://127.0.0.1:9/{id}"\nmax_depth = 1\n'
    (penstock.home / "sources.toml").write_text(profile)
    install(folder, version=1)
    return folder


def push(penstock: Penstock, pages: dict[str, str]) -> None:
    penstock.push_lines([json.dumps({"source": "site", "item": item, "body": text}) for item, text in pages.items()])
    penstock.run("work", "--drain", "--only", "ingest,retry")


def sql(penstock: Penstock, text: str, *values: object) -> list[Any]:
    with closing(sqlite3.connect(penstock.home / "penstock.db")) as store, store:
        return store.execute(text, values).fetchall()


def test_a_newer_parser_is_looked_at_then_used_and_the_archive_brings_the_same_pages_elsewhere(
    penstock: Penstock, plugins: Path
) -> None:
    push(penstock, PAGES)
    before = penstock.export()
    sql(penstock, "DELETE FROM payload WHERE size = ?", len(PAGES["6"]))
    install(plugins, version=2, source=BETTER)

    told = penstock.run("reparse", "--dry-run", code=1)
    assert told.startswith(DIFFERENCES)
    assert "site/4: Poison: the parser was ended by SIGSEGV" in told
    assert "site/5: Malformed: odd pages are read no more\n" in told
    assert "site/6" not in told
    assert "the bytes of 1 pages are not kept any more" in told

    done = penstock.json("reparse", code=1)
    numbers = {name: done[name] for name in ("pages", "fields_changed", "content_changed", "failed", "without_bytes")}
    assert numbers == {"pages": 6, "fields_changed": 1, "content_changed": 2, "failed": 2, "without_bytes": 1}
    assert (done["by_field"], done["by_error_class"]) == (
        {"language": 3, "paragraphs": 2, "related": 1},
        {"Malformed": 1, "Poison": 1},
    )
    (open_harbour,) = [one for one in done["differences"] if one["key"] == "site/2"]
    assert open_harbour == {
        "key": "site/2",
        "state": "fields_changed",
        "fields": {"language": {"old": None, "new": "en"}},
    }
    after = penstock.export()
    assert {key: after[key]["revision"] for key in after} == {f"site/{n}": 2 if n in {1, 3} else 1 for n in range(1, 7)}
    assert after["site/1"]["paragraphs"] == ["Fog again."]
    assert [after[f"site/{n}"] for n in (4, 5, 6)] == [before[f"site/{n}"] for n in (4, 5, 6)]
    assert penstock.json("show", "site/1", "--revision", "1")["paragraphs"] == ["Fog again.", "buy this"]
    assert penstock.json("status")["items"] == {"due": 1, "fetched": 6}
    assert sql(penstock, "SELECT action, count FROM operator_action") == [("reparse", 3)]

    _elsewhere(penstock, after)


def _elsewhere(penstock: Penstock, pages: dict[str, dict[str, Any]]) -> None:
    """Bring the raw archive to an empty penstock with the same parsers, and compare what it makes of it."""
    archive = penstock.home.parent / "pages.warc.gz"
    told = penstock.attempt("export", "--format", "warc", "--out", archive)
    assert told.returncode == 0
    assert b"the bytes of 1 revisions and failures are not kept any more" in told.stderr
    other = Penstock(penstock.home.parent / "other", PYTHONPATH=penstock.environ["PYTHONPATH"])
    try:
        other.home.mkdir()
        shutil.copy(penstock.home / "sources.toml", other.home)
        assert other.json("push", archive) == {"pushed": 7, "skipped": 1, "refused": 0, "errors": []}
        other.run("work", "--drain", "--only", "ingest,retry")
        found = other.export()
        assert set(found) == {"site/1", "site/2", "site/3"}
        unlike = ("last_seen", "revision")  # a reparse saw the page once more, which is in no payload
        for key, page in found.items():
            assert {**page, **{name: pages[key][name] for name in unlike}} == pages[key]
    finally:
        other.close()


def test_a_reparse_that_was_killed_goes_on_where_it_was(penstock: Penstock, plugins: Path) -> None:
    push(penstock, {str(n): f"=== Page {n}\nText {n}." for n in range(130)})
    install(plugins, version=2, source=SLOW)
    done = "SELECT count(*) FROM revision WHERE parser_version = 2"
    running = penstock.start("reparse")
    reached = wait_for("a first chunk", lambda: sql(penstock, done)[0][0])
    running.kill()
    running.wait()
    rest = penstock.json("reparse", "--source", "site")
    assert (rest["pages"], rest["equal"]) == (130 - reached, 130 - reached)
    assert sql(penstock, done) == [(130,)]


@pytest.mark.parametrize(
    "arguments, told",
    [
        (("reparse", "--since", "soon"), "--since takes a time with its offset"),
        (("export", "--format", "parquet"), "--format is ndjson or warc, not 'parquet'"),
        (("export", "--out", "/nowhere/at/all"), "cannot be written: No such file or directory"),
    ],
)
def test_an_option_that_is_wrong_is_told_in_a_sentence(
    penstock: Penstock, arguments: tuple[str, ...], told: str
) -> None:
    done = penstock.attempt(*arguments)
    assert done.returncode == 2
    assert told in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()


def test_a_full_disk_is_told_and_leaves_no_half_file(penstock: Penstock) -> None:
    done = penstock.attempt("export", "--format", "warc", "--out", "/dev/full")
    assert (done.returncode, b"/dev/full: cannot be written: No space left on device" in done.stderr) == (1, True)
