from __future__ import annotations

import base64
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import Malformed, PenstockError, TooLarge, Truncated, UsageError
from tasks.steps import packing
from tasks.steps.page import Payload
from tasks.steps.payload import (
    MAX_SOURCE,
    decode_fields,
    encode_fields,
    envelope_of,
    from_envelope,
    reopened,
    source_of,
    to_envelope,
)

LIMIT = 10_000
NAMES = {"v", "source", "body", "body_b64", "item", "url", "fetched_at", "content_type", "status", "depth", "parent",
         "enc", "_epoch"}  # fmt: skip

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=30)
moments = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001
payloads = st.builds(
    Payload,
    source=texts,
    body=st.one_of(st.binary(max_size=600), st.binary(max_size=50).map(lambda body: body * 30)),
    item=st.none() | texts,
    url=st.none() | texts,
    fetched_at=st.none() | moments,
    content_type=st.none() | texts,
    status=st.none() | st.integers(100, 999),
    depth=st.integers(0, 1000),
    parent=st.none() | texts,
    extra=st.dictionaries(texts.filter(lambda name: name not in NAMES), texts, max_size=3),
)
wild_fields = st.dictionaries(
    st.one_of(st.sampled_from(sorted(name.encode() for name in NAMES)), st.binary(max_size=8)), st.binary(max_size=40)
)


def entry(**changes: bytes | None) -> dict[bytes, bytes]:
    fields = {"v": b"1", "source": b"a", "body": b"hello", **changes}
    return {name.encode(): value for name, value in fields.items() if value is not None}


def decode(fields: Any) -> Payload:
    return decode_fields(fields, max_body=LIMIT)


@given(payload=payloads, compress=st.booleans())
def test_a_payload_survives_the_stream(payload: Payload, compress: bool) -> None:
    fields = encode_fields(payload, compress=compress)
    assert decode(fields) == payload
    assert envelope_of(decode_keys(fields)) == payload


@given(payload=payloads)
def test_a_payload_survives_an_ndjson_line(payload: Payload) -> None:
    assert from_envelope(json.loads(json.dumps(to_envelope(payload)))) == payload


def decode_keys(fields: dict[str | bytes, bytes]) -> dict[bytes, bytes]:
    return {name if isinstance(name, bytes) else name.encode(): value for name, value in fields.items()}


@given(fields=wild_fields)
def test_no_entry_makes_it_raise_anything_but_our_errors(fields: dict[bytes, bytes]) -> None:
    try:
        payload = decode(fields)
    except (Malformed, TooLarge, Truncated):
        pass
    else:
        assert payload.source
    kept = envelope_of(fields)
    assert 0 < len(kept.source) <= MAX_SOURCE
    assert source_of(fields) == kept.source
    assert "\0" not in "".join((kept.source, kept.item or "", kept.url or "", *kept.extra, *kept.extra.values()))
    json.dumps(to_envelope(kept), ensure_ascii=False).encode()


@pytest.mark.parametrize(
    "changes, field",
    [
        ({"v": None}, "v"),
        ({"v": b"2"}, "v"),
        ({"source": None}, "source"),
        ({"source": b""}, "source"),
        ({"source": b"x" * 201}, "source"),
        ({"source": b"\xff"}, "source"),
        ({"body": None}, "body"),
        ({"item": b"a\0b"}, "item"),
        ({"url": b"u" * 9_000}, "url"),
        ({"depth": b"-1"}, "depth"),
        ({"depth": b"1.0"}, "depth"),
        ({"depth": "１".encode()}, "depth"),
        ({"depth": b"9" * 5_000}, "depth"),
        ({"status": b"20"}, "status"),
        ({"status": b"ok"}, "status"),
        ({"fetched_at": b"2022-02-24"}, "fetched_at"),
        ({"fetched_at": b"2022-02-24T07:41:09"}, "fetched_at"),
        ({"fetched_at": b"2022-02-30T07:41:09Z"}, "fetched_at"),
        ({"fetched_at": b"0001-01-01T00:00:00+10:00"}, "fetched_at"),
        ({"enc": b"gzip"}, "enc"),
        ({"enc": b"zstd"}, "body"),
    ],
)
def test_a_wrong_field_is_named_and_the_entry_still_kept(changes: dict[str, bytes | None], field: str) -> None:
    fields = entry(**changes)
    with pytest.raises(Malformed, match=f"field '{field}'") as caught:
        decode(fields)
    assert caught.value.details["field"] == field
    assert envelope_of(fields).body == fields.get(b"body", b"")


def test_what_is_readable_of_a_malformed_entry_is_kept() -> None:
    kept = envelope_of(entry(item=b"17", depth=b"x", url=b"\xff", other=b"\x00\xfe", _epoch=b"0123"))
    assert (kept.source, kept.item, kept.url, kept.depth, kept.body) == ("a", "17", None, 0, b"hello")
    assert kept.extra == {"depth": "x", "url": "\\xff", "other": "\\x00\\xfe"}


def test_text_that_utf8_cannot_hold_is_refused_when_it_is_pushed() -> None:
    with pytest.raises(UsageError):
        encode_fields(Payload(source="a", body=b"", item="\udcff"))


def test_times_become_utc_and_empty_fields_are_absent() -> None:
    payload = decode(entry(fetched_at=b"2022-02-24T07:41:09.5+01:00", item=b"", url=b"", _epoch=b"abc", x=b"y"))
    assert payload.fetched_at == datetime(2022, 2, 24, 6, 41, 9, 500_000, tzinfo=UTC)
    assert (payload.item, payload.url, payload.extra) == (None, None, {"x": "y"})


# --- size and packing ---------------------------------------------------------------------------------------------


def pack(body: bytes, *, sized: bool = True) -> bytes:
    return zstandard.ZstdCompressor(write_content_size=sized).compress(body)


@pytest.mark.parametrize("sized", [True, False])
def test_the_limit_holds_to_the_byte_also_for_bombs(sized: bool) -> None:
    assert len(decode(entry(body=b"x" * LIMIT)).body) == LIMIT
    assert len(decode(entry(body=pack(b"x" * LIMIT, sized=sized), enc=b"zstd")).body) == LIMIT
    for body in (b"x" * (LIMIT + 1), b"\0" * 300_000_000):
        with pytest.raises(TooLarge):
            decode(entry(body=pack(body, sized=sized), enc=b"zstd"))
    with pytest.raises(TooLarge):
        decode(entry(body=b"x" * (LIMIT + 1)))


@pytest.mark.parametrize("sized", [True, False])
def test_a_frame_that_ends_early_is_truncated_and_one_with_a_tail_malformed(sized: bool) -> None:
    frame = pack(b"The tide turned at noon. " * 50, sized=sized)
    for length in range(len(frame)):
        with pytest.raises(Truncated):
            decode(entry(body=frame[:length], enc=b"zstd"))
        assert envelope_of(entry(body=frame[:length], enc=b"zstd")).extra == {"enc": "zstd"}
    with pytest.raises(Malformed):
        decode(entry(body=frame + b"x", enc=b"zstd"))


@given(at=st.integers(0, 60), put=st.binary(min_size=1, max_size=4), sized=st.booleans())
def test_a_broken_frame_never_raises_anything_else(at: int, put: bytes, sized: bool) -> None:
    frame = pack(b"The tide turned at noon. " * 50, sized=sized)
    try:
        body = decode(entry(body=frame[:at] + put + frame[at + len(put) :], enc=b"zstd")).body
    except (Malformed, TooLarge, Truncated):
        return
    assert len(body) <= LIMIT


def test_bodies_are_packed_only_where_that_saves_something() -> None:
    assert b"enc" not in encode_fields(Payload(source="a", body=b"short"), compress=True)
    noise = b"".join(n.to_bytes(4) for n in range(0, 2**32, 2**24 - 3))
    packed = encode_fields(Payload(source="a", body=b"tide " * 1000), compress=True)
    assert packed[b"enc"] == b"zstd"
    assert len(packed[b"body"]) < 500
    assert len(encode_fields(Payload(source="a", body=noise), compress=True)[b"body"]) <= len(noise)


def test_a_body_is_packed_and_unpacked_by_many_threads_at_once() -> None:
    bodies = [f"The tide turned at noon {number}. ".encode() * (20 + 200 * (number % 7)) for number in range(40)]
    start = threading.Barrier(8)

    def there_and_back(_: int) -> list[bytes]:
        start.wait()
        return [packing.unpack(packing.pack(body)[0], 1 << 20) for body in bodies]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(there_and_back, range(8))) == [bodies] * 8


def test_a_broken_frame_does_not_harm_the_next() -> None:
    frame = pack(b"The tide turned at noon. " * 50)
    for _ in range(3):
        assert decode(entry(body=frame, enc=b"zstd")).body == b"The tide turned at noon. " * 50
        with pytest.raises(Malformed):
            decode(entry(body=frame[:40] + b"\xff" * 20 + frame[60:], enc=b"zstd"))


# --- frames that stand for the body -------------------------------------------------------------------------------


def test_a_frame_that_says_its_size_and_is_smaller_is_kept_with_the_body() -> None:
    body = b"The tide turned at noon. " * 50
    frame = pack(body)
    payload = decode(entry(body=frame, enc=b"zstd"))
    assert (payload.body, payload.frame) == (body, frame)
    assert payload == replace(payload, frame=None)
    assert repr(payload) == repr(replace(payload, frame=None))
    assert encode_fields(payload, compress=True)[b"body"] == frame
    assert encode_fields(payload)[b"body"] == body
    assert to_envelope(payload) == to_envelope(replace(payload, frame=None))


@pytest.mark.parametrize(
    "body, frame",
    [
        (b"The tide turned at noon. " * 50, pack(b"The tide turned at noon. " * 50, sized=False)),
        (b"short", pack(b"short")),
        (b"", pack(b"")),
    ],
    ids=["unsized", "larger", "empty"],
)
def test_any_other_frame_is_forgotten(body: bytes, frame: bytes) -> None:
    payload = decode(entry(body=frame, enc=b"zstd"))
    assert (payload.body, payload.frame) == (body, None)
    assert decode(entry(body=body)).frame is None
    assert envelope_of(entry(body=frame, enc=b"zstd")).frame is None


def test_a_frame_that_needs_a_dictionary_is_refused() -> None:
    samples: list[bytes | bytearray | memoryview[int]] = [
        f"The tide turned at {hour} and the boats came home {hour * 7}. ".encode() * 5 for hour in range(300)
    ]
    dictionary = zstandard.train_dictionary(2000, samples)
    frame = zstandard.ZstdCompressor(dict_data=dictionary).compress(bytes(samples[0]) * 5)
    with pytest.raises(Malformed):
        decode(entry(body=frame, enc=b"zstd"))


@given(
    window=st.integers(0, 255),
    size=st.integers(256, LIMIT),
    flags=st.sampled_from([0x40, 0x41, 0x44, 0x60]),
    dictionary=st.binary(max_size=1),
)
def test_a_kept_frame_is_one_that_a_plain_decompressor_takes(
    window: int, size: int, flags: int, dictionary: bytes
) -> None:
    """The header is RFC 8878's, 3.1.1.1: flags, window, dictionary, size; then one block that repeats a byte."""
    head = bytes([flags]) + (b"" if flags & 0x20 else bytes([window])) + dictionary + (size - 256).to_bytes(2, "little")
    frame = b"\x28\xb5\x2f\xfd" + head + (size << 3 | 3).to_bytes(3, "little") + b"x"
    try:
        payload = decode(entry(body=frame, enc=b"zstd"))
    except (Malformed, Truncated, TooLarge):
        return
    assert payload.frame is None or zstandard.ZstdDecompressor().decompress(payload.frame) == payload.body
    assert payload.frame == frame


# --- envelopes ----------------------------------------------------------------------------------------------------


def test_an_envelope_takes_text_or_base64_and_numbers_where_ids_are_numbers() -> None:
    assert from_envelope({"source": "a", "body": "é", "item": 17, "status": 200}) == Payload(
        source="a", body="é".encode(), item="17", status=200
    )
    packed = base64.b64encode(pack(b"x" * 900)).decode()
    assert from_envelope({"v": 1, "source": "a", "body_b64": packed, "enc": "zstd"}).body == b"x" * 900
    assert from_envelope({"source": "a", "body": "", "tags": ["b", 1], "n": None}).extra == {
        "tags": '["b",1]',
        "n": "null",
    }


@pytest.mark.parametrize(
    "envelope, field",
    [
        ({"body": "x"}, "source"),
        ({"source": 5, "body": "x"}, "source"),
        ({"source": "a"}, "body"),
        ({"source": "a", "body": "x", "body_b64": "eA=="}, "body"),
        ({"source": "a", "body": 5}, "body"),
        ({"source": "a", "body": "\ud800"}, "body"),
        ({"source": "a", "body": "x" * (8 * 2**20 + 1)}, "body"),
        ({"source": "a", "body": "x", "enc": "zstd"}, "body"),
        ({"source": "a", "body_b64": "?"}, "body_b64"),
        ({"source": "a", "body_b64": "eA==", "enc": "zstd"}, "body"),
        ({"source": "a", "body_b64": "eA==", "enc": "br"}, "enc"),
        ({"source": "a", "body": "x", "v": 2}, "v"),
        ({"source": "a", "body": "x", "item": True}, "item"),
        ({"source": "a", "body": "x", "url": ["u"]}, "url"),
        ({"source": "a", "body": "x", "url": "\udfff"}, "url"),
        ({"source": "a", "body": "x", "depth": -1}, "depth"),
        ({"source": "a", "body": "x", "fetched_at": "today"}, "fetched_at"),
        ({"source": "a", "body": "x", "other": object()}, "other"),
    ],
)
def test_a_wrong_envelope_is_refused_naming_the_field(envelope: dict[str, object], field: str) -> None:
    with pytest.raises(UsageError, match=f"field '{field}'"):
        from_envelope(envelope)


@given(
    envelope=st.dictionaries(
        st.sampled_from(sorted(NAMES)) | st.text(max_size=5),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.lists(st.text(max_size=3)),
    )
)
def test_no_envelope_makes_it_raise_anything_else(envelope: dict[str, object]) -> None:
    try:
        payload = from_envelope(envelope)
    except UsageError:
        return
    except PenstockError as error:
        pytest.fail(repr(error))
    decode_fields(decode_keys(encode_fields(payload)), max_body=LIMIT)


KEPT = {
    "version": {"v": b"2"},
    "depth": {"depth": b"deep"},
    "source": {"source": b""},
    "packing": {"enc": b"lzma"},
    "frame": {"enc": b"zstd", "body": b"no frame at all"},
}


@pytest.mark.parametrize("kind", KEPT)
def test_an_entry_that_was_kept_is_as_wrong_when_it_is_read_again(kind: str) -> None:
    fields = entry(**KEPT[kind])
    with pytest.raises(PenstockError) as first:
        decode_fields(fields, max_body=LIMIT)
    with pytest.raises(type(first.value)) as again:
        reopened(envelope_of(fields), max_body=LIMIT)
    assert again.value.message == first.value.message


def test_a_payload_with_a_good_envelope_is_itself_when_it_is_read_again() -> None:
    payload = decode_fields(entry(item=b"1", other=b"kept"), max_body=LIMIT)
    assert reopened(payload, max_body=LIMIT) is payload


def test_more_unknown_fields_than_redis_can_take_are_refused() -> None:
    many = {f"x{number}": "y" for number in range(501)}
    with pytest.raises(UsageError, match="501 unknown fields"):
        encode_fields(Payload(source="a", body=b"b", extra=many))
    with pytest.raises(UsageError, match="503 fields"):
        from_envelope({"source": "a", "body": "b", **many})
