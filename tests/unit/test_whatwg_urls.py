"""How the URL standard reads URLs (https://url.spec.whatwg.org/): a case for each rule that http and https meet."""

from __future__ import annotations

import pytest

from tasks.steps.canonical import normal_url

# Without a base; by the state of the standard's parser that decides.
ABSOLUTE = {
    # scheme and slashes
    "HTTP://a.example": "http://a.example/",
    "hTtPs://a.example": "https://a.example/",
    "http:a.example/b": "http://a.example/b",
    "http:/a.example/b": "http://a.example/b",
    "http:////a.example/b": "http://a.example/b",
    "http:\\\\a.example\\b\\c": "http://a.example/b/c",
    "  \x1f http://a.example/ \x00 ": "http://a.example/",
    "ht\ttp://a.exa\nmple/b\r/c": "http://a.example/b/c",
    # user and password
    "http://u@a.example/": "http://u@a.example/",
    "http://u:p@a.example/": "http://u:p@a.example/",
    "http://@a.example/": "http://a.example/",
    "http://:@a.example/": "http://a.example/",
    "http://u@v@a.example/": "http://u%40v@a.example/",
    "http://u:p:q@a.example/": "http://u:p%3Aq@a.example/",
    "http://a.example/@b": "http://a.example/@b",
    "http://a.example?@b": "http://a.example/?@b",
    # ports
    "http://a.example:80/": "http://a.example/",
    "https://a.example:443/": "https://a.example/",
    "http://a.example:443/": "http://a.example:443/",
    "http://a.example:/": "http://a.example/",
    "http://a.example:0/": "http://a.example:0/",
    "http://a.example:00080/": "http://a.example/",
    "http://a.example:65535/": "http://a.example:65535/",
    # hosts
    "http://A.EXAMPLE/": "http://a.example/",
    "http://a%2Eexample/": "http://a.example/",
    "http://a。example/": "http://a.example/",
    "http://ＱＵＡＹ.example/": "http://quay.example/",
    "http://a\u00adb.example/": "http://ab.example/",
    "http://bücher.example/": "http://xn--bcher-kva.example/",
    "http://BÜCHER.example/": "http://xn--bcher-kva.example/",
    "http://xn--bcher-kva.example/": "http://xn--bcher-kva.example/",
    "http://XN--A.example/": "http://xn--a.example/",  # wrong, and let through: https://github.com/whatwg/url/pull/914
    "http://faß.example/": "http://xn--fa-hia.example/",
    "http://例え.テスト/": "http://xn--r8jz45g.xn--zckzah/",
    "http://میناء.example/": "http://xn--ggbl3ge38d.example/",
    "http://a_b.example/": "http://a_b.example/",
    "http://a.example./": "http://a.example./",
    "http://a..example/": "http://a..example/",
    "http://-a.example/": "http://-a.example/",
    # IPv4, which any host is that ends in a number
    "http://192.168.0.1/": "http://192.168.0.1/",
    "http://192.168.257/": "http://192.168.1.1/",
    "http://3232235521/": "http://192.168.0.1/",
    "http://0xC0.0xA8.0.1/": "http://192.168.0.1/",
    "http://0300.0250.0.01/": "http://192.168.0.1/",
    "http://0x7f.1/": "http://127.0.0.1/",
    "http://127.0.0.1./": "http://127.0.0.1/",
    "http://%31%32%37.0.0.1/": "http://127.0.0.1/",
    "http://1.2.3.4.a/": "http://1.2.3.4.a/",
    "http://0x/": "http://0.0.0.0/",
    # IPv6
    "http://[::1]/": "http://[::1]/",
    "http://[0:0:0:0:0:0:0:1]:80/": "http://[::1]/",
    "http://[2001:DB8:0:0:1:0:0:1]/": "http://[2001:db8::1:0:0:1]/",
    "http://[::127.0.0.1]/": "http://[::7f00:1]/",
    "http://[::ffff:192.168.0.1]/": "http://[::ffff:c0a8:1]/",
    "http://[1:0::]:8080/": "http://[1::]:8080/",
    # paths
    "http://a.example/b/./c": "http://a.example/b/c",
    "http://a.example/b/../c": "http://a.example/c",
    "http://a.example/b/..": "http://a.example/",
    "http://a.example/b/.": "http://a.example/b/",
    "http://a.example/../../b": "http://a.example/b",
    "http://a.example/b/%2e%2E/c": "http://a.example/c",
    "http://a.example/b/.%2e/c": "http://a.example/c",
    "http://a.example/b%2F..%2Fc": "http://a.example/b%2F..%2Fc",
    "http://a.example/...": "http://a.example/...",
    "http://a.example//b///c": "http://a.example//b///c",
    "http://a.example/b\\..\\c": "http://a.example/c",
    "http://a.example/B/c": "http://a.example/B/c",
    "http://a.example/b c": "http://a.example/b%20c",
    "http://a.example/é": "http://a.example/%C3%A9",
    "http://a.example/%e9": "http://a.example/%e9",
    "http://a.example/%7Eb": "http://a.example/%7Eb",
    "http://a.example/%": "http://a.example/%",
    "http://a.example/%zz": "http://a.example/%zz",
    'http://a.example/<b>"{c}`': "http://a.example/%3Cb%3E%22%7Bc%7D%60",
    "http://a.example/^": "http://a.example/%5E",
    "http://a.example/|": "http://a.example/|",
    "http://a.example/b;c=1,2'(d)!*": "http://a.example/b;c=1,2'(d)!*",
    "http://a.example/\x7f": "http://a.example/%7F",
    "http://a.example/a\tb\nc": "http://a.example/abc",
    # queries and fragments
    "http://a.example?b": "http://a.example/?b",
    "http://a.example/?": "http://a.example/?",
    "http://a.example/?b=c d": "http://a.example/?b=c%20d",
    "http://a.example/?b=é": "http://a.example/?b=%C3%A9",
    "http://a.example/?b='<>\"": "http://a.example/?b=%27%3C%3E%22",
    "http://a.example/?b={|}`^\\": "http://a.example/?b={|}`^\\",
    "http://a.example/?b=/../c?d": "http://a.example/?b=/../c?d",
    "http://a.example/?b+c=%2b": "http://a.example/?b+c=%2b",
    "http://a.example/b#c?d#e": "http://a.example/b",
    "http://a.example#b": "http://a.example/",
    "http://a.example/?b#": "http://a.example/?b",
}

FAILURES = [
    "", "a.example", "/b", "//a.example/b", "?b", "http://", "https:", "http://:80/", "http://u@/", "http://u:p@/b",
    "http://a b.example/", "http://a<b.example/", "http://a%00b.example/", "http://a|b.example/", "http://a^b/",
    "http://%/", "http://a%zz.example/", "http://a.example:65536/", "http://a.example:8a/", "http://a.example:-1/",
    "http://256.1.1.1/", "http://1.2.3.4.5/", "http://4294967296/", "http://0x1G.1/", "http://1.2.3.08/",
    "http://a.example.5/", "http://[::1/", "http://[::1]a/", "http://[1::2::3]/", "http://[:1]/",
    "http://[1:2:3:4:5:6:7:8:9]/", "http://[::1.2.3]/", "http://[::1%25eth0]/", "http://[g::]/",
    "http://xn--é.example/", "http://a\ufffdb.example/", "http://\u00ad/", "1http://a.example/", "ht*tp://a.example/",
    "http://\ud800.example/",
]  # fmt: skip

# Valid, and of another scheme than those that are fetched.
OTHERS = ["ftp://a.example/", "file:///etc/passwd", "mailto:a@a.example", "javascript:alert(1)", "data:,x", "ws://a/"]

BASE = "http://a.example/b/c/d;p?q#f"
# RFC 3986, section 5.4, where the standard does as it says, and where it does not (the slashes and the scheme).
RELATIVE = {
    "g": "http://a.example/b/c/g",
    "./g": "http://a.example/b/c/g",
    "g/": "http://a.example/b/c/g/",
    "/g": "http://a.example/g",
    "//g.example": "http://g.example/",
    "?y": "http://a.example/b/c/d;p?y",
    "g?y": "http://a.example/b/c/g?y",
    "#s": "http://a.example/b/c/d;p?q",
    "g?y#s": "http://a.example/b/c/g?y",
    ";x": "http://a.example/b/c/;x",
    "": "http://a.example/b/c/d;p?q",
    ".": "http://a.example/b/c/",
    "..": "http://a.example/b/",
    "../g": "http://a.example/b/g",
    "../../..": "http://a.example/",
    "../../../g": "http://a.example/g",
    "/./g": "http://a.example/g",
    "g.": "http://a.example/b/c/g.",
    "..g": "http://a.example/b/c/..g",
    "g;x=1/../y": "http://a.example/b/c/y",
    "g?y/../x": "http://a.example/b/c/g?y/../x",
    "http:g": "http://a.example/b/c/g",
    "https:g": "https://g/",
    "\\g": "http://a.example/g",
    "\\\\g.example\\h": "http://g.example/h",
    " g\n": "http://a.example/b/c/g",
    "https://g.example/../h": "https://g.example/h",
    "?": "http://a.example/b/c/d;p?",
    "ftp://g.example/": None,
    "//": None,
    "http://g.example:99999/": None,
}


@pytest.mark.parametrize("url", ABSOLUTE)
def test_a_url_is_written_as_the_standard_writes_it(url: str) -> None:
    assert normal_url(url) == ABSOLUTE[url]


@pytest.mark.parametrize("url", FAILURES)
def test_what_the_standard_refuses_is_none(url: str) -> None:
    assert normal_url(url) is None


@pytest.mark.parametrize("url", OTHERS)
def test_other_schemes_are_none(url: str) -> None:
    assert normal_url(url) is None


@pytest.mark.parametrize("link", RELATIVE)
def test_a_relative_url_is_resolved_against_its_base(link: str) -> None:
    assert normal_url(link, BASE) == RELATIVE[link]


@pytest.mark.parametrize("base", ["", "no url", "mailto:a@a.example", "http://[::1"])
def test_a_base_that_is_none_leaves_absolute_urls_as_they_are(base: str) -> None:
    assert normal_url("http://g.example/../h", base) == "http://g.example/h"
    assert normal_url("h", base) is None
