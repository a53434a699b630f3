"""CSS selectors: they mean what cssselect says, on any page in bounded time."""

from __future__ import annotations

import cssselect
import lxml.html
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from tasks.steps.parse.markup import tree_of
from tasks.steps.parse.selectors import compiled, select

PARTS = st.sampled_from(
    ("*", "div", "p", ".a", "i.b", "#x", "[title]", '[title^="q"]', "p:first-child", "*:not(.a)", "i:nth-child(2)")
)
SELECTORS = st.lists(
    st.builds(
        lambda first, rest: first + "".join(f"{joined}{part}" for joined, part in rest),
        PARTS,
        st.lists(st.tuples(st.sampled_from((" ", " > ", " + ", " ~ ")), PARTS), max_size=3),
    ),
    min_size=1,
    max_size=2,
).map(", ".join)
ATTRIBUTES = st.sampled_from(("", ' class="a"', ' class="b a"', ' id="x"', ' title="q r"'))
PAGES = st.recursive(
    st.sampled_from(("x", "")),
    lambda inner: st.builds(
        lambda tag, attribute, parts: f"<{tag}{attribute}>{''.join(parts)}</{tag}>",
        st.sampled_from(("div", "p", "i")),
        ATTRIBUTES,
        st.lists(inner, max_size=4),
    ),
    max_leaves=20,
)


@given(page=PAGES, selector=SELECTORS)
def test_a_selector_means_what_its_translation_to_xpath_means(page: str, selector: str) -> None:
    tree = etree.fromstring(f"<html><body>{page}</body></html>", lxml.html.XHTMLParser())
    translated = cssselect.HTMLTranslator().css_to_xpath(selector)
    assert list(select(tree, selector)) == etree.XPath(translated)(tree)


@pytest.mark.parametrize(
    "selector, told",
    [
        ("h1..x", "'h1..x' is not a CSS selector: Expected ident, got <DELIM '.' at 3>"),
        ("", "'' is not a CSS selector: Expected selector"),
        ("p >", "'p >' is not a CSS selector: Expected selector"),
        ("p:foo", "'p:foo' is not a CSS selector: The pseudo-class :foo is unknown"),
        ("a::text", "'a::text' is not a CSS selector: no pseudo-elements: text is the value by itself"),
        ("div:has(p)", "'div:has(p)' is not a CSS selector: :has() is not supported"),
        ("p:not(.a .b)", "'p:not(.a .b)' is not a CSS selector: a pseudo-class takes single elements only"),
        ("svg|p", "'svg|p' cannot be looked for: Undefined namespace prefix"),
    ],
)
def test_a_selector_that_is_none_is_told(selector: str, told: str) -> None:
    with pytest.raises(ValueError, match=r"selector|looked") as caught:
        compiled(selector)
    assert str(caught.value).startswith(told)


# Each of these, translated to XPath, holds libxml2 for minutes on one of the pages.
@pytest.mark.parametrize("selector", ["div p", "div div p", ".x .story p", "p + p", "p ~ p", "p ~ p ~ p", "i ~ p"])
def test_a_hostile_page_is_searched_in_bounded_time(selector: str) -> None:
    many = tree_of(b"<html><body><div>" + b"<p>x</p>" * 20_000 + b"</div></html>")
    deep = tree_of(b"<html><body>" + b"<div class=story>" * 240 + b"<p>x</p>" * 10_000 + b"</html>")
    assert [len(select(tree, selector)) for tree in (many, deep)] == {
        "div p": [20_000, 10_000],
        "div div p": [0, 10_000],
        "p + p": [19_999, 9_999],
        "p ~ p": [19_999, 9_999],
        "p ~ p ~ p": [19_998, 9_998],
    }.get(selector, [0, 0])
