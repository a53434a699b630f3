"""A source added from nothing, by the README to the letter, and what a profile does to pages that came before it."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import COMMAND, Penstock

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PLUGIN = ROOT / "deploy/examples/parser-plugin"


FIELDS = ("title", "published_at", "published_raw", "paragraphs", "authors", "related", "tier", "parser")

WIRE = {
    "data": {
        "headline": "Ferry &amp; fog",
        "first-published": "2024-03-02 14:05",
        "blocks": [
            {"kind": "text", "text": "<p>It waits.</p>"}, {"kind": "ad", "text": "Buy!"},
            {"kind": "text", "text": "Still."},
        ],
        "people": [{"name": "Ida Holm"}, {"name": "Per Lund"}],
        "also": [{"ref": 42, "name": "Storm"}],
    }
}  # fmt: skip
ARTICLE = """\
---
title: Fog closes the harbour
date: 02/03/2024 14:05
authors: Ida Holm, Per Lund
---
Fog lay over
the quay.

The pilots stayed ashore.
"""


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def place(penstock: Penstock) -> Path:
    """A folder whose ``var`` is the home, as the README has it."""
    folder = penstock.home.parent
    penstock.home = folder / "var"
    penstock.environ |= {"PENSTOCK_HOME": "var", "PATH": f"{COMMAND.parent}{os.pathsep}{os.environ['PATH']}"}
    (folder / "var/samples").mkdir(parents=True)
    return folder


def blocks(heading: str, kind: str) -> list[str]:
    """Return the fenced blocks of a kind under a heading of the README."""
    section = README.split(f"\n### {heading}\n")[1].split("\n### ")[0]
    return re.findall(rf"^```{kind}\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


def shell(penstock: Penstock, folder: Path, *lines: str) -> str:
    done = subprocess.run(
        ["sh", "-euc", "\n".join(lines)],
        cwd=folder,
        env=penstock.environ,
        capture_output=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, (done.stdout[-4000:], done.stderr[-4000:])
    return done.stdout.decode()


def shown(penstock: Penstock, folder: Path, key: str) -> dict[str, Any]:
    record = json.loads(shell(penstock, folder, f"penstock show {key} --json"))
    assert re.fullmatch("[0-9a-f]{8}", record["profile_version"])
    return {name: record[name] for name in FIELDS} | {
        "related": [(one["id"], one["title"]) for one in record["related"]]
    }


def test_a_source_of_html_pages_is_added_by_the_readme(penstock: Penstock, place: Path) -> None:
    profile, json_profile = blocks("Add a source", "toml")
    (page,), (commands,) = blocks("Add a source", "html"), blocks("Add a source", "sh")
    (place / "var/sources.toml").write_text(profile + json_profile)
    (place / "var/samples/fog.html").write_text(page)
    told = shell(penstock, place, commands)
    assert re.search(r"^title +Fog closes the harbour +selector h1.headline$", told, re.MULTILINE)
    assert "harbour  samples/fog.html  ok\n" in told
    assert shown(penstock, place, "harbour/41") == {
        "title": "Fog closes the harbour",
        "published_at": "2024-03-02T14:05:00+01:00",
        "published_raw": "2 March 2024, 14:05",
        "paragraphs": ["Fog lay over the quay.", "The pilots stayed ashore."],
        "authors": ["Ida Holm"],
        "related": [("42", "The ferry is late")],
        "tier": "profile",
        "parser": "html",
    }
    (place / "wire.json").write_text(json.dumps(WIRE))
    shell(penstock, place, "penstock push --source wire --item 7 wire.json", "penstock work --drain")
    assert shown(penstock, place, "wire/7") == {
        "title": "Ferry & fog",
        "published_at": "2024-03-02T14:05:00+00:00",
        "published_raw": "2024-03-02 14:05",
        "paragraphs": ["It waits.", "Still."],
        "authors": ["Ida Holm", "Per Lund"],
        "related": [("42", "Storm")],
        "tier": "profile",
        "parser": "json",
    }


def test_a_sample_that_is_not_as_it_should_be_is_told_field_by_field(penstock: Penstock, place: Path) -> None:
    profile, page = blocks("Add a source", "toml")[0], blocks("Add a source", "html")[0]
    (place / "var/sources.toml").write_text(profile)
    (place / "var/samples/fog.html").write_text(page.replace("headline", "title").replace("14:05", "noonish"))
    penstock.environ["PENSTOCK_HOME"] = str(place / "var")
    told = penstock.run("sources", "test", code=1)
    assert "harbour  samples/fog.html  differs\n  title: expected Fog closes the harbour\n" in told
    assert "found The Quay (<h1>)" in told
    assert "title: selector h1.headline finds nothing\n" in told
    assert (
        "published_at: selector .meta, pattern Published (.+?) \\| finds 'Published 2 March 2024, noonish | Sea', "
        in told
    )
    (one,) = penstock.json("sources", "test", "harbour", code=1)
    assert [(line["field"], line["found"]) for line in one["differences"]] == [
        ("title", "The Quay"),
        ("published_at", "2024-03-02T00:00:00+01:00"),  # what the page shows
    ]


@pytest.mark.parametrize(
    "arguments, code, told",
    [
        (("harbur", "page.html"), 2, "no profile of a source 'harbur'; did you mean 'harbour'?"),
        (("harbour", "nowhere.html"), 2, "nowhere.html: cannot be read: No such file or directory"),
        (("harbour", "ftp://a.example/x"), 2, "only http:// and https:// URLs are fetched"),
        (("harbour", "http://127.0.0.1:9/x"), 1, "127.0.0.1 is not a public address"),
        (("harbour", "http://a.example/x", "--url", "http://b.example"), 2, "--url goes with a FILE"),
        (("alalam",), 2, "the profile of alalam has no samples"),
        (("harbour",), 2, "sources.harbour.samples[0]: "),
        (("harbour", "-", "--profiles", "nowhere.toml"), 2, "nowhere.toml cannot be read"),
    ],
)
def test_what_cannot_be_tried_is_told_in_a_sentence(
    penstock: Penstock, place: Path, arguments: tuple[str, ...], code: int, told: str
) -> None:
    (place / "var/sources.toml").write_text(blocks("Add a source", "toml")[0])
    penstock.environ["PENSTOCK_HOME"] = str(place / "var")
    done = penstock.attempt("sources", "test", *arguments)
    assert (done.returncode, told in done.stderr.decode()) == (code, True), done.stderr
    assert "Traceback" not in done.stderr.decode()


def test_a_page_may_be_fetched_from_the_hosts_of_the_source(penstock: Penstock, place: Path) -> None:
    profile, page = blocks("Add a source", "toml")[0], blocks("Add a source", "html")[0]
    (place / "fog.html").write_text(page)
    penstock.environ["PENSTOCK_HOME"] = str(place / "var")
    handler = functools.partial(QuietHandler, directory=str(place))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host = f"127.0.0.1:{server.server_port}"
        allowed = f'[sources.harbour]\nallow_private_hosts = ["{host}"]\n'
        (place / "var/sources.toml").write_text(profile.replace("[sources.harbour]\n", allowed))
        told = penstock.json("sources", "test", "harbour", f"http://{host}/fog.html?utm_source=x#top")
        server.shutdown()
    assert told["key"] == f"harbour/http://{host}/fog.html"
    assert told["fields"]["title"] == {"value": "Fog closes the harbour", "origin": "selector h1.headline"}


def test_a_page_that_cannot_be_read_is_told_with_what_the_profile_names_in_vain(
    penstock: Penstock, place: Path
) -> None:
    (place / "var/sources.toml").write_text(blocks("Add a source", "toml")[0])
    penstock.environ["PENSTOCK_HOME"] = str(place / "var")
    body = b"<html><body><img src=x></body></html>"
    done = penstock.attempt("sources", "test", "harbour", "-", stdin=body)
    assert done.returncode == 1
    assert b": Malformed: no text; " in done.stdout
    assert b"paragraphs: selector .story p finds nothing\n" in done.stdout


def test_a_mended_profile_tries_failures_again_and_reparse_takes_it_to_stored_pages(penstock: Penstock) -> None:
    penstock.home.mkdir(exist_ok=True)
    profiles = penstock.home / "sources.toml"
    profiles.write_text('[sources.wire.json]\nparagraphs = "data.txt"\n')
    page = {"data": {"headline": "Fog", "txt": None, "blocks": "It is foggy."}}
    whole = {"data": {"headline": "Sun", "txt": "It is sunny.", "blocks": "It is sunny."}}
    bodies = {"1": page, "2": whole}
    penstock.push_lines(
        [json.dumps({"source": "wire", "item": one, "body": json.dumps(bodies[one])}) for one in bodies]
    )
    penstock.run("work", "--drain")
    assert penstock.outcomes() == {"new": 1, "failed": 1}
    (failure,) = penstock.json("failures")
    assert "paragraphs: path data.txt finds nothing" in failure["message"]
    assert penstock.json("reparse")["pages"] == 0

    profiles.write_text('[sources.wire.json]\nparagraphs = "data.blocks"\ntitle = "data.headline"\n')
    penstock.run("work", "--drain")
    assert penstock.outcomes() == {"new": 2}
    assert penstock.export()["wire/2"]["title"] is None
    assert penstock.json("reparse", "--dry-run")["pages"] == 1
    assert penstock.json("reparse")["content_changed"] == 1
    assert {key: one["title"] for key, one in penstock.export().items()} == {"wire/1": "Fog", "wire/2": "Sun"}
    assert penstock.json("reparse")["pages"] == 0


def test_the_parser_plug_in_of_the_examples_is_installed_and_used(penstock: Penstock) -> None:
    base = penstock.home.parent
    shutil.copytree(PLUGIN, base / "source")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    environ = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    subprocess.run(
        [*install, "--target", base / "installed", base / "source"],
        env=environ,
        check=True,
        timeout=120,
        capture_output=True,
    )
    penstock.environ["PYTHONPATH"] = str(base / "installed")
    penstock.home.mkdir(exist_ok=True)
    (penstock.home / "sources.toml").write_text(
        '[sources.blog]\nparser = "front-matter"\ntimezone = "Europe/Oslo"\ndate_order = "dmy"\n'
    )
    (base / "fog.md").write_text(ARTICLE)
    told = penstock.json("sources", "test", "blog", base / "fog.md")
    assert told["fields"]["published_at"] == {
        "value": "2024-03-02T14:05:00+01:00",
        "origin": "parser front-matter; date_order dmy and timezone Europe/Oslo of the profile",
    }
    penstock.run("push", "--source", "blog", "--item", "1", base / "fog.md")
    penstock.push_lines([json.dumps({"source": "blog", "item": "2", "body": ARTICLE[:40]})])
    penstock.run("work", "--drain")
    page = penstock.export()["blog/1"]
    assert (page["parser"], page["paragraphs"]) == (
        "front-matter",
        ["Fog lay over the quay.", "The pilots stayed ashore."],
    )
    assert page["authors"] == ["Ida Holm", "Per Lund"]
    assert [one["message"] for one in penstock.json("failures")] == ["the front matter does not end"]
