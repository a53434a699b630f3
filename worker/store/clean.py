"""What a text must be before it goes into a table: no NUL, no half character, no key that an index cannot hold."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, overload

import orjson

from tasks.steps import canonical
from tasks.steps.dedupe import Identity

KEY_BYTES: Final = 1600  # with the source less than the 2,704 bytes of a PostgreSQL index row
SOURCE_BYTES: Final = 400
_SHORT: Final = 400  # characters of a key that is not too long, if it is ASCII
MESSAGE_CHARS: Final = 2000
TRACEBACK_CHARS: Final = 8000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_PLAIN_HOST: Final = re.compile(r"https?://((?:[a-z0-9-]+\.)*[a-z][a-z0-9-]*)(?:[/?#]|\Z)")  # a name, and no port
_INT_MAX: Final = 2**63 - 1
_YEAR_1: Final = -62_135_510_400_000_000  # a day inside of what datetime holds, for zones
_YEAR_9999: Final = 253_402_214_400_000_000


@overload
def text(value: str, limit: int | None = None) -> str: ...
@overload
def text(value: None, limit: int | None = None) -> None: ...
@overload
def text(value: str | None, limit: int | None = None) -> str | None: ...
def text(value: str | None, limit: int | None = None) -> str | None:
    """Return the text with NULs and lone surrogates replaced, cut to ``limit`` characters."""
    if value is None:
        return None
    if limit is not None:
        value = value[:limit]
    if not value.isascii():
        value = value.encode(errors="replace").decode()
    return value.replace("\0", "\ufffd") if "\0" in value else value


def texts(column: list[str | None]) -> list[str | None]:
    """Return each text as ``text`` does; a look at all of them together is mostly enough."""
    together = "".join(filter(None, column))
    if together.isascii() and "\0" not in together:
        return column
    return [text(one) for one in column]


def key(value: str, limit: int = KEY_BYTES) -> str:
    """Return the key; of one that is too long for an index, its beginning and its hash."""
    if len(value) <= _SHORT <= limit and value.isascii() and "\0" not in value:
        return value
    value = text(value)
    if len(value) * 4 <= limit or len(value.encode()) <= limit:
        return value
    return f"{value[:200]}~{hashlib.sha256(value.encode()).hexdigest()}"


def optional_key(value: str | None) -> str | None:
    """Return the key, if there is one."""
    return None if value is None else key(value)


def identity(source: str, item_key: str) -> Identity:
    """Return the identity as it is stored."""
    return Identity(key(source, SOURCE_BYTES), key(item_key))


def whole(value: int) -> int:
    """Return the number, brought within what a column can hold."""
    return value if -_INT_MAX <= value <= _INT_MAX else max(-_INT_MAX, min(_INT_MAX, value))


def moment(micros: int) -> int:
    """Return the time, brought within the years 1 to 9999, which can be written out."""
    return micros if _YEAR_1 <= micros <= _YEAR_9999 else max(_YEAR_1, min(_YEAR_9999, micros))


def number_of(value: str) -> int:
    """Return 64 bits of a hash of a text: a small index key, and a small column to tell texts apart by."""
    return int.from_bytes(hashlib.blake2b(value.encode(errors="replace"), digest_size=8).digest(), "big", signed=True)


def host_of(url: str | None) -> str | None:
    """Return the host of an http(s) URL in lower case, with its port where that is not the default."""
    if not url:
        return None
    plain = _PLAIN_HOST.match(url)
    return plain[1] if plain else canonical.host_of(url)


def to_json(value: Any) -> str:
    """Return JSON; a lone surrogate, which UTF-8 cannot hold, becomes a question mark."""
    return json_bytes(value).decode()


def json_bytes(value: Any) -> bytes:
    """Return JSON in UTF-8; see ``to_json``."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return orjson.dumps(_mended(value))


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return text(value)
    if isinstance(value, Mapping):
        return {text(name): _mended(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_mended(one) for one in value]
    if is_dataclass(value):
        return {one.name: _mended(getattr(value, one.name)) for one in fields(value)}
    return value


def rfc3339(micros: int | None) -> str | None:
    """Return a stored time as text."""
    return None if micros is None else (_EPOCH + timedelta(microseconds=micros)).isoformat()
