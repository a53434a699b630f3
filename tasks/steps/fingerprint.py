"""Hashes that say "the same": of content, of bytes, of failures."""

from __future__ import annotations

import hashlib
import unicodedata
from types import TracebackType
from typing import Final

from tasks.steps.page import ParsedPage

_CONTENT_VERSION: Final = "01"
_INVISIBLE: Final = "\u00ad\u200b\u2060\ufeff"  # soft hyphen, zero-width spaces; ZWNJ and ZWJ are spelling, and stay
_QUOTES: Final = {"'": "\u2018\u2019\u201a\u201b", '"': "\u201c\u201d\u201e\u201f"}
_STRAIGHT: Final = tuple((character, straight) for straight, curly in _QUOTES.items() for character in curly)
_OURS: Final = ("tasks.", "worker.")


def content_hash(page: ParsedPage) -> str:
    """Return the hash of what the page says: 66 hex digits, a version byte and sha256 of normalised title and body.

    Only title and paragraphs count; an empty field is as an absent one. White space (also where paragraphs begin),
    invisible characters, Unicode composition and the style of quotation marks do not count.
    """
    digest = hashlib.sha256()
    title = normalise(page.title or "")
    if title:
        digest.update(b"title\0" + title.encode(errors="replace") + b"\0")
    body = normalise(" ".join(page.paragraphs))
    if body:
        digest.update(b"body\0" + body.encode(errors="replace") + b"\0")
    return _CONTENT_VERSION + digest.hexdigest()


def payload_hash(body: bytes) -> str:
    """Return the hex sha256 of the bytes as they came."""
    return hashlib.sha256(body).hexdigest()


def failure_fingerprint(error_class: str, frame: str, source: str) -> str:
    """Return 16 hex digits that group failures of one kind, place and source."""
    return hashlib.sha256(f"{error_class}\0{frame}\0{source}".encode(errors="replace")).hexdigest()[:16]


def top_frame(error: BaseException) -> str:
    """Return ``module:function`` of the deepest frame of ours in the error, or in what caused it; else ``unknown``.

    Without line numbers, so that an edit above does not split a group.
    """
    frame = "unknown"
    cause: BaseException | None = error
    seen: set[int] = set()
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        frame = _deepest(cause.__traceback__) or frame
        cause = cause.__cause__
    return frame


def _deepest(traceback: TracebackType | None) -> str | None:
    found = None
    while traceback is not None:
        module = traceback.tb_frame.f_globals.get("__name__", "")
        if isinstance(module, str) and module.startswith(_OURS):
            found = f"{module}:{traceback.tb_frame.f_code.co_name}"
        traceback = traceback.tb_next
    return found


def normalise(text: str) -> str:
    """Return the text with quotation marks straightened, invisible characters gone, in NFC, white space folded."""
    plain = text.isprintable()  # then it holds nothing invisible, and no white space but blanks
    if not text.isascii():
        if not plain:
            for character in _INVISIBLE:
                text = text.replace(character, "")
        for character, straight in _STRAIGHT:
            text = text.replace(character, straight)
        if not unicodedata.is_normalized("NFC", text):
            plain, text = False, unicodedata.normalize("NFC", text)
    if plain and "  " not in text and text[:1] != " " != text[-1:]:
        return text  # a split takes longer than all of this
    return " ".join(text.split())
