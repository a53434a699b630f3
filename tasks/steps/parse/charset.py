"""From bytes to text: what the bytes prove comes first, what headers claim next, and what is likely last.

BOM → strict UTF-8 → UTF-8 with a few stray bytes → the HTTP header → ``<meta>`` or the XML declaration → ASCII with
very few stray bytes → detection.
Labels are WHATWG's (https://encoding.spec.whatwg.org/#names-and-labels), and so is the order, but for UTF-8, which
comes before the header: non-ASCII text that is valid UTF-8 is practically never anything else, while headers are often
wrong. For the same reason ``iso-8859-1`` is believed last, and not at all of a text in another script: it is what
servers say who do not know.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import webencodings

from tasks.errors import Truncated, Undecodable
from tasks.steps.parse.detect import SUPERSETS, beyond_ascii, decoded, detected
from tasks.steps.parse.wide import ascii_compatible

__all__ = ["UTF8", "Decoder", "ascii_compatible", "decoder", "repair_utf8"]

_HEADER: Final = re.compile(r"charset\s*=\s*[\"']?([\w:.-]+)", re.IGNORECASE)
_META: Final = re.compile(rb"<meta[^>]{1,200}?charset\s*=\s*[\"']?([\w:.-]+)", re.IGNORECASE)
_XML: Final = re.compile(rb"\s*<\?xml[^>]{1,200}?encoding\s*=\s*[\"']([\w:.-]+)", re.IGNORECASE)
_COMMENT: Final = re.compile(rb"<!--.*?(?:-->|\Z)", re.DOTALL)
_META_WITHIN: Final = 4096  # bytes
_SEVEN_BIT: Final = "iso2022_jp"  # valid UTF-8 whatever it says, by escape sequences
_MULTIBYTE: Final = frozenset({"gb18030", "big5hkscs", "cp932", "euc_jp", "cp949"})  # which few other bytes decode by
_WESTERN: Final = "cp1252"
_IGNORED: Final = frozenset({"utf-8", "utf-16le", "utf-16be", "x-user-defined"})  # known by then, or no text
# Six letters beyond ASCII in a row, and not one alone as in a rule of dashes: no word of Western Europe.
_OTHER_SCRIPT: Final = re.compile(rb"([\xa1-\xff])(?!\1)[\xa1-\xff]{5}")
_MULTIBYTE_PER_STRAY: Final = 2  # well-formed characters per bad one: no legacy text holds so many by accident
# Bytes of text per one beyond ASCII. Languages with such letters have one in 30, Italian one in 100. Where it is rarer,
# it is a copyright sign or a foreign name, in WHATWG's default for text that nobody declared.
_ASCII_PER_STRAY: Final = 300
_HIDDEN: Final = re.compile(rb"<(script|style)\b.*?(?:</\1|\Z)|<[^>]*+>", re.IGNORECASE | re.DOTALL)
_MAX_STRAY: Final = 1000


@dataclass(frozen=True, slots=True)
class Decoder:
    """Decodes one body, or parts of it cut between characters. Raises ``UnicodeDecodeError`` where that is not so."""

    codec: str
    repaired: int = 0  # bytes of the body that are no UTF-8, and are read as Windows-1252

    def __call__(self, data: bytes) -> str:
        """Return the text."""
        return repair_utf8(data) if self.repaired else data.decode(self.codec)


UTF8: Final = Decoder("utf-8")


def decoder(body: bytes, content_type: str | None = None, *, meta: bool = False) -> Decoder:
    """Return what decodes this body.

    ``body`` is as ``ascii_compatible`` returns it. With ``meta`` a declaration inside, of HTML or XML, counts. Raises
    ``Truncated`` where the body ends inside a character, ``Undecodable`` where nothing fits.
    """
    if b"\x1b" in body and _SEVEN_BIT in _declared(body, content_type, meta=meta):
        return _seven_bit(body)
    try:
        body.decode()
    except UnicodeDecodeError as error:
        return _other(body, _declared(body, content_type, meta=meta), error)
    return UTF8


def in_utf8(body: bytes, decode: Decoder) -> bytes:
    """Return the body in UTF-8, itself where it is; what Unicode has no character for becomes a question mark."""
    return body if decode == UTF8 else decode(body).encode(errors="replace")


def _other(body: bytes, declared: list[str], error: UnicodeDecodeError) -> Decoder:
    fits = [codec for codec in declared if _fits(body, codec)]
    if fits and fits[0] in _MULTIBYTE:
        return Decoder(fits[0])
    if stray := _stray(body):
        if _ends_inside_sequence(body):
            raise Truncated("the payload ends inside a UTF-8 sequence")
        return Decoder("utf-8", repaired=stray)
    if fits:
        return Decoder(fits[0])
    if error.end == len(body) and _ends_inside_sequence(body):
        raise Truncated("the payload ends inside a UTF-8 sequence")
    if stray := _rare(body):
        return Decoder("utf-8", repaired=stray)
    found = detected(body)
    if found is None:
        raise Undecodable("the bytes are not text in any encoding that was declared or could be told")
    return Decoder(found)


def _seven_bit(body: bytes) -> Decoder:
    if decoded(body, _SEVEN_BIT) is None:
        raise Undecodable(f"the bytes are not {_SEVEN_BIT}, as is declared")
    return Decoder(_SEVEN_BIT)


def _declared(body: bytes, content_type: str | None, *, meta: bool) -> list[str]:
    """Return Python's names of what is declared, the most credible first."""
    named = [*_labels(content_type)] + ([*_inner_labels(body)] if meta else [])
    return sorted(dict.fromkeys(named), key=lambda codec: codec == _WESTERN)


def _labels(content_type: str | None) -> Iterator[str]:
    found = _HEADER.search(content_type) if content_type else None
    encoding = webencodings.lookup(found[1]) if found else None
    if encoding is not None and encoding.name not in _IGNORED:
        codec = encoding.codec_info.name
        yield SUPERSETS.get(codec, codec)


def _inner_labels(body: bytes) -> Iterator[str]:
    """Yield what the XML declaration says, and the first meta element outside comments."""
    head = body[:_META_WITHIN]
    for found in (_XML.match(head), _META.search(_COMMENT.sub(b"", head))):
        if found is not None:
            yield from _labels(f"charset={found[1].decode('ascii', 'replace')}")


def _fits(body: bytes, codec: str) -> bool:
    """Tell whether the body is text by this codec. Raises ``Truncated`` where only its last character is not whole."""
    if codec == _WESTERN and _OTHER_SCRIPT.search(body):
        return False
    try:
        body.decode(codec)
    except UnicodeDecodeError as error:
        if error.reason == "incomplete multibyte sequence" and error.end == len(body):
            raise Truncated(f"the payload ends inside a character of {codec}") from error
        return False
    return True


def _stray(body: bytes) -> int:
    """Return how many bytes keep the body from being UTF-8, as far as it nearly is; else 0."""
    text = body.decode(errors="surrogateescape")
    stray = len(text) - len(text.encode(errors="ignore").decode())  # an escaped byte is no character
    multibyte = len(text) - len(text.encode("ascii", "ignore")) - stray
    return stray if stray <= _MAX_STRAY and stray * _MULTIBYTE_PER_STRAY <= multibyte else 0


def _rare(body: bytes) -> int:
    """Return how many bytes keep the body from being ASCII, as far as they are as rare as in English; else 0."""
    text = _HIDDEN.sub(b"", body)
    stray = beyond_ascii(body)
    return stray if stray <= _MAX_STRAY and stray * _ASCII_PER_STRAY <= len(text) else 0


def repair_utf8(data: bytes) -> str:
    """Decode UTF-8 in which a few bytes are Windows-1252, as pasted text leaves them."""
    parts: list[str] = []
    view = memoryview(data)
    while view:
        try:
            parts.append(str(view, "utf-8"))
            break
        except UnicodeDecodeError as error:
            parts.append(str(view[: error.start], "utf-8"))
            parts.append(str(view[error.start : error.end], "cp1252", "replace"))
            view = view[error.end :]
    return "".join(parts)


def _ends_inside_sequence(body: bytes) -> bool:
    tail = body[-3:]
    for length in (1, 2, 3):
        try:
            tail[-length:].decode()
        except UnicodeDecodeError as error:
            if error.start == 0 and error.reason == "unexpected end of data":
                return True
    return False
