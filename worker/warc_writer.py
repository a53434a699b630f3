"""The raw archive as WARC 1.1 (ISO 28500), each record a gzip member of its own.

The records are of type ``resource``: the bytes are what a producer handed over, unpacked, and the header of the answer
that they came with is not known. What the envelope has and WARC has no field for stands in fields of our own, each
value percent-encoded UTF-8, with spaces encoded too:

========================= =========================================================================================
Penstock-Kind             ``revision`` or ``failure``
Penstock-Source           the source; a record with this field is one of ours
Penstock-Item             the item ID
Penstock-Url              the URL, where WARC-Target-URI cannot hold it
Penstock-Content-Type     the content type, where Content-Type cannot hold it; empty where there was none
Penstock-Status           the HTTP status
Penstock-Depth            how far from a pushed page
Penstock-Parent           the item key of the page that named it
Penstock-Extra            the unknown fields of the envelope, a JSON object in ASCII; not percent-encoded
Penstock-Extra-Omitted    instead of it, where it would be longer than any reader takes: how many characters it has
========================= =========================================================================================

WARC-Date is when the page was in this state, in microseconds; a page without a URL has ``urn:penstock:…`` as target.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import quote

from tasks.fetch_ports import Fetched
from tasks.steps.page import Payload
from worker.store import Archived

MAX_EXTRA: Final = 512 * 1024  # characters of JSON
URN: Final = "urn:penstock:"
_PAYLOADS: Final = "payloads as they were pushed; Penstock-* fields hold their envelopes, percent-encoded"
LEVEL: Final = 6
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!#-;=?-Z_a-z~\[\]]+")  # RFC 3986, without quotes and brackets
_CODING: Final = re.compile(rb"(?:content-encoding|content-length|transfer-encoding|trailer)\s*:", re.IGNORECASE)
_MIME: Final = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+(?:[ \t]*;[\x20-\x7e]*[\x21-\x7e])?", re.ASCII)
_UNKNOWN_TYPE: Final = "application/octet-stream"
_SAFE: Final = "!#$&'()*+,/:;=?@[]|^`{}\"<>\\"  # printable, but for the percent sign


def warcinfo(software: str, now: datetime, description: str) -> bytes:
    """Return the record that a file begins with."""
    block = (
        f"software: {software}\r\n"
        "format: WARC File Format 1.1\r\n"
        "conformsTo: https://iipc.github.io/warc-specifications/specifications/warc-format/warc-1.1/\r\n"
        f"description: {description}\r\n"
    ).encode()
    fields = {"WARC-Date": _date(now), "WARC-Record-ID": f"<urn:uuid:{uuid.uuid4()}>"}
    return _record("warcinfo", fields, "application/warc-fields", block)


def resource(one: Archived, payload: Payload) -> bytes:
    """Return the record of one archived payload."""
    date = _date(_EPOCH + timedelta(microseconds=one.observed_at))
    target, url = _target(one, payload)
    content_type, exact = _content_type(payload)
    ours = {
        "Penstock-Kind": one.kind,
        "Penstock-Source": payload.source,
        "Penstock-Item": payload.item,
        "Penstock-Url": url,
        "Penstock-Content-Type": exact,
        "Penstock-Status": payload.status,
        "Penstock-Depth": payload.depth or None,
        "Penstock-Parent": payload.parent,
    }
    digest = _digest(payload.body)
    name = "/".join((URN, one.kind, *one.identity, date, one.payload_hash))
    fields = {
        "WARC-Target-URI": target,
        "WARC-Date": date,
        "WARC-Record-ID": f"<urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, name)}>",  # the same in each export
        "WARC-Block-Digest": digest,
        "WARC-Payload-Digest": digest,
        **{field: encoded(str(value)) for field, value in ours.items() if value is not None},
        **_extra(payload.extra),
    }
    return _record("resource", fields, content_type, payload.body)


def exchange(answer: Fetched) -> bytes:
    """Return the records of one request and its answer, as ``response`` and ``request``.

    The body is without the codings that it had on the way; so that the head still fits it, the fields that name them
    are called ``X-Archive-Orig-…``, as warcio's own tools do, and Content-Length is that of the body.
    """
    date, response, request = _date(answer.fetched_at), f"<urn:uuid:{uuid.uuid4()}>", f"<urn:uuid:{uuid.uuid4()}>"
    about = {"WARC-Target-URI": answer.url, "WARC-Date": date}
    block = _decoded_head(answer.response_head, len(answer.body)) + answer.body
    fields = {
        **about,
        "WARC-Record-ID": response,
        "WARC-Block-Digest": _digest(block),
        "WARC-Payload-Digest": _digest(answer.body),
    }
    asked = {**about, "WARC-Record-ID": request, "WARC-Concurrent-To": response}
    asked["WARC-Block-Digest"] = _digest(answer.request_head)
    return _record("response", fields, "application/http;msgtype=response", block) + _record(
        "request", asked, "application/http;msgtype=request", answer.request_head
    )


def _decoded_head(head: bytes, length: int) -> bytes:
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    kept = [b"X-Archive-Orig-" + line if _CODING.match(line) else line for line in lines]
    return b"\r\n".join([first, *kept, b"Content-Length: %d" % length, b"", b""])


def encoded(value: str) -> str:
    """Return the value as visible ASCII: percent-encoded UTF-8."""
    return quote(value, safe=_SAFE, errors="replace")


def _target(one: Archived, payload: Payload) -> tuple[str, str | None]:
    """Return the URI of a record; and the URL apart from it, where the URI does not say it."""
    url = payload.url
    if url is not None and _URI.fullmatch(url) and not url.startswith(URN):
        return url, None
    return URN + ":".join(quote(part, safe="", errors="replace") for part in one.identity), url


def _content_type(payload: Payload) -> tuple[str, str | None]:
    """Return the content type of a record; and the payload's apart from it, where that is another."""
    stated = payload.content_type
    if stated is not None and _MIME.fullmatch(stated):
        return stated, None
    return _UNKNOWN_TYPE, stated or ""


def _extra(extra: Mapping[str, str]) -> dict[str, str]:
    if not extra:
        return {}
    text = json.dumps(dict(extra), separators=(",", ":"))  # ASCII, line ends escaped; orjson has no such form
    return {"Penstock-Extra": text} if len(text) <= MAX_EXTRA else {"Penstock-Extra-Omitted": str(len(text))}


def _digest(block: bytes) -> str:
    return "sha256:" + base64.b32encode(hashlib.sha256(block).digest()).decode()


def _date(moment: datetime) -> str:
    return moment.strftime("%Y").zfill(4) + moment.strftime("-%m-%dT%H:%M:%S.%fZ")


def _record(kind: str, fields: Mapping[str, str], content_type: str, block: bytes) -> bytes:
    head = {"WARC-Type": kind, **fields, "Content-Type": content_type, "Content-Length": str(len(block))}
    lines = ["WARC/1.1", *(f"{name}: {value}" for name, value in head.items()), "", ""]
    return gzip.compress("\r\n".join(lines).encode("ascii") + block + b"\r\n\r\n", LEVEL, mtime=0)


def records(archive: Iterator[Archived], software: str, now: datetime) -> Iterator[bytes | None]:
    """Yield the file record by record; None for each whose bytes are not kept any more."""
    yield warcinfo(software, now, _PAYLOADS)
    for one in archive:
        yield None if one.payload is None else resource(one, one.payload)
