"""Names of authors: what a page states, and what a line of it shows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.steps.parse.names import byline, names_of

BYLINES = {
    "By Ida Holm and Per Lund": ("Ida Holm", "Per Lund"),
    "By Ida Holm, Environment correspondent": ("Ida Holm",),
    "Ida Holm, BBC News": ("Ida Holm",),
    "By Ida Holm in Oslo and Per Lund in Port Lowen": ("Ida Holm", "Per Lund"),
    "By Ida Holm, Oslo, and Per Lund, Bergen": ("Ida Holm", "Per Lund"),
    "Ida Holm, Per Lund, Ana Ruiz and Jo Ek": ("Ida Holm", "Per Lund", "Ana Ruiz", "Jo Ek"),
    "By Ida Holm and agencies": ("Ida Holm",),
    "Von Ida Holm und dpa": ("Ida Holm",),
    "IDA HOLM | Harbour desk": ("IDA HOLM",),
    "Analysis by Ida Holm (Oslo)": ("Ida Holm",),
    "Von Jonas Ahrens und Silke Petersen, Nordland-Presse": ("Jonas Ahrens", "Silke Petersen"),
    "Von Miller": ("Von Miller",),
    "Par Claire Vasseur à Port-Louis": ("Claire Vasseur",),
    "Publié par Solenn Le Goff et Étienne Marchand": ("Solenn Le Goff", "Étienne Marchand"),
    "Por Julián Ortega y Gálvez": ("Julián Ortega y Gálvez",),
    "Por Ana Ruiz y Luis Gil": ("Ana Ruiz", "Luis Gil"),
    "di Giulia Ferrante e Paolo De Santis": ("Giulia Ferrante", "Paolo De Santis"),
    "Автор: Анна Верещагина": ("Анна Верещагина",),
    "Дарья Костюк, корреспондент": ("Дарья Костюк",),
    "Yazar: Ayşe Yılmaz/İZMİR": ("Ayşe Yılmaz",),
    "بقلم: سامر الخطيب": ("سامر الخطيب",),
    "خبرنگار: مریم آذری": ("مریم آذری",),
    "記者：佐伯 美和": ("佐伯 美和",),
    "文/张三": ("张三",),
    "윤한솔 기자": ("윤한솔",),
}


@pytest.mark.parametrize("text", BYLINES)
def test_a_byline_names_people_without_what_stands_around(text: str) -> None:
    assert byline(text) == BYLINES[text]
    assert tuple(names_of([text])) == BYLINES[text]


@pytest.mark.parametrize(
    "text",
    [
        "By topic", "Staff Reporter", "By Associated Press", "Photo by Ida Holm", "About Ida Holm", "Ida", "By Ida",
        "ida holm", "Ida Holm 2", "The Quay is closed", "Read More", "Guest Post", "CNN Business", "Doe, Ida",
        "بقلم أحمد علي وسارة حسن", "写街巷的人吗", "",
    ],
)  # fmt: skip
def test_a_line_that_may_be_something_else_names_nobody(text: str) -> None:
    assert byline(text) == ()


def test_a_name_alone_is_no_byline_where_a_label_is_asked_for() -> None:
    assert byline("Ida Holm", labelled=True) == ()
    assert byline("By Ida Holm", labelled=True) == ("Ida Holm",)


@pytest.mark.parametrize(
    "text, names",
    [
        ("dpa", ("dpa",)),
        ("Associated Press", ("Associated Press",)),
        ("Salt and Pepper", ("Salt and Pepper",)),
        ("Maud", ("Maud",)),
        ("Ida Holm <ida@quay.example>", ("Ida Holm",)),
        ("Ida Holm, Boston Globe", ("Ida Holm",)),
        ("Ida Holm, New York", ("Ida Holm",)),
        ("admin", ()),
        ("Super User", ()),
        ("Redaktion", ()),
        ("Holm, Ida", ()),
        ("[object Object]", ()),
        ("A " * 1000, ()),
    ],
)
def test_a_stated_author_that_is_no_persons_name_stays_as_it_is(text: str, names: tuple[str, ...]) -> None:
    assert tuple(names_of([text])) == names


@given(text=st.text() | st.text(st.sampled_from("AbÉя و名김.,;/&| byand'()-"), max_size=60))
def test_no_text_makes_it_raise(text: str) -> None:
    byline(text)
    assert all(tuple(names_of([text])))
