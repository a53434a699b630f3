from __future__ import annotations

import pytest

from tasks.steps.parse import date_names
from tests.support.date_names import LOCALES, names, orders


@pytest.mark.parametrize("kind, table", [("months", date_names.MONTHS), ("days", date_names.WEEKDAYS)])
@pytest.mark.parametrize("language", LOCALES)
def test_the_names_are_those_of_cldr(language: str, kind: str, table: dict[str, str]) -> None:
    written = [one.split(",") for one in table[language].removesuffix(";").split(";")]
    assert written == names(language, kind), "python -m tests.support.date_names writes them anew"


def test_the_order_of_dates_in_figures_is_that_of_cldr() -> None:
    assert orders() == (date_names.DAY_FIRST, date_names.DAY_FIRST_OTHERWISE)
