"""Records of our own raw archive, as ``worker.warc_writer`` describes them, back to payloads."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import unquote

import orjson

from tasks.errors import UsageError
from tasks.steps.packing import check_size
from tasks.steps.page import Payload
from tasks.steps.payload import reopened

SOURCE = "penstock-source"
URN = "urn:penstock:"
_EXTRA = "penstock-extra"  # JSON, and so not percent-encoded; "-omitted" has its length where it was too long


def archived(headers: Mapping[str, str], block: bytes, *, max_body: int) -> Payload:
    """Return the payload of a record; ``headers`` have lower-case names.

    Raises ``UsageError`` where a field is not what we write or the bytes are not those that were written, and
    ``Malformed`` for an envelope that was kept because it could not be read.
    """
    _check_digest(headers, block)
    encoded = [name for name in headers if name.startswith("penstock-") and not name.startswith(_EXTRA)]
    fields = {name: _decoded(name, headers[name]) for name in encoded}
    target = headers.get("warc-target-uri", "")
    payload = Payload(
        source=fields[SOURCE],
        body=check_size(block, max_body),
        item=fields.get("penstock-item"),
        url=fields.get("penstock-url", None if target.startswith(URN) else target),
        fetched_at=moment_of(headers.get("warc-date", "")),
        content_type=fields.get("penstock-content-type", headers.get("content-type")) or None,
        status=_number(fields, "penstock-status"),
        depth=_number(fields, "penstock-depth") or 0,
        parent=fields.get("penstock-parent"),
        extra=_extra(headers.get(_EXTRA, "{}")),
    )
    return reopened(payload, max_body=max_body)


def moment_of(text: str) -> datetime | None:
    """Read a WARC-Date, which is UTC by the standard; None where it is missing or none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def _check_digest(headers: Mapping[str, str], block: bytes) -> None:
    stated = headers.get("warc-block-digest", "")
    if stated != "sha256:" + base64.b32encode(hashlib.sha256(block).digest()).decode():
        raise UsageError("the record's bytes do not match its WARC-Block-Digest")


def _decoded(name: str, value: str) -> str:
    try:
        return unquote(value, errors="strict")
    except UnicodeDecodeError as error:
        raise UsageError(f"{name} is not UTF-8") from error


def _number(fields: Mapping[str, str], name: str) -> int | None:
    text = fields.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 7):  # noqa: PLR2004 (as the wire format has it)
        raise UsageError(f"{name} is no number")
    return int(text)


def _extra(text: str) -> dict[str, str]:
    try:
        extra = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise UsageError("penstock-extra is no JSON") from error
    if not isinstance(extra, dict) or not all(isinstance(value, str) for value in extra.values()):
        raise UsageError("penstock-extra is no object of texts")
    return extra
