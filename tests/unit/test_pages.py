"""Captured pages beside what they must become; the hashes are pinned, since stores hold them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from tasks.steps.fingerprint import content_hash
from tasks.steps.page import Payload, SourceProfile
from tasks.steps.parse import parse
from tests.support.pages import CAPTURED

PAGES = sorted(CAPTURED.glob("*.page.*"))
PROFILE = SourceProfile(name="quay", timezone="Europe/Oslo")


def as_json(value: Any) -> Any:
    return json.loads(json.dumps(value, default=lambda moment: moment.isoformat()))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_captured_page_becomes_exactly_what_stands_beside_it(path: Path) -> None:
    expected = json.loads(path.with_name(path.name.partition(".page.")[0] + ".expected.json").read_text())
    page = parse(Payload(source="quay", body=path.read_bytes(), url="https://quay.example/news/1"), PROFILE)
    page = dataclasses.replace(page, related=tuple(page.related))
    assert as_json(dataclasses.asdict(page)) | {"content_hash": content_hash(page)} == expected


def test_there_are_captured_pages_of_every_parser() -> None:
    assert {json.loads(path.read_text())["parser"] for path in CAPTURED.glob("*.expected.json")} == {
        "vardump",
        "html",
        "json",
        "feed",
    }
