"""RFC 9309, section 2.2, sentence by sentence: what a robots.txt allows."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.steps.robots import Rules, read_rules, robots_text

SITE = "https://quay.example"


@dataclass(frozen=True)
class Case:
    """What ``foobot`` may and may not fetch by a file; paths, separated by blanks."""

    says: str  # the sentence, in few words
    text: str
    allowed: str = ""
    refused: str = ""


def rules(text: str) -> Rules:
    return read_rules(text, "foobot")


PROTOCOL = [  # sections 2.1, 2.2 and the grammar
    Case("no file content is no rule", "", allowed="/ /a"),
    Case("a group is user-agent lines followed by rules", "User-agent: foobot\nDisallow: /a", "/b", "/a /a/b /ab"),
    Case("several user-agent lines share their rules", "User-agent: a\nUser-agent: foobot\nDisallow: /a", "/b", "/a"),
    Case("also with a blank line between them", "User-agent: foobot\n\nUser-agent: a\n\nDisallow: /a", "/b", "/a"),
    Case("a blank line does not end a group", "User-agent: foobot\nAllow: /b\n\nDisallow: /a", "/b", "/a"),
    Case("a user-agent line does", "User-agent: foobot\nDisallow: /a\nUser-agent: x\nDisallow: /b", "/b", "/a"),
    Case("the last group may have no rules: all is allowed", "User-agent: *\nDisallow: /\nUser-agent: foobot", "/ /a"),
    Case("keys are case-insensitive", "uSeR-aGeNt: foobot\nDISALLOW: /a\naLLow: /a/b", "/a/b", "/a /a/c"),
    Case("blanks around key and value", " \tUser-agent \t:\t foobot \t\n  Disallow\t:/a \t", "/b", "/a"),
    Case("no blank at all", "user-agent:foobot\ndisallow:/a\nallow:/a/b", "/a/b", "/a"),
    Case("lines end in CR", "User-agent: foobot\rDisallow: /a\rAllow: /a/b\r", "/a/b", "/a"),
    Case("lines end in CR LF", "User-agent: foobot\r\nDisallow: /a\r\nAllow: /a/b\r\n", "/a/b", "/a"),
    Case("lines end in either", "User-agent: foobot\nDisallow: /a\r\r\nDisallow: /b\rAllow: /a/b", "/a/b", "/a /b"),
    Case("the last line ends with the file", "User-agent: foobot\nDisallow: /a", "/b", "/a"),
    Case("nothing else ends a line", "User-agent: foobot\nDisallow: /a\u2028b\u0085c\x0cd\x1ce", "/a", ""),
    Case("and so it is a path", "User-agent: foobot\nDisallow: /a\u2028b", "/a /a/b", "/a%E2%80%A8b"),
    Case("empty lines and comments stand anywhere", "#\n\n# x\nUser-agent: foobot\n#\n \nDisallow: /a\n#", "/b", "/a"),
    Case("an empty pattern matches nothing", "User-agent: foobot\nDisallow:\nAllow:", "/ /a"),
    Case("but is a rule, which ends the agents", "User-agent: foobot\nDisallow:\nUser-agent: x\nDisallow: /", "/a"),
    Case("a path begins with a slash", "User-agent: foobot\nDisallow: a\nDisallow: https://quay.example/b", "/a /b"),
]

AGENTS = [  # section 2.2.1
    Case("product tokens match case-insensitively", "User-agent: FOObot\nDisallow: /a", "/b", "/a"),
    Case("as a whole: not what ours begins with", "User-agent: foo\nDisallow: /", "/a"),
    Case("nor what ours ends with", "User-agent: bot\nDisallow: /", "/a"),
    Case("nor what begins with ours", "User-agent: foobot-news\nDisallow: /", "/a"),
    Case("nor what ends with ours", "User-agent: my-foobot\nDisallow: /", "/a"),
    Case("nor with figures behind it", "User-agent: foobot2\nDisallow: /", "/a"),
    Case("a version or a comment is no part of it", "User-agent: foobot/2.1 (x)\nDisallow: /a", "/b", "/a"),
    Case(
        "groups of one agent are combined",
        "User-agent: foobot\nDisallow: /a\n\nUser-agent: x\nDisallow: /b\n\nUser-agent: Foobot\nDisallow: /c",
        "/b",
        "/a /c",
    ),
    Case(
        "also where one names the version",
        "User-agent: foobot\nDisallow: /a\nUser-agent: foobot/1\nDisallow: /b",
        "/c",
        "/a /b",
    ),
    Case(
        "and where another agent is between",
        "User-agent: x\nUser-agent: foobot\nDisallow: /a\nUser-agent: foobot\nAllow: /a/b",
        "/a/b",
        "/a",
    ),
    Case(
        "combined, the longest rule of all wins",
        "User-agent: foobot\nDisallow: /a\nUser-agent: *\nDisallow: /\nUser-agent: foobot\nAllow: /a/b",
        "/a/b /b",
        "/a /a/c",
    ),
    Case(
        "with a group of ours, * is nothing to us",
        "User-agent: *\nDisallow: /a\nUser-agent: foobot\nDisallow: /b",
        "/a",
        "/b",
    ),
    Case("wherever it stands", "User-agent: foobot\nDisallow: /b\nUser-agent: *\nDisallow: /a", "/a", "/b"),
    Case("without one, * is obeyed", "User-agent: x\nDisallow: /b\nUser-agent: *\nDisallow: /a", "/b", "/a"),
    Case(
        "groups of * are combined too",
        "User-agent: *\nDisallow: /a\nUser-agent: x\nUser-agent: *\nDisallow: /b",
        "/c",
        "/a /b",
    ),
    Case("* and ours in one group", "User-agent: *\nUser-agent: foobot\nDisallow: /a", "/b", "/a"),
    Case("no group of ours and no *: no rules", "User-agent: x\nDisallow: /", "/ /a"),
    Case("* is no pattern for names", "User-agent: foo*\nDisallow: /\nUser-agent: *bot\nDisallow: /", "/a"),
    Case("an agent without a name is nobody", "User-agent:\nDisallow: /", "/a"),
    Case("and ends the group before", "User-agent: foobot\nDisallow: /a\nUser-agent:\nDisallow: /b", "/b", "/a"),
    Case("a name that is none is nobody", "User-agent: ツ\nDisallow: /", "/a"),
    Case("a comment behind the name", "User-agent: foobot # us\nDisallow: /a", "/b", "/a"),
]

PATHS = [  # section 2.2.2
    Case("matching is case-sensitive", "User-agent: *\nDisallow: /Ab", "/ab /AB", "/Ab /Abc"),
    Case("it begins with the first octet", "User-agent: *\nDisallow: /a", "/b/a //a", "/a"),
    Case(
        "a rule matches what begins with it",
        "User-agent: *\nDisallow: /fish",
        "/Fish /catfish /?id=fish",
        "/fish /fish.html /fish/salmon /fishheads /fish?x",
    ),
    Case("a slash at its end counts", "User-agent: *\nDisallow: /fish/", "/fish /fish.html", "/fish/ /fish/a"),
    Case("the most octets win", "User-agent: *\nAllow: /p\nDisallow: /", "/page", "/ /a"),
    Case("whatever the order", "User-agent: *\nDisallow: /a/page.gif\nAllow: /a/", "/a/b", "/a/page.gif"),
    Case("in encoded octets", "User-agent: *\nAllow: /é\nDisallow: /*abcd", "/%C3%A9abcd", "/abcd"),
    Case("a rule that is both: allow", "User-agent: *\nDisallow: /a\nAllow: /a", "/a /a/b"),
    Case("whatever the order of these", "User-agent: *\nAllow: /a\nDisallow: /a", "/a /a/b"),
    Case("also when it stands twice", "User-agent: *\nDisallow: /a\nDisallow: /a\nAllow: /a", "/a"),
    Case("rules of as many octets: allow", "User-agent: *\nDisallow: /*b\nAllow: /ab", "/ab", "/cb"),
    Case("no match: allowed", "User-agent: *\nDisallow: /a\nDisallow: /b", "/c /"),
    Case("no rules: allowed", "User-agent: *", "/ /a"),
    Case(
        "/robots.txt is allowed",
        "User-agent: *\nDisallow: /\nDisallow: /robots.txt",
        "/robots.txt /%72obots%2Etxt",
        "/robots.txt?x",
    ),
    Case("but not all that is called so", "User-agent: *\nDisallow: /", "", "/a/robots.txt /robots.txt/a /Robots.txt"),
    Case("rules in no group are ignored", "Disallow: /\nAllow: /a\nUser-agent: *\nDisallow: /b", "/a /c", "/b"),
    Case("queries are matched", "User-agent: *\nDisallow: /a?b=1", "/a /a?b=2 /a?c&b=1", "/a?b=1 /a?b=12"),
    Case("a lone question mark", "User-agent: *\nDisallow: /a?", "/a /ab", "/a? /a?b"),
    Case("the home page", "User-agent: *\nDisallow: /$", "/a /?a", "/"),
    Case("double slashes are two", "User-agent: *\nDisallow: //a", "/a", "//a //a/b"),
    Case("index.html is a page as any", "User-agent: *\nDisallow: /a/\nAllow: /a/index.html", "/a/index.html", "/a/"),
    Case("parameters, commas and brackets", "User-agent: *\nDisallow: /a;b,c(d)[e]", "/a;b", "/a;b,c(d)[e]f"),
]

OCTETS = [  # section 2.2.2, and section 6.2.2.2 of RFC 3986
    Case("UTF-8 in the rule", "User-agent: *\nDisallow: /foo/ツ", "/foo/", "/foo/%E3%83%84 /foo/%e3%83%84 /foo/ツ"),
    Case("encoded in the rule", "User-agent: *\nDisallow: /foo/%E3%83%84", "/foo/%E3", "/foo/%E3%83%84 /foo/ツx"),
    Case("encoded in lower case", "User-agent: *\nDisallow: /%e3%83%84", "/%E3%83%85", "/%E3%83%84"),
    Case("unreserved octets are decoded", "User-agent: *\nDisallow: /foo/%62%61%7A", "/foo/ba", "/foo/baz /foo/b%61z"),
    Case("in the URL", "User-agent: *\nDisallow: /~joe/a-b_c.d", "/joe", "/%7Ejoe/a%2Db%5Fc%2ed /~joe/%61-b_c.d"),
    Case(
        "a slash is no encoded slash",
        "User-agent: *\nDisallow: /a%2Fb\nDisallow: /c/d",
        "/a/b /c%2Fd",
        "/a%2fb /a%2Fb /c/d",
    ),
    Case(
        "where a path is; in a query it is",
        "User-agent: *\nDisallow: /a?u=http://b/c",
        "/a?u=http:",
        "/a?u=http://b/c /a?u=http%3A%2F%2fb%2Fc",
    ),
    Case("also the other way", "User-agent: *\nDisallow: /a?u=http%3A%2F%2Fb", "/a?u=http", "/a?u=http://b/c"),
    Case("a query stays as it is", "User-agent: *\nDisallow: /foo/bar?baz=quz", "/foo/bar%", "/foo/bar?baz=quz"),
    Case("reserved octets are encoded first", "User-agent: *\nDisallow: /a:b@c=d", "/a:b", "/a%3Ab%40c%3Dd /a:b@c=d"),
    Case("a percent sign is one", "User-agent: *\nDisallow: /100%25", "/100", "/100%25 /100%25a"),
    Case("and what is encoded twice is not decoded", "User-agent: *\nDisallow: /a%2562", "/ab /a%62", "/a%2562"),
    Case(
        "octets that are no UTF-8 are told apart", "User-agent: *\nDisallow: /%E7%E1", "/%E7%E2 /%EF%BF%BD", "/%e7%E1"
    ),
    Case("a blank inside", "User-agent: *\nDisallow: /a b", "/a", "/a%20b"),
    Case(
        "an allowed query in another spelling",
        "User-agent: *\nDisallow: /\nAllow: /a?u=//b\nAllow: /c?u=/%2F",
        "/a?u=%2F%2Fb /a?u=//b /a?u=/%2fb /c?u=// /c?u=%2f/ /c?u=%2F%2F",
        "/a?u=/b /c?u=%2F /d?u=//b",
    ),
]

SPECIAL = [  # section 2.2.3
    Case("# begins a comment", "User-agent: *\nDisallow: /a # and /b\n#Disallow: /c\nDisallow: /d#e", "/b /c", "/a /d"),
    Case("a number sign is written %23", "User-agent: *\nDisallow: /a%23b", "/a", "/a%23b"),
    Case("$ is the end", "User-agent: *\nDisallow: /a$", "/a/ /ab /a?x", "/a"),
    Case("and nothing else: not a dollar", "User-agent: *\nDisallow: /\nAllow: /a$", "/a", "/a$ /a$b /a%24b"),
    Case("only where the rule ends", "User-agent: *\nDisallow: /a$b", "/a", "/a$b /a$bc /a%24b"),
    Case("a dollar is written %24", "User-agent: *\nDisallow: /foo-%24", "/foo-", "/foo-$ /foo-%24a"),
    Case(
        "* is any number of octets",
        "User-agent: *\nDisallow: /this/*/exactly",
        "/this/exactly",
        "/this/a/exactly /this/a/b/exactly /this//exactly /this/a/exactlyso",
    ),
    Case("also none", "User-agent: *\nDisallow: /a*b", "/a", "/ab /aXb /aXbY"),
    Case("also a query's", "User-agent: *\nDisallow: /*?id=", "/a?x&id=1", "/a?id=1 /?id="),
    Case("several", "User-agent: *\nDisallow: /*a*b*c", "/acb /cab", "/abc /xaxbxcx /aabbcc"),
    Case("before the end", "User-agent: *\nDisallow: /*.php$", "/a.php5 /a.php?b /php /a.PHP", "/a.php /b/c.php /.php"),
    Case("the last one counts", "User-agent: *\nDisallow: /*ab$", "/abc", "/abcab /ab"),
    Case("at the start", "User-agent: *\nDisallow: *.gif$", "/a.gifs", "/a.gif /b/c.gif"),
    Case("at the end it says nothing", "User-agent: *\nDisallow: /fish*", "/Fish", "/fish /fishes"),
    Case("but is an octet", "User-agent: *\nDisallow: /fish*\nAllow: /fish", "/fis", "/fish /fishes"),
    Case("alone", "User-agent: *\nDisallow: *", "/robots.txt", "/ /a"),
    Case("many in a row", "User-agent: *\nDisallow: /a***b", "/ac", "/ab /acb"),
    Case("an asterisk is written %2A", "User-agent: *\nDisallow: /a-%2A.html", "/a-b.html", "/a-*.html /a-%2A.html"),
    Case("the end after an asterisk", "User-agent: *\nDisallow: /a*$", "/b", "/a /ab /a/b?c"),
]

RECORDS = [  # sections 2.2.4 and 2.3.1.5
    Case("a sitemap does not end a group", "User-agent: foobot\nSitemap: /s\nUser-agent: x\nDisallow: /a", "/b", "/a"),
    Case("nor between rules", "User-agent: foobot\nAllow: /b\nSitemap: https://a/\nDisallow: /a", "/b", "/a"),
    Case("nor any other record", "User-agent: foobot\nCrawl-delay: 5\nUser-agent: x\nDisallow: /a", "/b", "/a"),
    Case("nor one that nobody knows", "User-agent: foobot\nFoo: bar\nHost: a\nUser-agent: x\nDisallow: /a", "/b", "/a"),
    Case("* with a delay only", "User-agent: *\nCrawl-delay: 9\n\nUser-agent: x\nDisallow: /a", "/b", "/a"),
    Case("lines that cannot be read are passed over", "<html>\nUser-agent: *\n???\n: /\nDisallow: /a\n/b", "/b", "/a"),
    Case("a missing colon", "User-agent foobot\nDisallow /a\nAllow /a/b", "/a/b /b", "/a"),
    Case("common misspellings", "Useragent: *\nDissallow: /a\nDisalow: /b\nDisallaw: /c", "/d", "/a /b /c"),
    Case(
        "what only begins like a record", "User-agents: foobot\nUser-agent: *\nDisallowed: /a\nDisallow: /b", "/a", "/b"
    ),
    Case("a byte order mark", robots_text(b"\xef\xbb\xbfUser-agent: *\nDisallow: /a"), "/b", "/a"),
    Case("a blank of another kind", "User-agent:\u00a0foobot\n\u00a0Disallow:\u00a0/a", "/b", "/a"),
]

EXAMPLE = """User-Agent: *
Disallow: *.gif$
Disallow: /example/
Allow: /publications/

User-Agent: foobot
Disallow:/
Allow:/example/page.html
Allow:/example/allowed.gif

User-Agent: barbot
User-Agent: bazbot
Disallow: /example/page.html

User-Agent: quxbot
"""


@pytest.mark.parametrize("case", [*PROTOCOL, *AGENTS, *PATHS, *OCTETS, *SPECIAL, *RECORDS], ids=lambda case: case.says)
def test_a_file_is_read_as_rfc_9309_says(case: Case) -> None:
    found = rules(case.text)
    assert [path for path in case.allowed.split() if not found.allowed(SITE + path)] == []
    assert [path for path in case.refused.split() if found.allowed(SITE + path)] == []


@pytest.mark.parametrize(
    "token, allowed, refused",
    [
        ("anybot", "/a /publications/x.gifs /publications/", "/a.gif /example/page.html"),
        ("foobot", "/example/page.html /example/allowed.gif", "/ /a /example/ /publications/"),
        ("barbot", "/ /a.gif /example/", "/example/page.html"),
        ("bazbot", "/ /a.gif /example/", "/example/page.html"),
        ("quxbot", "/ /a.gif /example/page.html", ""),
    ],
)
def test_the_example_of_the_rfc(token: str, allowed: str, refused: str) -> None:
    found = read_rules(EXAMPLE, token)
    assert all(found.allowed(SITE + path) for path in allowed.split())
    assert not any(found.allowed(SITE + path) for path in refused.split())


def test_the_longest_match_of_the_rfc() -> None:
    text = "User-Agent: foobot\nAllow: /example/page/\nDisallow: /example/page/disallowed.gif\n"
    assert rules(text).allowed("https://example.com/example/page/")
    assert not rules(text).allowed("https://example.com/example/page/disallowed.gif")


@pytest.mark.parametrize(
    "url", ["https://quay.example", "https://quay.example:8443/", "http://a@quay.example/#a", "https://[::1]"]
)
def test_a_url_without_a_path_is_the_home_page(url: str) -> None:
    assert not rules("User-agent: *\nDisallow: /$").allowed(url)
    assert rules("User-agent: *\nDisallow: /a").allowed(url)


def test_a_fragment_is_no_part_of_a_path() -> None:
    assert not rules("User-agent: *\nDisallow: /a$").allowed("https://quay.example/a#b?c")
    assert rules("User-agent: *\nDisallow: /*b").allowed("https://quay.example/a#b")


# --- against the RFC once more, written in the plainest way ------------------------------------------------------

_UNRESERVED = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~")


def _octets(path: str) -> list[str]:
    """Return the octets of a path, each as it is compared: itself, or percent-encoded."""
    parts = re.findall(r"%[0-9A-Fa-f]{2}|.", path, re.DOTALL)
    octets = []
    for part in parts:
        if len(part) == 3:
            char = chr(int(part[1:], 16))
            octets.append(char if char in _UNRESERVED else part.upper())
        else:
            octets += [part] if part in _UNRESERVED or part in "/*$" else [f"%{one:02X}" for one in part.encode()]
    return octets


def _matches(pattern: str, path: str) -> int:
    """Return the number of octets of a pattern that matches a path; 0: it does not."""
    octets = _octets(pattern)
    end = octets[-1:] == ["$"]
    written = [".*" if one == "*" else re.escape("%24" if one == "$" else one) for one in octets[: -1 if end else None]]
    expression = "".join(written) + (r"\Z" if end else "")
    spelled = "".join("%24" if one == "$" else "%2A" if one == "*" else one for one in _octets(path))
    size = sum(3 if one == "$" else len(one) for one in octets[:-1]) + len(octets[-1])
    return size if re.match(expression, spelled, re.DOTALL) else 0


def _plainly_allowed(groups: list[tuple[list[str], list[tuple[str, str]]]], path: str) -> bool:
    ours = [found for agents, found in groups if "foobot" in agents]
    heard = ours or [found for agents, found in groups if "*" in agents]
    best = max(
        ((_matches(pattern, path), kind == "allow") for found in heard for kind, pattern in found), default=(0, True)
    )
    return best[1] or not best[0]


_PIECES = [
    "/",
    "a",
    "b",
    "%61",
    "%2F",
    "%2f",
    "é",
    "%C3%A9",
    "%E9",
    ":",
    "%3A",
    ".",
    "~",
    "%7E",
    "=",
    "index.html",
    "%25",
]
_path = st.lists(st.sampled_from(_PIECES), max_size=6).map(lambda pieces: "/" + "".join(pieces))
_pattern = st.tuples(
    st.sampled_from(["/", "*"]),
    st.lists(st.sampled_from([*_PIECES, "*", "*", "$"]), max_size=6),
    st.sampled_from(["", "$"]),
).map(lambda parts: parts[0] + "".join(parts[1]) + parts[2])
_group = st.tuples(
    st.lists(st.sampled_from(["foobot", "*", "foo"]), min_size=1, max_size=2),
    st.lists(st.tuples(st.sampled_from(["allow", "disallow"]), _pattern), min_size=1, max_size=5),
)


@given(st.lists(_group, max_size=4), _path, st.lists(st.sampled_from(["", "# x", "Sitemap: x", "Foo: /"]), max_size=3))
def test_what_is_allowed_is_what_the_rfc_allows(
    groups: list[tuple[list[str], list[tuple[str, str]]]], path: str, noise: list[str]
) -> None:
    lines = []
    for agents, found in groups:
        lines += [f"User-agent: {agent}" for agent in agents] + noise
        lines += [f"{kind}: {pattern}" for kind, pattern in found]
    assert rules("\n".join(lines)).allowed(SITE + path) == _plainly_allowed(groups, path)
