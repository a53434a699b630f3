"""From bytes to text: what the bytes prove comes first, what headers claim next, and what is likely last.

BOM → strict UTF-8 → the HTTP header → UTF-8 with a few stray bytes → ``<meta>`` → detection. Labels are WHATWG's
(https://encoding.spec.whatwg.org/#names-and-labels). UTF-8 stands before the header because non-ASCII text that is
valid UTF-8 is practically never anything else, while headers are often wrong.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from typing import Final

import charset_normalizer
import webencodings

from tasks.errors import Truncated, Undecodable

Decode = Callable[[bytes], str]

_HEAD: Final = 200  # bytes that tell UTF-16 without a BOM; even

_BOMS: Final = (  # the longer first: UTF-32's begins as UTF-16's does
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_HEADER: Final = re.compile(r"charset\s*=\s*[\"']?([\w:.-]+)", re.IGNORECASE)
_META: Final = re.compile(rb"<meta[^>]{1,200}?charset\s*=\s*[\"']?([\w:.-]+)", re.IGNORECASE)
_META_WITHIN: Final = 4096  # bytes
_SUPERSETS: Final = {"gb2312": "gb18030", "gbk": "gb18030"}  # what is labelled so often holds more
_SAMPLE: Final = 64 * 1024  # bytes that detection looks at
_CANDIDATES: Final = [
    "cp1252", "cp1251", "cp1256", "cp1250", "cp1253", "cp1254", "cp1255", "cp1257", "koi8_r", "iso8859_2", "iso8859_6",
    "iso8859_7", "iso8859_15", "gb18030", "big5", "cp932", "euc_jp", "cp949", "cp874",
]  # fmt: skip
_MULTIBYTE_PER_STRAY: Final = 2  # well-formed characters per bad one: no legacy text holds so many by accident
_MAX_STRAY: Final = 1000


def ascii_compatible(body: bytes) -> bytes:
    """Return the body without a UTF-8 BOM; UTF-16 and UTF-32 become UTF-8. Raises ``Truncated``, ``Undecodable``."""
    if body[:1] < b"\xef" and b"\0" not in body[:_HEAD]:
        return body  # a mark begins with NUL or a byte from EF on, and UTF-16 without one is full of NUL
    if body.startswith(codecs.BOM_UTF8):
        return body[len(codecs.BOM_UTF8) :]
    for bom, codec in _BOMS:
        if body.startswith(bom):
            return _transcode(body[len(bom) :], codec)
    bare = _bare_utf16(body)
    return _transcode(body, bare) if bare else body


def decoder(body: bytes, content_type: str | None = None, *, meta: bool = False) -> Decode:
    """Return the function that decodes this body, or parts of it cut between characters.

    ``body`` is as ``ascii_compatible`` returns it. With ``meta`` an HTML declaration inside counts. Raises
    ``Truncated`` where the body ends inside a UTF-8 sequence, ``Undecodable`` where nothing fits.
    """
    try:
        body.decode()
    except UnicodeDecodeError as error:
        return _other_decoder(body, content_type, meta, error)
    return utf8


def utf8(data: bytes) -> str:
    """Decode UTF-8, strictly."""
    return data.decode()


def _other_decoder(body: bytes, content_type: str | None, meta: bool, error: UnicodeDecodeError) -> Decode:  # noqa: FBT001
    declared = _by_label(body, _HEADER.search(content_type or ""))
    if declared is not None:
        return declared
    near = _is_nearly_utf8(body)
    if _ends_inside_sequence(body) and (near or error.end == len(body)):
        raise Truncated("the payload ends inside a UTF-8 sequence")
    if near:
        return repair_utf8
    if meta and (found := _META.search(body[:_META_WITHIN])) is not None:
        stated = _by_label(body, _HEADER.search(f"charset={found[1].decode('ascii', 'replace')}"))
        if stated is not None:
            return stated
    return _detected(body)


def _by_label(body: bytes, found: re.Match[str] | None) -> Decode | None:
    """Return the strict decoder of a WHATWG label, if the whole body decodes by it."""
    encoding = webencodings.lookup(found[1]) if found else None
    if encoding is None or encoding.name in ("utf-8", "utf-16le", "utf-16be", "x-user-defined"):
        return None
    return _strict(body, _SUPERSETS.get(encoding.name, encoding.codec_info.name))


def _strict(body: bytes, codec: str) -> Decode | None:
    try:
        body.decode(codec)
    except (UnicodeDecodeError, LookupError):
        return None
    return lambda data: data.decode(codec)


def _detected(body: bytes) -> Decode:
    best = charset_normalizer.from_bytes(body[:_SAMPLE], cp_isolation=_CANDIDATES).best()
    found = _strict(body, best.encoding) if best is not None else None
    if found is None:
        raise Undecodable("the bytes are not text in any encoding that was declared or detected")
    return found


def _is_nearly_utf8(body: bytes) -> bool:
    text = body.decode(errors="replace")
    stray = text.count("\ufffd")
    multibyte = sum(not character.isascii() for character in text) - stray
    return stray <= _MAX_STRAY and stray * _MULTIBYTE_PER_STRAY <= multibyte


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


def _bare_utf16(body: bytes) -> str | None:
    """Return the byte order of UTF-16 without a BOM: every other byte of its ASCII part is NUL."""
    sample = body[:_HEAD]
    half = len(sample) // 2
    if b"\0" not in sample or half == 0:
        return None
    if sample[1::2].count(0) * 10 >= half * 7 and not sample[::2].count(0):
        return "utf-16-le"
    if sample[::2].count(0) * 10 >= half * 7 and not sample[1::2].count(0):
        return "utf-16-be"
    return None


def _transcode(body: bytes, codec: str) -> bytes:
    try:
        return body.decode(codec).encode()
    except UnicodeDecodeError as error:
        if error.end >= len(body) and error.reason in ("truncated data", "unexpected end of data"):
            raise Truncated(f"the payload ends inside a character of {codec}") from error
        raise Undecodable(f"the byte order mark says {codec}, the bytes do not") from error
