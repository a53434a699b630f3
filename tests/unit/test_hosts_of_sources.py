from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import Unsafe
from tasks.steps.hosts import Target, host_allowed, host_named, target


@pytest.mark.parametrize(
    "host, hosts, allowed",
    [
        ("a.example", ["a.example"], True),
        ("a.example", ["b.example", "A.Example"], True),
        ("a.example:443", ["a.example"], True),
        ("a.example", ["a.example:80"], True),
        ("a.example:8080", ["a.example"], False),
        ("a.example:8080", ["a.example:8080"], True),
        ("a.example", ["a.example:8080"], False),
        ("a.example.", ["a.example"], False),
        ("b.a.example", ["a.example"], False),
        ("a.example", [], False),
        ("[::1]", ["[::1]:80"], True),
        ("[::80]", ["[::]"], False),
    ],
)
def test_a_host_stands_for_the_ports_of_the_web_only(host: str, hosts: list[str], *, allowed: bool) -> None:
    assert host_allowed(host, hosts) is allowed


@pytest.mark.parametrize(
    "host, names, named",
    [
        ("127.0.0.1:81", ["127.0.0.1"], True),
        ("127.0.0.1", ["127.0.0.1"], True),
        ("127.0.0.1:81", ["127.0.0.1:81"], True),
        ("127.0.0.1:82", ["127.0.0.1:81"], False),
        ("127.0.0.1", ["127.0.0.1:81"], False),
        ("[::1]:81", ["[::1]"], True),
        ("[::1]", ["[:"], False),
        ("localhost:81", ["LOCALHOST"], True),
        ("localhost", [], False),
    ],
)
def test_a_name_stands_for_all_of_its_ports_where_private_ones_are_allowed(
    host: str, names: list[str], *, named: bool
) -> None:
    assert host_named(host, names) is named


def test_a_target_is_written_as_the_frontier_writes_it() -> None:
    got = target("../B?q=\u00e9#part", ["a.example"], base="HTTP://A.example:80/x/y")
    assert got == Target("http://a.example/B?q=%C3%A9", "a.example")


@given(st.text(max_size=60))
def test_any_text_is_a_target_or_unsafe_and_is_told_in_text_that_can_be_stored(text: str) -> None:
    try:
        got = target(text, ["a.example"], base="http://a.example/x")
    except Unsafe as error:
        str(error).encode()
    else:
        assert got.url.startswith(("http://a.example/", "https://a.example/"))


@pytest.mark.parametrize("text", ["http://a.example/\udc80", "http://\udcff.example/", "\udc80:"])
def test_bytes_that_are_no_text_are_told_in_text(text: str) -> None:
    try:
        assert target(text, ["a.example"]).url.isascii()
    except Unsafe as error:
        str(error).encode()
