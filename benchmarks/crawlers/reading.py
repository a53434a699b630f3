"""What a crawl that somebody writes in a day makes of a page: its lines, and the items that it names."""

from __future__ import annotations

import json


def lines_and_items(text: str) -> tuple[list[str], list[str]]:
    """Return the lines before the dump, and the IDs in it."""
    head, _, dump = text.rpartition("\nstring(")
    return head.split("\n"), [one["id"] for one in json.loads(dump[dump.index('"') + 1 : -1])]
