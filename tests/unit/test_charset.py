from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import Truncated, Undecodable
from tasks.steps.parse.charset import ascii_compatible, decoder, repair_utf8

ARABIC = "أغلق الميناء يوم الخميس أمام القوارب الصغيرة بعد ليلة ثالثة من الضباب الكثيف."
RUSSIAN = "Порт закрыли в четверг для малых судов после третьей ночи тумана, сообщили в управлении."
CHINESE = "连续第三个大雾之夜过后，港口于周四对小型船只关闭，管理局表示将保持关闭直至测量完成。"
ENGLISH = "The harbour “closed” on Thursday — a third night of fog, and the café stayed open."


def read(body: bytes, content_type: str | None = None, *, meta: bool = False) -> str:
    body = ascii_compatible(body)
    return decoder(body, content_type, meta=meta)(body)


@given(text=st.text())
def test_utf8_is_read_whatever_the_header_says(text: str) -> None:
    body = text.encode()
    if b"\0" not in body and not text.startswith("\ufeff"):
        assert read(body, "text/html; charset=windows-1251") == text


@pytest.mark.parametrize("codec", ["utf-16", "utf-32", "utf-8-sig"])
@pytest.mark.parametrize("text", [ARABIC, RUSSIAN, CHINESE, ENGLISH])
def test_a_byte_order_mark_decides(text: str, codec: str) -> None:
    assert read(text.encode(codec), "text/html; charset=iso-8859-1") == text


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
def test_utf16_without_a_mark_is_recognised(codec: str) -> None:
    assert read(f"<html><body>{ENGLISH} and so on".encode(codec)) == f"<html><body>{ENGLISH} and so on"


@pytest.mark.parametrize(
    "text, codec, label",
    [
        (ARABIC, "cp1256", "windows-1256"),
        (RUSSIAN, "cp1251", "windows-1251"),
        (RUSSIAN, "koi8_r", "KOI8-R"),
        (CHINESE, "gb18030", "gb2312"),
        (CHINESE, "gb18030", "GBK"),
        (ENGLISH, "cp1252", "iso-8859-1"),
    ],
)
def test_header_or_meta_is_believed_where_the_bytes_fit(text: str, codec: str, label: str) -> None:
    assert read(text.encode(codec), f'text/html; charset="{label}"') == text
    page = f'<meta http-equiv="Content-Type" content="text/html; charset={label}">{text}'
    assert read(page.encode(codec), meta=True) == page


@pytest.mark.parametrize("text, codec", [(ARABIC, "cp1256"), (RUSSIAN, "cp1251"), (CHINESE, "gb18030")])
def test_undeclared_legacy_text_is_detected(text: str, codec: str) -> None:
    assert read((text * 4).encode(codec), "text/html; charset=no-such-thing") == text * 4


def test_a_stray_byte_does_not_garble_the_rest_of_utf8() -> None:
    body = ENGLISH.encode() + b" caf\xe9 \x93x\x94 end."
    assert read(body + "“” “” “”".encode()) == ENGLISH + " café “x” end." + "“” “” “”"


@given(text=st.text())
def test_repairing_whole_utf8_changes_nothing(text: str) -> None:
    assert repair_utf8(text.encode()) == text


@given(body=st.binary())
def test_repairing_never_raises(body: bytes) -> None:
    assert repair_utf8(body).isascii() == body.isascii()


@pytest.mark.parametrize(
    "body", [ENGLISH.encode()[:14], CHINESE.encode()[:-1], CHINESE.encode()[:-2], b"a\xf0\x9f\x92"]
)
def test_a_body_that_ends_inside_a_character_is_truncated(body: bytes) -> None:
    assert body[-1] >= 0x80
    with pytest.raises(Truncated):
        read(body)


@pytest.mark.parametrize("body", ["abc".encode("utf-16")[:-1], "a😀".encode("utf-16")[:-2]])
def test_utf16_that_ends_inside_a_character_is_truncated(body: bytes) -> None:
    with pytest.raises(Truncated):
        read(body)


@pytest.mark.parametrize("body", [b"\xff\xfe\x00\xdc\x61\x00", bytes(range(128, 256)) * 4])
def test_bytes_that_are_no_text_are_undecodable(body: bytes) -> None:
    with pytest.raises(Undecodable):
        read(body)
