"""The wire format: a stream entry's flat fields, and the NDJSON envelope, to a ``Payload`` and back.

Fields: ``v`` (1), ``source``, ``body``; optional ``item``, ``url``, ``fetched_at`` (RFC 3339), ``content_type``,
``status``, ``depth``, ``parent``, ``enc`` (``zstd``). An empty optional field counts as absent. Unknown fields are
kept in ``extra``. An NDJSON envelope holds the bytes as ``body`` (text) or ``body_b64``.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from tasks.errors import Malformed, PenstockError, UsageError
from tasks.steps.packing import check_size, frame_of, pack, unpack
from tasks.steps.page import Payload

VERSION: Final = 1
MAX_BODY: Final = 8 * 1024 * 1024  # bytes; the default of the configuration
MAX_SOURCE: Final = 200  # characters; a source is a name and part of every key
MAX_TEXT: Final = 8192  # characters of any other field of the envelope
NO_SOURCE: Final = "unknown"  # where a malformed entry without a readable source is kept
MAX_EXTRA: Final = 500  # fields that we do not know; Lua, which appends the entry, takes some thousands
_MAX_DEPTH: Final = 1_000_000

_RFC3339: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_DIGITS: Final = re.compile(r"[0-9]{1,7}")


# --- one reader per field: text to value, ValueError saying what is wrong -----------------------------------------


def _text(text: str) -> str:
    if len(text) > MAX_TEXT:
        raise ValueError(f"longer than {MAX_TEXT} characters")
    if "\0" in text:
        raise ValueError("holds a NUL character")
    return text


def _source(text: str) -> str:
    if len(text) > MAX_SOURCE:
        raise ValueError(f"longer than {MAX_SOURCE} characters")
    return _text(text)


def _moment(text: str) -> datetime:
    if not _RFC3339.fullmatch(text):
        raise ValueError("not an RFC 3339 time with an offset")
    try:
        moment = datetime.fromisoformat(text.upper())
        return moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"not a time that exists ({error})") from error


def _number(text: str, low: int, high: int) -> int:
    if not _DIGITS.fullmatch(text) or not low <= int(text) <= high:
        raise ValueError(f"not a whole number from {low} to {high}")
    return int(text)


def _status(text: str) -> int:
    return _number(text, 100, 999)


def _depth(text: str) -> int:
    return _number(text, 0, _MAX_DEPTH)


_READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "source": _source,
    "item": _text,
    "url": _text,
    "fetched_at": _moment,
    "content_type": _text,
    "status": _status,
    "depth": _depth,
    "parent": _text,
}
_WIRE: Final = {name.encode(): (name, reader) for name, reader in _READERS.items()}
_NUMBERS: Final = frozenset({"item", "parent", "status", "depth", "v"})  # may be numbers in an NDJSON envelope
EPOCH_FIELD: Final = "_epoch"  # the stream's own: the epoch in which its counter counted the entry
_APART: Final = frozenset({b"v", b"body", b"enc", EPOCH_FIELD.encode()})
_NOT_EXTRA: Final = frozenset(_READERS) | {"v", "body", "body_b64", "enc", EPOCH_FIELD}
_KEPT: Final = (*_READERS, "v", "enc")  # what ``envelope_of`` puts into ``extra`` where it cannot be read


# --- stream entries -----------------------------------------------------------------------------------------------


def decode_fields(fields: Mapping[bytes, bytes], *, max_body: int) -> Payload:
    """Read a stream entry.

    Raises ``Malformed`` naming the field, ``TooLarge`` above ``max_body`` bytes (unpacked), ``Truncated`` for a zstd
    frame that ends early, and nothing else whatever the bytes. Never unpacks more than ``max_body + 1`` bytes.
    """
    if fields.get(b"v") != b"1":
        raise _malformed("v", "only version 1 is known")
    for name in ("source", "body"):
        if name.encode() not in fields:
            raise _malformed(name, "missing")
    known: dict[str, Any] = {}
    extra: dict[str, str] = {}
    for raw_name, raw in fields.items():
        if (wire := _WIRE.get(raw_name)) is not None:
            if raw:
                known[wire[0]] = _read(wire[0], wire[1], raw)
        elif raw_name not in _APART:
            extra[_printable(raw_name)] = _printable(raw)
    if "source" not in known:
        raise _malformed("source", "empty")
    body = _body(fields, max_body)
    frame = frame_of(fields[b"body"], body) if fields.get(b"enc") else None
    return Payload(body=body, frame=frame, extra=extra, **known)


def envelope_of(fields: Mapping[bytes, bytes], *, max_body: int = MAX_BODY) -> Payload:
    """Return what can be read of an entry that ``decode_fields`` refuses, so that it can be kept. Never raises.

    A field that cannot be read stands in ``extra`` under its name, an unknown ``v`` too. A body that cannot be
    unpacked is kept packed, with ``enc`` in ``extra``. ``reopened`` reads all that again.
    """
    known: dict[str, Any] = {}
    extra: dict[str, str] = {}
    for raw_name, raw in fields.items():
        name, reader = _WIRE.get(raw_name, ("", None))
        if reader is None:
            if raw_name not in _APART:
                extra[_printable(raw_name)] = _printable(raw)
        elif raw:
            try:
                known[name] = _read(name, reader, raw)
            except Malformed:
                extra[name] = _printable(raw)
    if "source" not in known:
        known["source"] = _stand_in(extra.setdefault("source", ""))
    if fields.get(b"v") != b"1":
        extra["v"] = _printable(fields.get(b"v", b""))
    try:
        body = _body(fields, max_body)
    except PenstockError:
        body = fields.get(b"body", b"")
        if fields.get(b"enc"):
            extra["enc"] = _printable(fields[b"enc"])
    return Payload(body=body, extra=extra, **known)


def reopened(payload: Payload, *, max_body: int) -> Payload:
    """Read again what ``envelope_of`` kept: the payload itself, where nothing was wrong with its envelope.

    Raises as ``decode_fields`` does, for as long as it still cannot be read.
    """
    kept = {name.encode(): payload.extra[name].encode() for name in _KEPT if name in payload.extra}
    if not kept:
        return payload
    fields = {name if isinstance(name, bytes) else name.encode(): value for name, value in _encoded(payload).items()}
    return decode_fields({**fields, **kept}, max_body=max_body)


def source_of(fields: Mapping[bytes, bytes]) -> str:
    """Return the source under which an entry is, or will be, stored. Never raises."""
    raw = fields.get(b"source", b"")
    if raw:
        with suppress(Malformed):
            return str(_read("source", _source, raw))
    return _stand_in(_printable(raw))


def encode_fields(payload: Payload, *, compress: bool = False) -> dict[str | bytes, bytes]:
    """Write a payload as the fields of a stream entry; with ``compress`` as zstd where that is smaller.

    A frame that the payload came with is taken as it is.

    Raises ``UsageError`` for text with lone surrogates, which are undecodable bytes of a command line, and for more
    than ``MAX_EXTRA`` unknown fields.
    """
    if len(payload.extra) > MAX_EXTRA:
        raise UsageError(f"the envelope has {len(payload.extra)} unknown fields, at most {MAX_EXTRA} are kept")
    try:
        return _encoded(payload, compress=compress)
    except UnicodeEncodeError as error:
        raise UsageError("a field of the envelope is not text that UTF-8 can hold") from error


def _encoded(payload: Payload, *, compress: bool = False) -> dict[str | bytes, bytes]:
    body, packed = _packed(payload) if compress else (payload.body, False)
    fields: dict[str | bytes, bytes] = {b"v": b"1", b"source": payload.source.encode(), b"body": body}
    if packed:
        fields[b"enc"] = b"zstd"
    for name, text in _optional(payload).items():
        fields[name.encode()] = str(text).encode()
    for name, value in payload.extra.items():
        if name not in _NOT_EXTRA:
            fields[name.encode()] = value.encode()
    return fields


def _packed(payload: Payload) -> tuple[bytes, bool]:
    return pack(payload.body) if payload.frame is None else (payload.frame, True)


def _read(name: str, reader: Callable[[str], Any], raw: bytes) -> Any:
    try:
        return reader(raw.decode())
    except UnicodeDecodeError as error:
        raise _malformed(name, "not UTF-8") from error
    except ValueError as error:
        raise _malformed(name, str(error)) from error


def _body(fields: Mapping[bytes, bytes], max_body: int) -> bytes:
    body, enc = fields.get(b"body", b""), fields.get(b"enc", b"")
    if enc == b"zstd":
        return unpack(body, max_body)
    if enc:
        raise _malformed("enc", "neither absent nor zstd")
    return check_size(body, max_body)


def _optional(payload: Payload) -> dict[str, str | int]:
    """Return the optional fields that the payload has, in the order of the format."""
    values: dict[str, str | int | None] = {
        "item": payload.item,
        "url": payload.url,
        "fetched_at": None if payload.fetched_at is None else _rfc3339(payload.fetched_at),
        "content_type": payload.content_type,
        "status": payload.status,
        "depth": payload.depth or None,
        "parent": payload.parent,
    }
    return {name: value for name, value in values.items() if value is not None}


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _printable(raw: bytes) -> str:
    """Return text that any store can hold, whatever the bytes."""
    return raw.decode(errors="backslashreplace").replace("\0", "\\x00")


def _stand_in(source: str) -> str:
    """Return the source for an entry whose own cannot be read."""
    return source[:MAX_SOURCE] or NO_SOURCE


def _malformed(name: str, why: str) -> Malformed:
    return Malformed(f"field {name!r}: {why}", field=name)


# --- NDJSON envelopes ---------------------------------------------------------------------------------------------


def from_envelope(obj: Mapping[str, object], *, max_body: int = MAX_BODY) -> Payload:
    """Read an NDJSON envelope, decoded. Raises ``UsageError`` naming the field that is missing or wrong."""
    if len(obj) > MAX_EXTRA:
        raise UsageError(f"the envelope has {len(obj)} fields, at most {MAX_EXTRA} are taken")
    if obj.get("v", VERSION) not in (VERSION, str(VERSION)):
        raise _usage("v", "only version 1 is known")
    known: dict[str, Any] = {}
    for name, reader in _READERS.items():
        if (text := _envelope_text(obj, name)) is not None:
            try:
                known[name] = reader(text)
            except ValueError as error:
                raise _usage(name, str(error)) from error
    if "source" not in known:
        raise _usage("source", "missing")
    extra = {name: _extra_text(name, value) for name, value in obj.items() if name not in _NOT_EXTRA}
    return Payload(body=_envelope_body(obj, max_body), extra=extra, **known)


def to_envelope(payload: Payload) -> dict[str, object]:
    """Write a payload as an NDJSON envelope: ``body`` where the bytes are UTF-8 text, else ``body_b64``."""
    envelope: dict[str, object] = {"v": VERSION, "source": payload.source, **_optional(payload)}
    envelope.update((name, value) for name, value in payload.extra.items() if name not in _NOT_EXTRA)
    try:
        envelope["body"] = payload.body.decode()
    except UnicodeDecodeError:
        envelope["body_b64"] = base64.b64encode(payload.body).decode()
    return envelope


def _envelope_text(obj: Mapping[str, object], name: str) -> str | None:
    value = obj.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and name in _NUMBERS:
        return str(value)
    if not isinstance(value, str):
        raise _usage(name, "not text")
    if not _encodable(value):
        raise _usage(name, "not text that UTF-8 can hold")
    return value


def _envelope_body(obj: Mapping[str, object], max_body: int) -> bytes:
    text, packed, enc = obj.get("body"), obj.get("body_b64"), obj.get("enc") or ""
    if (text is None) == (packed is None):
        raise _usage("body", "give exactly one of body and body_b64")
    if isinstance(text, str) and _encodable(text) and not enc:
        body = text.encode()
    elif isinstance(packed, str):
        body = _from_base64(packed)
    else:
        raise _usage("body" if packed is None else "body_b64", "not text")
    if enc not in ("", "zstd"):
        raise _usage("enc", "neither absent nor zstd")
    try:
        return unpack(body, max_body) if enc else check_size(body, max_body)
    except PenstockError as error:
        raise _usage("body", error.message) from error


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _usage("body_b64", "not base64") from error


def _extra_text(name: str, value: object) -> str:
    if isinstance(value, str) and _encodable(value):
        return value.replace("\0", "\\x00")
    try:
        return orjson.dumps(value).decode()
    except TypeError as error:
        raise _usage(name, "not a JSON value") from error


def _encodable(text: str) -> bool:
    """Tell whether the text has no lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _usage(name: str, why: str) -> UsageError:
    return UsageError(f"field {name!r}: {why}", field=name)
