"""A parser for articles with front matter, as static site generators have them.

    ---
    title: Fog closes the harbour
    date: 2 March 2024, 14:05
    authors: Ida Holm, Per Lund
    ---
    The first paragraph.

    The second one.

All that stands between the fences is optional; paragraphs are divided by empty lines.
"""

from __future__ import annotations

from tasks.errors import Malformed, Truncated, Undecodable
from tasks.steps.page import ParsedPage, Payload, SourceProfile
from tasks.steps.parse import Parser
from tasks.steps.parse.dates import published

NAME = "front-matter"
VERSION = 1
_FENCE = "---"


def parse(payload: Payload, profile: SourceProfile) -> ParsedPage:
    """Read an article. Raises ``Undecodable``, ``Malformed``, ``Truncated``."""
    try:
        text = payload.body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Undecodable("the article is not UTF-8") from error
    before, fence, rest = text.partition(f"{_FENCE}\n")
    head, closing, body = rest.partition(f"\n{_FENCE}\n")
    if before.strip() or not fence:
        raise Malformed("the article does not begin with front matter")
    if not closing:
        raise Truncated("the front matter does not end")
    paragraphs = tuple(" ".join(one.split()) for one in body.split("\n\n") if one.strip())
    if not paragraphs:
        raise Truncated("the article ends before its text")
    fields = dict(_fields(head))
    date = fields.get("date")
    return ParsedPage(
        parser=NAME,
        parser_version=VERSION,
        title=fields.get("title"),
        published_at=published(date, profile),  # in the zone and the order that the source's profile says
        published_raw=date,
        paragraphs=paragraphs,
        authors=tuple(name.strip() for name in fields.get("authors", "").split(",") if name.strip()),
    )


def _fields(head: str) -> list[tuple[str, str]]:
    pairs = [line.partition(":") for line in head.splitlines()]
    return [(name.strip().lower(), value.strip()) for name, _, value in pairs if value.strip()]


parser = Parser(name=NAME, version=VERSION, interface=1, parse=parse)
