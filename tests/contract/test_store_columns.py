"""Rows reach a statement as they are, in whatever form their columns are sent."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from worker.store import SqlStore
from worker.store.driver import statement

BACK = statement("SELECT n, t, u, i, b FROM {rows} ORDER BY n", n="int", t="text", u="text", i="int", b="blob")
Rest = tuple[str | None, str | None, int | None, bytes | None]

texts = st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
separators = st.sampled_from(["", "\x1e", "\x1f", "a\x1fb", "\x1e\x1e", "a"])
rows = st.lists(
    st.tuples(
        texts | separators,
        separators | st.none(),
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.none() | st.binary(max_size=4),
    ),
    min_size=1,
    max_size=5,
)


def back(store: SqlStore, rest: list[Rest]) -> list[tuple[Any, ...]]:
    with store._driver.transaction() as tx:
        return [tuple(row) for row in tx.read(BACK, [(number, *one) for number, one in enumerate(rest)])]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rest=rows)
def test_every_row_comes_back(store: SqlStore, rest: list[Rest]) -> None:
    assert back(store, rest) == [(number, *one) for number, one in enumerate(rest)]


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("one", [(None, None), ("", ""), ("a", "\x1f"), ("\x1e", None)])
def test_rows_that_are_all_the_same_are_as_many_as_they_were(
    store: SqlStore, count: int, one: tuple[str | None, str | None]
) -> None:
    same = statement("SELECT t, u FROM {rows}", t="text", u="text")
    with store._driver.transaction() as tx:
        assert [tuple(row) for row in tx.read(same, [one] * count)] == [one] * count
