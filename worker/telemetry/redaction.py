"""Makes any value safe to show: no page, no secret, no control character, bounded in size, and plain JSON types."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping
from datetime import date
from itertools import islice
from typing import Any

MAX_TEXT = 2048  # characters
MAX_TRACEBACK = 8192
MAX_ENTRIES = 50  # of a mapping or sequence
MAX_DEPTH = 4
HIDDEN = "<hidden>"
_JSON_BITS = 64  # what JSON readers, and ours, hold in a number

_SECRET_WORDS = frozenset(
    {"apikey", "authorization", "body", "cookie", "cookies", "credential", "credentials", "dsn", "passwd", "password"}
    | {"pwd", "secret", "secrets", "token", "tokens"}
)
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_WORD = re.compile(r"[a-z]+")
# All quantifiers are bounded, so that a hostile text costs linear time.
_USERINFO = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,20}://)[^/\s?#]{1,1024}@")
_SECRET_VALUE = re.compile(
    r"(?i)(\b[\w-]{0,30}(?:api_?key|access_?key|auth|credential|passwd|password|pwd|secret|session|signature|token)"
    r"[\w-]{0,30}=)[^&;#\s\"'<>]{1,2048}"
)
_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
_JOINERS = "\u200c\u200d"  # format characters too, and letters of Persian and of Indian scripts


def is_secret(name: str) -> bool:
    """Tell whether a field of that name must never be shown: ``sentry_dsn``, ``authToken``, ``body_b64``."""
    words = set(_WORD.findall(_HUMP.sub("_", name).lower()))
    return not words.isdisjoint(_SECRET_WORDS) or words >= {"api", "key"}


def safe_field(name: str, value: Any, depth: int = 0) -> Any:
    """Return what may be shown of a field. A number under a secret's name is a size or a count, and stays."""
    if is_secret(name) and not isinstance(value, bool | int | float | bytes | bytearray | memoryview | None):
        return HIDDEN
    return safe_value(value, depth)


def safe_value(value: Any, depth: int = 0) -> Any:
    """Return a value as plain JSON types that may be shown; bytes become their number."""
    match value:
        case None | bool() | float():
            return value
        case int():
            return value if value.bit_length() < _JSON_BITS else str(value)
        case bytes() | bytearray() | memoryview():
            return f"<{len(value)} bytes>"
        case Mapping() | list() | tuple() | set() | frozenset():
            return _safe_container(value, depth)
        case _:
            return safe_text(_as_text(value))


def safe_text(text: str, *, limit: int = MAX_TEXT, lines: bool = False) -> str:
    """Return a text without secrets, control and invisible characters (escaped), at most ``limit`` characters long.

    With ``lines``, line ends and tabs stay, and the end of a long text is kept instead of its beginning: a traceback
    says what happened in its last lines.
    """
    # Twice the limit is looked at, so that a secret at the cut is still recognised by what follows it.
    text = text[-2 * limit :] if lines else text[: 2 * limit]
    text = _SECRET_VALUE.sub(rf"\1{HIDDEN}", _USERINFO.sub(r"\1***@", text))
    if len(text) > limit:
        text = f"…{text[-limit:]}" if lines else f"{text[:limit]}…"
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(character, lines=lines) for character in text)


def _escaped(character: str, *, lines: bool) -> str:
    if lines and character in "\n\t":
        return character
    if character in _JOINERS or unicodedata.category(character) not in _UNSAFE_CATEGORIES:
        return character
    return character.encode("unicode_escape").decode("ascii")


def _as_text(value: Any) -> str:
    match value:
        case str():
            return value
        case BaseException():
            return f"{type(value).__name__}: {value}"
        case date():
            return value.isoformat()
        case _:
            return repr(value)


def _safe_container(values: Mapping[Any, Any] | Collection[Any], depth: int) -> Any:
    if depth >= MAX_DEPTH:
        return "<…>"
    if isinstance(values, Mapping):
        pairs = ((safe_text(str(key)), value) for key, value in islice(values.items(), MAX_ENTRIES))
        safe = {name: safe_field(name, value, depth + 1) for name, value in pairs}
        return safe if len(values) <= MAX_ENTRIES else {**safe, "…": f"{len(values) - MAX_ENTRIES} more"}
    listed = [safe_value(value, depth + 1) for value in islice(values, MAX_ENTRIES)]
    return listed if len(values) <= MAX_ENTRIES else [*listed, f"… {len(values) - MAX_ENTRIES} more"]
