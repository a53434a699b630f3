"""Dates in the languages that pages are written in. The names are written down here again, apart from the code's."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import Malformed, Truncated
from tasks.steps.page import DateOrder, ParsedPage, Payload, SourceProfile
from tasks.steps.parse import parse
from tasks.steps.parse.dates import any_date, date_line, is_date_line, published, starts_date_line
from tasks.steps.parse.written import written
from tests.support.pages import dump_of

CAIRO = ZoneInfo("Africa/Cairo")

# 24 February 2016, a Wednesday, 14:03:32 in the zone of the source.
LINES = [
    "الأربعاء فبراير 24, 2016 14:03:32",
    "الأربعاء، 24 فبراير 2016 - 14:03:32",
    "الاربعاء ٢٤ فبراير ٢٠١٦ ١٤:٠٣:٣٢",
    "الأربعاء 24 شباط 2016 14:03:32",
    "24 شباط/فبراير 2016 الساعة 14:03:32",
    "يوم الأربعاء 24 فيفري 2016 14:03:32",
    "چهارشنبه ۵ اسفند ۱۳۹۴ ۱۴:۰۳:۳۲",
    "چهار شنبه، ۵ اسفند ۱۳۹۴ - ساعت ۱۴:۰۳:۳۲",
    "چهارشنبه 5 اسفند 1394 14:03:32",
    "۵ حوت ۱۳۹۴ ۱۴:۰۳:۳۲",
    "چهارشنبه ۲۴ فوریه ۲۰۱۶ ۱۴:۰۳:۳۲",
    "mer. févr. 24, 2016 14:03:32",
    "Mercredi 24 février 2016 à 14:03:32",
    "MERCREDI 24 FEVRIER 2016, 14h03:32",
    "mié feb 24, 2016 14:03:32",
    "miércoles, 24 de febrero de 2016 14:03:32",
    "Ср Фев 24, 2016 14:03:32",
    "Среда, 24 февраля 2016 г. 14:03:32",
    "среда 24 февраль 2016 в 14:03:32",
    "Mi. Feb. 24, 2016 14:03:32",
    "Mittwoch, 24. Februar 2016 um 14:03:32",
    "quarta-feira, 24 de fevereiro de 2016 às 14:03:32",
    "mer feb 24, 2016 14:03:32",
    "mercoledì 24 febbraio 2016, ore 14:03:32",
    "24 Şubat 2016 Çarşamba, 14:03:32",
    "ÇARŞAMBA 24 ŞUBAT 2016 14:03:32",
    "середа, 24 лютого 2016 р. 14:03:32",
    "woensdag 24 februari 2016 om 14:03:32",
    "środa, 24 lutego 2016 r. 14:03:32",
    "Wednesday, February 24th, 2016 at 14:03:32",
]


@pytest.mark.parametrize("line", LINES)
def test_a_line_is_read_in_its_language(line: str) -> None:
    expected = datetime(2016, 2, 24, 14, 3, 32, tzinfo=CAIRO)
    assert date_line(line, CAIRO) == any_date(line, CAIRO) == expected
    assert is_date_line(line)


@pytest.mark.parametrize("line", LINES[:-1])
def test_each_start_of_a_line_from_the_first_name_on_is_known_as_one(line: str) -> None:
    first = next(at for at in range(1, len(line)) if written_name(line[:at]))
    assert [length for length in range(first, len(line) + 1) if not starts_date_line(line[:length].rstrip())] == []


def written_name(text: str) -> bool:
    """Tell whether a whole word of three letters stands in the text, or two of another script."""
    return any(len(word.strip(".,،")) > 2 and not word[0].isdecimal() for word in text.split()) and text[-1] in " ./"


@pytest.mark.parametrize(
    "line, expected",
    [
        ("24 février 2016 14:03 GMT", "2016-02-24T14:03:00+00:00"),
        ("24 février 2016 14:03Z", "2016-02-24T14:03:00+00:00"),
        ("24 février 2016 14:03 (CET)", "2016-02-24T14:03:00+01:00"),
        ("24 февраля 2016 14:03 MSK", "2016-02-24T14:03:00+03:00"),
        ("۵ اسفند ۱۳۹۴ ۱۴:۰۳ +03:30", "2016-02-24T14:03:00+03:30"),
        ("24 فبراير 2016 14:03 GMT+3", "2016-02-24T14:03:00+03:00"),
        ("24 فبراير 2016 14:03 (UTC-03:30)", "2016-02-24T14:03:00-03:30"),
        ("Wed, 24 Feb 2016 14:03:32 +0530", "2016-02-24T14:03:32+05:30"),
        ("Wed Feb 24 14:03:32 UTC 2016", "2016-02-24T14:03:32+00:00"),
        ("Wed, 24 Feb 2016 14:03:32", "2016-02-24T14:03:32+02:00"),
        ("24 juillet 2024 14:03", "2024-07-24T14:03:00+03:00"),
        ("February 24, 2016 2:03 PM", "2016-02-24T14:03:00+02:00"),
        ("24 de febrero de 2016 a las 2:03 p. m.", "2016-02-24T14:03:00+02:00"),
        ("Feb. 24, 2016 12:05 a.m. GMT", "2016-02-24T00:05:00+00:00"),
        ("Feb. 24, 2016 12:05pm", "2016-02-24T12:05:00+02:00"),
        ("Feb. 24, 2016 13:05 pm", None),
        ("Feb. 24, 2016 0:05 am", None),
        ("24-Feb-2016", "2016-02-24T00:00:00+02:00"),
        ("1er mars 2016", "2016-03-01T00:00:00+02:00"),
        ("23 mar 2016", "2016-03-23T00:00:00+02:00"),
        ("mar feb 23, 2016 14:03:32", "2016-02-23T14:03:32+02:00"),
        ("1 كانون الثاني 2016", "2016-01-01T00:00:00+02:00"),
        ("31 كانون الأول 2016", "2016-12-31T00:00:00+02:00"),
        ("5 غشت 2016", "2016-08-05T00:00:00+02:00"),
        ("5 آذار 2016", "2016-03-05T00:00:00+02:00"),
        ("5 آذر 1395", "2016-11-25T00:00:00+02:00"),
        ("30 اسفند 1395", "2017-03-20T00:00:00+02:00"),
        ("1 فروردین 1396", "2017-03-21T00:00:00+02:00"),
        ("1 حمل 1403", "2024-03-20T00:00:00+02:00"),
    ],
)
def test_zones_and_forms(line: str, expected: str | None) -> None:
    found = any_date(line, CAIRO)
    assert (found.isoformat() if found else None) == expected


@pytest.mark.parametrize(
    "line",
    [
        "30 février 2016 14:03",  # no such day
        "30 اسفند 1396 14:03",  # no leap year
        "32 اردیبهشت 1396 14:03",
        "24 février 2016 25:00",
        "24 février 2016 14:61",
        "mardi 24 février 2016 14:03",  # a Wednesday
        "پنجشنبه 5 اسفند 1394 14:03",
        "24 février 1394 14:03",  # a year of the other calendar
        "5 اسفند 2016 14:03",
        "24 février 16 14:03",
        "24 février 2016 14:03 IST",  # India's, Israel's or Ireland's
        "24 Feb 2016 14:03 CST",
        "24 février 2016 14:03 2017",
        "24 février mars 2016 14:03",
        "24 février de 2016 14:03",  # two languages
        "mercredi jeudi 24 février 2016 14:03",
        "24 25 février 2016 14:03",
        "24 février 2016 14:03 +99:00",
        "février 2016",
        "24 février",
        "24 مهما 2016 14:03",
    ],
)
def test_what_is_impossible_or_unclear_is_told_and_not_guessed(line: str) -> None:
    assert any_date(line, UTC) is None
    with pytest.raises(Malformed, match="line 1"):
        date_line(line, UTC)


def test_a_date_line_has_a_time() -> None:
    assert any_date("24 février 2016", UTC) == datetime(2016, 2, 24, tzinfo=UTC)
    assert not is_date_line("24 février 2016")


@pytest.mark.parametrize(
    "text, order, expected",
    [
        ("02/03/2024", None, None),
        ("02/03/2024", "dmy", "2024-03-02"),
        ("02/03/2024", "mdy", "2024-02-03"),
        ("2.3.2024", "dmy", "2024-03-02"),
        ("24/02/2022", None, "2022-02-24"),
        ("02/24/2022", None, "2022-02-24"),
        ("24/02/2022", "mdy", None),
        ("03/03/2024", None, "2024-03-03"),
        ("2024/3/2", None, "2024-03-02"),
        ("2024/13/2", None, None),
        ("30/02/2024", None, None),
        ("13/13/2024", None, None),
        ("02/03/24", "dmy", None),
        ("02/03-2024", "dmy", None),
        ("1394/12/05", None, None),  # Solar Hijri or lunar
        ("٢٤/٠٢/٢٠٢٢", None, "2022-02-24"),
    ],
)
def test_a_date_in_figures_that_may_be_two_is_none_without_an_order(
    text: str, order: DateOrder | None, expected: str | None
) -> None:
    found = any_date(text, UTC, order)
    assert (found.date().isoformat() if found else None) == expected
    timed = any_date(f"{text} 14:03:32", UTC, order)
    assert (timed.isoformat() if timed else None) == (f"{expected}T14:03:32+00:00" if expected else None)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("Tue, 03/08/2022 - 09:20", "2022-03-08T09:20:00+00:00"),
        ("Thu 03/08/2022", None),
        ("Tue 03/12/2024", None),  # both are Tuesdays
        ("Someday 03/08/2022", None),
        ("Di., 24.02.2022, 09:20 Uhr", None),  # a Thursday
        ("Do., 24.02.2022, 09:20 Uhr", "2022-02-24T09:20:00+00:00"),
        ("24/02/2022 à 18h04", "2022-02-24T18:04:00+00:00"),
        ("24.02.2022 – 9:20 p.m.", "2022-02-24T21:20:00+00:00"),
        ("2024年7月19日 6時30分", "2024-07-19T06:30:00+00:00"),
        ("2004年8月27日（金）", "2004-08-27T00:00:00+00:00"),
        ("2024년 10월 2일", "2024-10-02T00:00:00+00:00"),
        ("2024. 2. 30.", None),
        ("2024年2月30日", None),
        ("2024.10.02. 오후 8:15", None),  # in the afternoon
    ],
)
def test_figures_are_read_with_what_stands_around_them(text: str, expected: str | None) -> None:
    found = any_date(text, UTC)
    assert (found.isoformat() if found else None) == expected


@pytest.mark.parametrize(
    "text, language, expected",
    [
        ("03/04/2025", "de", "2025-04-03"),
        ("03/04/2025", "en-GB", "2025-04-03"),
        ("03/04/2025", "pt_BR", "2025-04-03"),
        ("03/04/2025", "de-XX", "2025-04-03"),
        ("03/04/2025", "en", None),
        ("03/04/2025", "en-US", None),
        ("03/04/2025", "fr-CA", None),
        ("03/04/2025", "tlh", None),
        ("03/04/2025", "?", None),
        ("03/04/2025", None, None),
        ("۱۴۰۳/۰۲/۱۱ - ۰۸:۴۰", "fa-IR", "2024-04-30"),
        ("1403-02-11", "fa", "2024-04-30"),
        ("1403/12/30", "fa", "2025-03-20"),
        ("1402/12/30", "fa", None),
        ("2024/02/11", "fa", "2024-02-11"),
        ("1999-02-11T08:00:00Z", "fa", "1999-02-11"),
        ("1445/09/05", "ar", None),
        ("1403-02-11", "en", None),
    ],
)
def test_the_language_of_a_page_may_tell_the_order_and_the_calendar(
    text: str, language: str | None, expected: str | None
) -> None:
    found = published(text, SourceProfile(name="a"), language)
    assert (found.date().isoformat() if found else None) == expected


def test_the_order_of_a_profile_outweighs_the_language() -> None:
    found = published("03/04/2025", SourceProfile(name="a", date_order="mdy"), "de")
    assert found is not None
    assert found.month == 3


MONTHS = {
    "ar": "يناير فبراير مارس أبريل مايو يونيو يوليو أغسطس سبتمبر أكتوبر نوفمبر ديسمبر",
    "ar-sy": "كانون_الثاني شباط آذار نيسان أيار حزيران تموز آب أيلول تشرين_الأول تشرين_الثاني كانون_الأول",
    "ar-ma": "يناير فبراير مارس أبريل ماي يونيو يوليوز غشت شتنبر أكتوبر نونبر دجنبر",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "es": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    "ru": "января февраля марта апреля мая июня июля августа сентября октября ноября декабря",
    "de": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    "pt": "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
    "it": "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
    "tr": "Ocak Şubat Mart Nisan Mayıs Haziran Temmuz Ağustos Eylül Ekim Kasım Aralık",
    "en": "January February March April May June July August September October November December",
}
SOLAR = ["فروردین", "اردیبهشت", "خرداد", "تیر", "مرداد", "شهریور", "مهر", "آبان", "آذر", "دی", "بهمن", "اسفند"]
FIRST, LAST = date(1950, 1, 1), date(2050, 12, 31)


def days() -> Iterator[date]:
    """Yield the days of a century."""
    day = FIRST
    while day <= LAST:
        yield day
        day += timedelta(days=1)


def test_every_day_of_a_century_is_read_back() -> None:
    languages = [[name.replace("_", " ") for name in names.split()] for names in MONTHS.values()]
    for number, day in enumerate(days()):
        months = languages[number % len(languages)]
        found = written(f"{day.day} {months[day.month - 1]} {day.year}")
        assert found is not None, day
        assert found.moment(UTC).date() == day


def solar_days() -> Iterator[tuple[int, int, int]]:
    """Count Solar Hijri days from 1 January 1950 on, by the 33-year rule, which holds for 1178 to 1501."""
    year, month, day = 1328, 10, 11
    while True:
        yield year, month, day
        leap = (25 * year + 11) % 33 < 8
        length = 31 if month <= 6 else 30 if month < 12 or leap else 29
        day += 1
        if day > length:
            month, day = month + 1, 1
        if month > 12:
            year, month = year + 1, 1


def test_every_solar_day_of_a_century_is_converted() -> None:
    for gregorian, (year, month, day) in zip(days(), solar_days(), strict=False):
        found = written(f"{day} {SOLAR[month - 1]} {year}")
        assert found is not None, gregorian
        assert found.moment(UTC).date() == gregorian


@given(text=st.text(max_size=130) | st.text(st.sampled_from("24 فبراير/mar.:h+-2016esdZ٣"), max_size=60))
def test_no_text_makes_it_raise(text: str) -> None:
    any_date(text, UTC)
    starts_date_line(text or "x")


def read(body: bytes) -> ParsedPage:
    return parse(Payload(source="a", body=body), SourceProfile(name="a", timezone="Africa/Cairo"))


PAGE = "الأربعاء 24 شباط/فبراير 2016 14:03:32\nأغلق الميناء يوم الأربعاء.\nE/S 212-11\n".encode() + dump_of(
    (("17", "A"),)
)


def test_a_page_with_such_a_line_is_recognised_and_keeps_it() -> None:
    page = read(PAGE)
    assert (page.parser, page.published_raw) == ("vardump", "الأربعاء 24 شباط/فبراير 2016 14:03:32")
    assert page.published_at == datetime(2016, 2, 24, 14, 3, 32, tzinfo=CAIRO)


def test_a_page_that_ends_in_such_a_line_is_truncated() -> None:
    line = PAGE.partition(b"\n")[0].decode()
    for length in range(3, len(line) + 1):
        with pytest.raises(Truncated):
            read(line[:length].encode())
