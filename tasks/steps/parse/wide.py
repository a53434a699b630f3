"""UTF-16 and UTF-32, with a byte order mark and without: brought to UTF-8, so that parsers can look for ASCII bytes."""

from __future__ import annotations

import codecs
import unicodedata
from typing import Final

from tasks.errors import Truncated, Undecodable

_HEAD: Final = 200  # bytes that tell a form without a mark; a multiple of four
_BOMS: Final = (  # the longer first: UTF-32's begins as UTF-16's does
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_WIDTH: Final = {"utf-32-le": 4, "utf-32-be": 4, "utf-16-le": 2, "utf-16-be": 2}  # in the order in which they are tried
_LAYOUT: Final = frozenset("\t\n\r\f")
_MOSTLY: Final = 0.7  # of the high bytes of a text in Latin letters are NUL


def ascii_compatible(body: bytes, *, partial: bool = False) -> bytes:
    """Return the body without a UTF-8 BOM; UTF-16 and UTF-32 become UTF-8. Raises ``Truncated``, ``Undecodable``.

    ``partial``: the body goes on, so that it may end inside a character.
    """
    if body[:1] < b"\xef" and b"\0" not in body[:_HEAD]:
        return body  # a mark begins with NUL or a byte from EF on, and without one there are NULs
    if body.startswith(codecs.BOM_UTF8):
        return body[len(codecs.BOM_UTF8) :]
    for bom, codec in _BOMS:
        if body.startswith(bom):
            return _transcode(body[len(bom) :], codec, partial=partial)
    bare = _bare(body[:_HEAD])
    return _transcode(body, bare, partial=partial) if bare else body


def _bare(sample: bytes) -> str | None:
    """Return the form that a text without a mark has, judged by its start; None where it is no such text."""
    if b"\0" not in sample:
        return None
    return next((codec for codec in _WIDTH if _is_text_in(sample, codec)), None)


def _is_text_in(sample: bytes, codec: str) -> bool:
    if _WIDTH[codec] == 2 and not _has_wide_nuls(sample, codec):  # noqa: PLR2004 (bytes)
        return False
    try:
        text = codecs.getincrementaldecoder(codec)().decode(sample)
    except UnicodeDecodeError:
        return False
    return bool(text) and "\0" not in text and _is_clean(text)


def _has_wide_nuls(sample: bytes, codec: str) -> bool:
    """Tell whether NUL stands in high bytes only: in nearly all, or where the bytes are no text in UTF-8 either way."""
    low, high = (sample[::2], sample[1::2]) if codec == "utf-16-le" else (sample[1::2], sample[::2])
    if 0 in low:
        return False
    return high.count(0) >= _MOSTLY * len(high) or not _is_utf8(sample.replace(b"\0", b""))


def _is_utf8(sample: bytes) -> bool:
    try:
        return _is_clean(codecs.getincrementaldecoder("utf-8")().decode(sample))
    except UnicodeDecodeError:
        return False


def _is_clean(text: str) -> bool:
    """Tell whether every character is one that texts have: assigned, no control but those that lay text out."""
    return all(one in _LAYOUT or unicodedata.category(one) not in {"Cc", "Cn", "Co", "Cs"} for one in text)


def _transcode(body: bytes, codec: str, *, partial: bool) -> bytes:
    if partial:
        return codecs.getincrementaldecoder(codec)("replace").decode(body).encode()
    try:
        return body.decode(codec).encode()
    except UnicodeDecodeError as error:
        if error.end >= len(body) and error.reason in ("truncated data", "unexpected end of data"):
            raise Truncated(f"the payload ends inside a character of {codec}") from error
        raise Undecodable(f"the bytes are {codec} by their beginning, and then are not") from error
