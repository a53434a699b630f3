from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import Truncated, Undecodable
from tasks.steps.parse.charset import ascii_compatible, decoder, repair_utf8

ARABIC = "أغلق الميناء يوم الخميس أمام القوارب الصغيرة بعد ليلة ثالثة من الضباب الكثيف."
RUSSIAN = "Порт закрыли в четверг для малых судов после третьей ночи тумана, сообщили в управлении."
CHINESE = "连续第三个大雾之夜过后，港口于周四对小型船只关闭，管理局表示将保持关闭直至测量完成。"
JAPANESE = "三夜連続の濃霧の後、港は木曜日に小型船に対して閉鎖され、①から③の桟橋は測量が完了するまで使えない。"
KOREAN = "사흘 밤 연속 짙은 안개가 낀 뒤 항구는 목요일 소형 선박에 대해 폐쇄되었으며 항만청은 측량을 한다고 밝혔다."
POLISH = (
    "Port został zamknięty w czwartek dla małych łodzi po trzeciej nocy mgły, poinformował urząd, który żąda pomiarów."
)
FRENCH = (
    "Le port a été fermé jeudi aux petits bateaux après une troisième nuit de brouillard, a annoncé la capitainerie."
)
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


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("text", [ARABIC, RUSSIAN, ENGLISH, f"<html><body>{ENGLISH}", f"{CHINESE}\n{CHINESE}"])
def test_wide_text_without_a_mark_is_recognised(text: str, codec: str) -> None:
    assert read(text.encode(codec)) == text


@pytest.mark.parametrize("text", [ENGLISH, ARABIC, RUSSIAN, CHINESE])
@pytest.mark.parametrize("at", [3, 10, 11])
def test_a_stray_nul_does_not_make_utf8_wide(text: str, at: int) -> None:
    body = (text[:at] + "\0" + text[at:]).encode()
    assert ascii_compatible(body) == body


@given(body=st.binary(max_size=40) | st.text(max_size=40).map(lambda text: text.encode("utf-16", "surrogatepass")))
def test_the_start_of_a_body_may_end_anywhere(body: bytes) -> None:
    ascii_compatible(body, partial=True)


DECLARED = [
    (ARABIC, "cp1256", "windows-1256"),
    (ARABIC, "iso8859_6", "iso-8859-6"),
    (RUSSIAN, "cp1251", "windows-1251"),
    (RUSSIAN, "koi8_r", "KOI8-R"),
    (CHINESE, "gb18030", "gb2312"),
    (CHINESE, "gb18030", "GBK"),
    (CHINESE + "𠮷", "gb18030", "gb18030"),
    (JAPANESE, "cp932", "Shift_JIS"),
    (JAPANESE.replace("①から③の", ""), "euc_jp", "euc-jp"),
    (JAPANESE.replace("①から③の", ""), "iso2022_jp", "iso-2022-jp"),
    (KOREAN + "똠", "cp949", "EUC-KR"),
    (POLISH, "iso8859_2", "latin2"),
    (ENGLISH, "cp1252", "iso-8859-1"),
    (FRENCH, "latin_1", "us-ascii"),
]


@pytest.mark.parametrize("text, codec, label", DECLARED)
def test_what_is_declared_is_believed_where_the_bytes_fit(text: str, codec: str, label: str) -> None:
    assert read(text.encode(codec), f'text/html; charset="{label}"') == text
    for declaration in (
        f'<meta http-equiv="Content-Type" content="text/html; charset={label}">',
        f"<META CHARSET='{label}'>",
        f'<?xml version="1.0" encoding="{label}"?>',
    ):
        page = f"{declaration}{text}"
        assert read(page.encode(codec), meta=True) == page


@pytest.mark.parametrize(
    "text, codec, header, inner",
    [
        # the header outweighs the page, by WHATWG
        (RUSSIAN, "koi8_r", "koi8-r", "windows-1251"),
        # but UTF-8 that is valid outweighs both, and so does UTF-8 that nearly is
        (ARABIC, "utf-8", "windows-1256", "iso-8859-6"),
        (FRENCH, "utf-8", "iso-8859-1", "iso-8859-1"),
        # a server's default outweighs nothing
        (ARABIC, "cp1256", "iso-8859-1", "windows-1256"),
        (CHINESE, "gb18030", "iso-8859-1", "gb2312"),
        # what cannot be is not believed
        (RUSSIAN, "cp1251", "iso-8859-1", "us-ascii"),
        (ARABIC, "cp1256", "utf-8", "utf-8"),
        (RUSSIAN, "cp1251", "utf-16", "utf-16"),
        (JAPANESE, "cp932", "euc-jp", "no-such-thing"),
        (KOREAN, "cp949", "shift_jis", "utf-8"),
        (CHINESE, "utf-8", "gb2312", "big5"),
    ],
)
def test_what_is_declared_wrongly_does_not_garble_the_page(text: str, codec: str, header: str, inner: str) -> None:
    page = f'<html><head><meta charset="{inner}"><title>Quay</title></head><body><p>{text}</p>'
    assert read(page.encode(codec), f"text/html; charset={header}", meta=True) == page


def test_a_declaration_in_a_comment_is_none() -> None:
    page = f'<!-- <meta charset="koi8-r"> --><meta charset="windows-1251"><p>{RUSSIAN}</p>'
    assert read(page.encode("cp1251"), meta=True) == page


UNDECLARED = [
    (ARABIC, "cp1256"), (RUSSIAN, "cp1251"), (RUSSIAN, "koi8_r"), (CHINESE, "gb18030"), (JAPANESE, "cp932"),
    (KOREAN, "cp949"), (POLISH, "cp1250"), (FRENCH, "cp1252"), (ENGLISH, "cp1252"),
]  # fmt: skip


@pytest.mark.parametrize("text, codec", UNDECLARED)
def test_undeclared_legacy_text_is_detected(text: str, codec: str) -> None:
    assert read((text * 4).encode(codec), "text/html; charset=no-such-thing") == text * 4


@pytest.mark.parametrize("text, codec", [*UNDECLARED, (ARABIC, "iso8859_6"), (POLISH, "iso8859_2")])
@pytest.mark.parametrize("length", [10, 20, 40, 80])
def test_short_legacy_text_is_right_or_refused(text: str, codec: str, length: int) -> None:
    body = text[:length].encode(codec)
    try:
        assert read(body) == text[:length]
    except Undecodable:
        assert length < 80 or text.isascii()


@pytest.mark.parametrize("text, codec, label", [row for row in DECLARED if row[1] in {"gb18030", "cp932", "cp949"}])
def test_declared_text_that_ends_inside_a_character_is_truncated(text: str, codec: str, label: str) -> None:
    body = text.rstrip(".。𠮷똠").encode(codec)[:-1]
    with pytest.raises(Truncated):
        read(body, f"text/plain; charset={label}")


def test_a_stray_byte_does_not_garble_the_rest_of_utf8() -> None:
    body = ENGLISH.encode() + b" caf\xe9 \x93x\x94 end."
    body += "“” “” “”".encode()
    for label in ("utf-8", "iso-8859-1", "windows-1251", "gb2312", ""):
        assert read(body, f"text/html; charset={label}") == ENGLISH + " café “x” end." + "“” “” “”"
        assert decoder(body, f"text/html; charset={label}").repaired == 3


@pytest.mark.parametrize("sign", ["© 2022 The Quay", "£100", "naïve", "El Niño", "10 °C", "®", "Müller"])
def test_a_sign_or_a_name_in_english_is_read_and_told(sign: str) -> None:
    plain = "The harbour was closed to small craft on Thursday after a third night of fog. " * 8
    for page in (f"{plain}{sign}", f"<script>{'x' * 3000}</script><p>{plain}{sign}</p>"):
        body = page.encode("cp1252")
        assert read(body) == page
        assert decoder(body).repaired == 1
        assert decoder(body, "a/b; charset=windows-1252").repaired == 0


@pytest.mark.parametrize("hidden", ["<script>{}</script>", "<style>{}</style>", '<a title="{}">'])
def test_what_is_not_seen_does_not_make_letters_rare(hidden: str) -> None:
    page = f"{hidden.format('x' * 40_000)}<p>{POLISH}</p>"
    assert read(page.encode("iso8859_2")) == page


def test_scripts_without_end_are_read_once() -> None:
    with pytest.raises(Undecodable):
        read(b"<script" * 100_000 + bytes(range(0x80, 0x100)) * 100)


@pytest.mark.parametrize("text", ["It’s late…", "“No,” he said – and left.", "«Non»"])
def test_punctuation_alone_is_read_however_short(text: str) -> None:
    assert read(text.encode("cp1252")) == text


def test_nothing_is_repaired_in_whole_text() -> None:
    assert decoder(ENGLISH.encode()).repaired == 0
    assert decoder(f"{CHINESE}\ufffd".encode()).repaired == 0
    assert decoder(ARABIC.encode("cp1256"), "text/html; charset=windows-1256").repaired == 0


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
