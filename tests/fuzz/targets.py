"""What is fuzzed: each target takes bytes, and raises when penstock does what it never should."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC
from pathlib import Path
from typing import Final

import orjson

from tasks.errors import MemoryLimit, ParserCrash, Permanent, Truncated, Undecodable, UsageError
from tasks.steps.canonical import canonical_url, normal_url
from tasks.steps.page import Payload, SourceProfile
from tasks.steps.parse.charset import ascii_compatible, decoder
from tasks.steps.parse.dates import any_date, date_line
from tasks.steps.payload import decode_fields, encode_fields, envelope_of, from_envelope
from tasks.steps.robots import MOST_DELAY, read_rules, robots_text
from tasks.steps.understand import understand
from worker.readers import read_paths

CORPUS: Final = Path(__file__).with_name("corpus")
_PAGES: Final = Path(__file__).parents[1] / "pages"
_MAX_BODY: Final = 1 << 20
_TYPES: Final = ("text/html", "text/html; charset=windows-1256", "application/json", "text/plain", None, "image/png")
_LETTER: Final = re.compile(r"(%[0-9A-Fa-f]{2})|[A-Za-z]")
_FIELDS: Final = (b"v", b"source", b"item", b"url", b"fetched_at", b"content_type", b"status", b"depth", b"enc", b"x")


def _parsed(parser: str | None, body: bytes, content_type: str | None = None) -> None:
    """Parse, and let what a parser did not foresee pass: ``parse`` turns it into one of these."""
    profile = SourceProfile(name="fuzz", parser=parser, item_url="http://news.example/{id}", max_depth=1)
    payload = Payload(source="fuzz", body=body, url="http://news.example/1", content_type=content_type)
    try:
        understand(payload, profile)
    except (ParserCrash, MemoryLimit):
        raise
    except Permanent:
        pass


def vardump(data: bytes) -> None:
    """Read a page in the vardump form."""
    _parsed("vardump", data)


def html(data: bytes) -> None:
    """Read an HTML page."""
    _parsed("html", data)


def json(data: bytes) -> None:
    """Read a JSON article."""
    _parsed("json", data)


def feed(data: bytes) -> None:
    """Read a feed."""
    _parsed("feed", data)


def sniffed(data: bytes) -> None:
    """Read a page of a form that its content type, by the first byte, or itself must tell."""
    _parsed(None, data[1:], _TYPES[data[0] % len(_TYPES)] if data else None)


def charset(data: bytes) -> None:
    """Decode bytes; what comes out can be written as UTF-8."""
    with suppress(Truncated, Undecodable):
        body = ascii_compatible(data)
        decoder(body, None, meta=True)(body).encode()


def dates(data: bytes) -> None:
    """Read dates."""
    text = data.decode(errors="replace")
    moment = any_date(text, UTC)
    assert moment is None or any_date(moment.isoformat(), UTC) == moment
    with suppress(Permanent):
        date_line(text, UTC)


def url(data: bytes) -> None:
    """Bring a URL into its one form, which stays as it is."""
    text = data.decode(errors="replace")
    for form in (canonical_url, normal_url):
        first = form(text)
        assert first is None or form(first) == first


def entry(data: bytes) -> None:
    """Read a stream entry, its fields separated by lines; what was read can be written and read again."""
    values = data.split(b"\n", len(_FIELDS))
    fields = {b"body": values.pop(), **dict(zip(_FIELDS, values, strict=False))}
    envelope_of(fields, max_body=_MAX_BODY)
    try:
        payload = decode_fields(fields, max_body=_MAX_BODY)
    except Permanent:
        return
    written = {bytes(name, "utf-8") if isinstance(name, str) else name: value for name, value in _entry(payload)}
    assert decode_fields(written, max_body=_MAX_BODY) == payload


def _entry(payload: Payload) -> list[tuple[str | bytes, bytes]]:
    return list(encode_fields(payload).items())


def envelope(data: bytes) -> None:
    """Read an NDJSON envelope."""
    with suppress(orjson.JSONDecodeError, UsageError):
        found = orjson.loads(data)
        if isinstance(found, dict):
            from_envelope(found, max_body=_MAX_BODY)


def warc(data: bytes) -> None:
    """Read a WARC file."""
    for _ in read_paths(["-"], source="fuzz", fmt="warc", stdin=io.BytesIO(data), max_body=_MAX_BODY):
        pass


def robots(data: bytes) -> None:
    """Read a robots.txt, its first line being what is asked for; how that is spelled makes no difference."""
    path, _, body = data.partition(b"\n")
    text = robots_text(body)
    assert b"\0" not in text.encode()
    found = read_rules(text, "penstock")
    assert 0 <= found.crawl_delay <= MOST_DELAY
    assert found.allowed("http://news.example/robots.txt")
    if asked := normal_url(path.decode(errors="replace"), "http://news.example/"):
        place = asked.index("/", asked.index("//") + 2)
        encoded = _LETTER.sub(lambda letter: letter[1] or f"%{ord(letter[0]):02x}", asked[place:])
        assert found.allowed(asked) == found.allowed(asked[:place] + encoded)


TARGETS: Final[Mapping[str, Callable[[bytes], None]]] = {
    one.__name__: one
    for one in (vardump, html, json, feed, sniffed, charset, dates, url, entry, envelope, warc, robots)
}
_SUFFIXES: Final = {"vardump": "page.txt", "html": "page.html", "json": "page.json", "feed": "page.xml"}


def seeds(target: str) -> list[Path]:
    """Return the files that a target begins with: its corpus, and for a parser the tests' pages of its form."""
    pages = sorted(_PAGES.glob(f"*.{_SUFFIXES[target]}")) if target in _SUFFIXES else []
    return sorted((CORPUS / target).glob("*")) + pages
