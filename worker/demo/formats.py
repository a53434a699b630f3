"""Write an article the way a site serves it, in each of the three formats."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo

Format = Literal["vardump", "html", "json"]

CONTENT_TYPES: Final[dict[Format, str]] = {
    "vardump": "text/plain; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "json": "application/json",
}
TIMEZONE: Final = "Asia/Tehran"  # the site's dates without a zone are in this one

_WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")  # strftime's names depend on the locale
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_RIGHT_TO_LEFT: Final = frozenset({"ar"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Article:
    """All that the site knows of one article."""

    id: str
    format: Format
    language: str
    title: str
    tag: str | None  # PHOTOS, VDO, VIDEO or URGENT: only lists of related items show it
    paragraphs: tuple[str, ...] = field(repr=False)
    published: datetime  # without zone, in TIMEZONE
    uploaded: datetime  # aware, UTC: when its picture was uploaded
    video: bool
    authors: tuple[str, ...]  # not in vardump
    wire_service: str | None  # only in vardump
    desk_code: str | None  # only in vardump

    @property
    def listed_title(self) -> str:
        """The title as lists of related items show it."""
        return f"{self.tag}: {self.title}" if self.tag else self.title

    @property
    def pic(self) -> str:
        """The path of its picture: upload day and .NET ticks (100 ns since the year 1), as the real site has it."""
        ticks = (self.uploaded - datetime(1, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 10
        suffix = "mp4" if self.video else "jpg"
        return f"/{self.uploaded:%Y/%m/%d}/demo_{ticks}_25f_4x3.{suffix}"


def render(article: Article, related: Sequence[Article], sort: int) -> bytes:
    """Return the page's bytes. ``sort`` is the site's running counter, another one at each rendering."""
    writer = {"vardump": _vardump, "html": _html, "json": _json}[article.format]
    return writer(article, related, sort).encode()


def date_line(moment: datetime) -> str:
    """Return the vardump's first line, such as ``Wed Feb 24, 2016 14:03:32``."""
    return f"{_WEEKDAYS[moment.weekday()]} {_MONTHS[moment.month - 1]} {moment:%d, %Y %H:%M:%S}"


def vardump_lines(article: Article) -> list[str]:
    """Return the lines before the dump."""
    *first, last = article.paragraphs
    wire = f", {article.wire_service} reported." if article.wire_service else ""
    desk = [article.desk_code] if article.desk_code else []
    return [date_line(article.published), *first, last + wire, *desk]


def dumped(array: str) -> str:
    """Return PHP's dump of a string: its length in bytes, and quotes inside as they are."""
    return f'string({len(array.encode())}) "{array}"'


def _vardump(article: Article, related: Sequence[Article], sort: int) -> str:
    items = (
        {"id": one.id, "sort": str(sort + place), "contenttypeid": "21", "pic": one.pic, "title": one.listed_title}
        for place, one in enumerate(related)
    )
    array = "[" + " ,".join(json.dumps(item, ensure_ascii=False, separators=(",", ":")) for item in items) + " ]"
    return "\n".join([*vardump_lines(article), dumped(array)])


def _json(article: Article, related: Sequence[Article], sort: int) -> str:
    document = {
        "id": article.id,
        "title": article.title,
        "published_at": _with_zone(article.published),
        "language": article.language,
        "authors": list(article.authors),
        "paragraphs": list(article.paragraphs),
        "counter": sort,
        "related": [{"id": one.id, "title": one.listed_title, "pic": one.pic} for one in related],
    }
    return json.dumps(document, ensure_ascii=False, indent=1)


def _html(article: Article, related: Sequence[Article], sort: int) -> str:
    direction = ' dir="rtl"' if article.language in _RIGHT_TO_LEFT else ""
    return _PAGE.format(
        attributes=f'lang="{article.language}"{direction}',
        title=html.escape(article.title),
        published=_with_zone(article.published),
        id=article.id,
        sort=sort,
        linked_data=json.dumps(_linked_data(article), ensure_ascii=False).replace("<", "\\u003c"),
        byline=html.escape(", ".join(article.authors)),
        body="\n".join(f"<p>{html.escape(paragraph, quote=False)}</p>" for paragraph in article.paragraphs),
        related="\n".join(_link(one) for one in related),
    )


def _linked_data(article: Article) -> dict[str, object]:
    return {
        "@context": "https://schema.org",
        "@type": "NewsArticle",
        "headline": article.title,
        "datePublished": _with_zone(article.published),
        "inLanguage": article.language,
        "author": [{"@type": "Person", "name": name} for name in article.authors],
    }


def _link(article: Article) -> str:
    attributes = f'data-item-id="{article.id}" data-pic="{article.pic}" href="/news/{article.id}"'
    return f"<li><a {attributes}>{html.escape(article.listed_title)}</a></li>"


def _with_zone(moment: datetime) -> str:
    return moment.replace(tzinfo=ZoneInfo(TIMEZONE)).isoformat()


_PAGE: Final = """<!DOCTYPE html>
<html {attributes}>
<head>
<meta charset="utf-8">
<title>{title} | The Demo Courier</title>
<meta property="og:type" content="article">
<meta property="og:title" content="{title}">
<meta property="article:published_time" content="{published}">
<link rel="canonical" href="/news/{id}">
<script type="application/ld+json">{linked_data}</script>
</head>
<body>
<header><nav><a href="/">Home</a> <a href="/about">About</a></nav></header>
<main>
<article>
<h1>{title}</h1>
<div class="byline">{byline}</div>
{body}
</article>
<aside class="related">
<h2>Related</h2>
<ul>
{related}
</ul>
</aside>
</main>
<footer data-counter="{sort}"><small>The Demo Courier is invented.</small></footer>
</body>
</html>
"""
