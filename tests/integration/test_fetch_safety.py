"""Which addresses and URLs the fetcher refuses, on real sockets.

Nothing outside of loopback is reached. For names, the function that asks the system for addresses is replaced by a
table, and sockets that are told to connect to a public address connect to loopback.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest
import trustme

from tasks.errors import HostDown, HttpError, Unsafe
from tasks.fetch_ports import Redirect
from tasks.steps.canonical import host_of
from tests.support.fetching import PUBLIC, Streets, answer, fetched, fetching, refused, request, to, trusting
from tests.support.raw_site import Asked, RawSite, page, raw_site, serving
from worker.answers import UnsafeAddress
from worker.http_connections import Connector, Resolver
from worker.http_fetcher import HttpFetcher

NAME = "name.example"


async def redirect(asked: Asked) -> bytes:
    return page(b"", f"Location: {asked.query('to')}", status="302 Found")


async def cookie(asked: Asked) -> bytes:
    return page(asked.fields.get("cookie", "none").encode(), "Set-Cookie: session=secret")


@pytest.fixture(scope="module")
def shared_site() -> Iterator[RawSite]:
    with raw_site({"plain": page(b"here"), "redirect": redirect, "cookie": cookie}) as served:
        yield served


# --- addresses --------------------------------------------------------------------------------------------------

ADDRESSES = {
    "loopback": ["127.0.0.1", "127.8.9.10", "[::1]"],
    "private": ["10.0.0.1", "172.16.5.4", "192.168.1.1"],
    "link-local": ["169.254.169.254", "[fe80::1]"],
    "CGNAT": ["100.64.0.1", "100.100.100.200"],
    "ULA": ["[fd00::1]", "[fc00::1]"],
    "mapped": ["[::ffff:127.0.0.1]", "[::ffff:10.0.0.1]", "[::ffff:a9fe:a9fe]"],
    "NAT64": ["[64:ff9b::7f00:1]", "[64:ff9b::10.0.0.1]", "[64:ff9b:1::1]"],
    "6to4": ["[2002:7f00:1::]"],
    "Teredo": ["[2001:0:4136:e378:8000:63bf:80ff:fffe]"],
    "IPv4-compatible": ["[::127.0.0.1]", "[::8.8.8.8]"],
    "unspecified": ["0.0.0.0", "[::]", "0.1.2.3"],
    "multicast": ["224.0.0.1", "[ff02::1]"],
    "documentation": ["192.0.2.1", "198.51.100.1", "203.0.113.1", "[2001:db8::1]", "[3fff::1]"],
    "reserved": ["240.0.0.1", "255.255.255.255", "198.18.0.1", "192.0.0.192"],
}
LITERALS = list(chain.from_iterable(ADDRESSES.values()))
DISGUISES = [  # other ways to write 127.0.0.1 in a URL
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "017700000001",
    "0177.0.0.1",
    "127.1",
    "127.0.1",
    "127.0.0.1.",
    "127.0.0.0x1",
    "%31%32%37.0.0.1",
    "\uff11\uff12\uff17.0.0.1",  # digits of full width
    "127\u30020\u30020\u30021",  # full stops of another script
    "\u2460\u2461\u2466.0.0.1",  # digits in circles
    "[::ffff:7f00:1]",
]


@pytest.mark.parametrize("literal", LITERALS)
def test_an_address_that_is_not_public_is_never_connected_to(literal: str, site: RawSite) -> None:
    streets = Streets(site.port)
    with fetching(streets.network()) as fetcher:
        error = refused(fetcher, to(f"http://{literal}/"))
    assert type(error) is Unsafe
    assert "is not a public address" in str(error)
    assert (streets.opened, streets.lookups) == (0, [])


@pytest.mark.parametrize("literal", LITERALS)
def test_a_name_that_leads_to_such_an_address_among_others_is_never_connected_to(literal: str, site: RawSite) -> None:
    for addresses in ([literal.strip("[]")], [PUBLIC, literal.strip("[]")]):
        streets = Streets(site.port, {NAME: [addresses]})
        with fetching(streets.network()) as fetcher:
            error = refused(fetcher, to(f"http://{NAME}/"))
        assert type(error) is Unsafe
        assert "is not a public address" in str(error)
        assert (streets.opened, streets.lookups) == (0, [NAME])


@pytest.mark.parametrize("literal", LITERALS)
def test_a_redirect_to_such_an_address_ends_there(literal: str, site: RawSite) -> None:
    streets = Streets(site.port)
    leads_to = f"http://{literal}/plain"
    start = f"http://{PUBLIC}/redirect?to={quote(leads_to)}"
    with fetching(streets.network()) as fetcher:
        assert type(refused(fetcher, to(start))) is Unsafe
        hop = answer(fetcher, to(start, PUBLIC, host_of(leads_to) or ""))
        assert isinstance(hop, Redirect)
        assert type(refused(fetcher, to(hop.to))) is Unsafe
    assert streets.connected == [PUBLIC]
    assert len(site.asked) == 2


@pytest.mark.parametrize("disguise", [*DISGUISES, "localhost", "LocalHost"])
def test_loopback_is_refused_however_it_is_written(disguise: str, site: RawSite, fetcher: HttpFetcher) -> None:
    error = refused(fetcher, to(f"http://{disguise}:{site.port}/plain"))
    assert type(error) is Unsafe
    assert "is not a public address" in str(error)
    assert site.untouched()


def test_a_public_address_is_fetched_from(site: RawSite) -> None:
    streets = Streets(site.port, {NAME: [[PUBLIC]]})
    with fetching(streets.network()) as fetcher:
        assert fetched(fetcher, to(f"http://{NAME}/plain")).body == b"here"
        assert fetched(fetcher, to(f"http://{PUBLIC}/plain")).body == b"here"
    assert streets.connected == [PUBLIC, PUBLIC]


def test_a_name_is_looked_up_once_and_the_address_that_was_checked_is_connected_to(site: RawSite) -> None:
    streets = Streets(site.port, {NAME: [[PUBLIC], ["127.0.0.1"]]})
    with fetching(streets.network()) as fetcher:
        assert fetched(fetcher, to(f"http://{NAME}/plain")).body == b"here"
        assert (streets.lookups, streets.connected) == ([NAME], [PUBLIC])
        error = refused(fetcher, to(f"http://{NAME}:8080/plain"))  # another connection, and the name moved meanwhile
    assert type(error) is Unsafe
    assert (streets.lookups, streets.connected, streets.opened) == ([NAME, NAME], [PUBLIC], 1)


def test_the_socket_has_the_last_word_whatever_was_resolved(site: RawSite) -> None:
    streets = Streets(site.port, {NAME: [["127.0.0.1"]]})

    async def ask() -> None:
        with ThreadPoolExecutor(1) as threads:
            unchecked = Resolver(streets.network(), threads, public=False)
            connector = Connector(streets.network(), unchecked, public=True, max_open=9)
            async with aiohttp.ClientSession(connector=connector) as session:
                await session.get(f"http://{NAME}/plain")

    with pytest.raises(aiohttp.ClientConnectorError) as told:
        asyncio.run(ask())
    assert isinstance(told.value.os_error, UnsafeAddress)
    assert streets.opened == 0
    assert site.untouched()


@pytest.mark.parametrize("entry", ["127.0.0.1", "127.0.0.1:{p}"])
def test_a_private_host_is_allowed_with_its_port_or_with_all_of_them(
    site: RawSite, fetcher: HttpFetcher, entry: str
) -> None:
    asked = request(site, "/plain", private_hosts=(entry.format(p=site.port),))
    assert fetched(fetcher, asked).body == b"here"


def test_an_allowance_is_for_the_name_and_not_for_its_address(site: RawSite, fetcher: HttpFetcher) -> None:
    other = f"localhost:{site.port}"
    hop = answer(fetcher, request(site, f"/redirect?to=http://{other}/plain", hosts=(site.host, other)))
    assert isinstance(hop, Redirect)
    assert type(refused(fetcher, to(hop.to, site.host, other, private=(site.host,)))) is Unsafe
    assert site.targets() == [f"/redirect?to=http://{other}/plain"]


def test_a_connection_opened_for_one_source_is_not_used_for_another(site: RawSite, fetcher: HttpFetcher) -> None:
    assert fetched(fetcher, request(site, "/plain")).body == b"here"
    assert type(refused(fetcher, request(site, "/plain", private_hosts=()))) is Unsafe
    assert site.targets() == ["/plain"]


# --- URLs -------------------------------------------------------------------------------------------------------

NO_URLS = [
    "file:///etc/hostname",
    "file://{host}/plain",
    "ftp://{host}/plain",
    "gopher://{host}/_GET",
    "ws://{host}/plain",
    "dict://{host}/",
    "data:text/html,x",
    "javascript:alert(1)",
    "view-source:http://{host}/plain",
    "http://",
    "http:///",
    "http://[::1",
    "http://127.0.0.1:99999/",
    "http://a b/",
    "http://{host}%00.example/",
    "http://name.example%40{host}/plain",
]
USER_NAMES = [
    "http://user:secret@{host}/plain",
    "http://user@{host}/plain",
    "http://:secret@{host}/plain",
    "http://name.example@{host}/plain",
    "http://name.example:80@{host}/plain",
    "http://{host}@{host}/plain",
    "http://name.example;@{host}/plain",
    "http:\\\\user@{host}\\plain",
]
OTHER_HOSTS = [
    "http://elsewhere.example/",
    "http://name.example\\@{host}/plain",
    "http://name.example#@{host}/plain",
    "http://name.example?@{host}/plain",
    "http://name.example/@{host}/plain",
    "http://{host}.example/plain",
    "http://{host}./plain",
    "https://127.0.0.1/plain",
    "http://127.0.0.1:81/plain",
]
CONTROLS = [
    "http://{host}/plain\r\nX-Evil: 1",
    "http://{host}/pl\tain",
    "\x00http://{host}/plain",
    "http://{host}/\x7f",
]
REFUSED = [*NO_URLS, *USER_NAMES, *OTHER_HOSTS, *CONTROLS]


@pytest.mark.parametrize("url", ["", "//{host}/plain", "/plain", *REFUSED])
def test_what_is_no_plain_url_of_the_sources_hosts_is_refused(site: RawSite, fetcher: HttpFetcher, url: str) -> None:
    error = refused(fetcher, request(site, "/", url=url.format(host=site.host)))
    assert (type(error), error.details["status"]) == (Unsafe, None)
    assert site.untouched()


@pytest.mark.parametrize("url", USER_NAMES)
def test_a_user_name_is_what_is_refused_where_there_is_one(site: RawSite, fetcher: HttpFetcher, url: str) -> None:
    whole = url.format(host=site.host)
    asked = request(site, "/", url=whole, hosts=(site.host, whole.replace("\\", "/").split("/")[2]))
    assert "user name" in str(refused(fetcher, asked))
    assert site.untouched()


@pytest.mark.parametrize("url", [*NO_URLS[:-5], *USER_NAMES, *OTHER_HOSTS])
def test_a_redirect_to_one_is_refused_where_it_stands(site: RawSite, fetcher: HttpFetcher, url: str) -> None:
    leads_to = quote(url.format(host=site.host))
    error = refused(fetcher, request(site, f"/redirect?to={leads_to}"))
    assert (type(error), error.details["status"]) == (Unsafe, 302)
    assert "the redirect may not be followed" in str(error)
    assert len(site.asked) == 1


@pytest.mark.parametrize(
    "location", [b"/plain\rX-Evil: 1", b"/plain\x00", b"/pl\tain", b"/\x7f", b"http://[\xff]/", b"\x0b/plain"]
)
def test_a_redirect_with_control_characters_is_refused(fetcher: HttpFetcher, location: bytes) -> None:
    with raw_site({"r": b"HTTP/1.1 302 Found\r\nLocation: " + location + b"\r\nContent-Length: 0\r\n\r\n"}) as site:
        error = refused(fetcher, request(site, "/r"))
    assert type(error) in {Unsafe, HttpError}


def test_line_ends_that_are_encoded_in_a_redirect_stay_so(site: RawSite, fetcher: HttpFetcher) -> None:
    hop = answer(fetcher, request(site, f"/redirect?to={quote('/plain%0D%0AX-Evil:%201')}"))
    assert isinstance(hop, Redirect)
    fetched(fetcher, request(site, "/plain/", url=hop.to.replace("/plain", "/plain/")))
    assert site.targets()[-1] == "/plain/%0D%0AX-Evil:%201"
    assert "x-evil" not in site.asked[-1].fields


@pytest.mark.parametrize(
    "port, hosts, allowed",
    [
        ("", [NAME], True),
        (":80", [NAME], True),
        (":443", [NAME], True),
        ("", [f"{NAME}:80"], True),
        (":8080", [NAME], False),
        (":22", [NAME], False),
        (":6379", [NAME, f"{NAME}:8080"], False),
        (":8080", [f"{NAME}:8080"], True),
        ("", [f"{NAME}:8080"], False),
    ],
)
def test_a_port_other_than_those_of_the_web_is_asked_only_where_it_is_named(
    site: RawSite, port: str, hosts: list[str], *, allowed: bool
) -> None:
    streets = Streets(site.port, {NAME: [[PUBLIC]]})
    with fetching(streets.network()) as fetcher:
        got = answer(fetcher, to(f"http://{NAME}{port}/plain", *hosts))
    assert isinstance(got, Unsafe) is not allowed
    assert streets.opened == allowed


@pytest.mark.parametrize(
    "written, host",
    [("b\u00fccher.example", "xn--bcher-kva.example"), ("NAME.Example", NAME), ("na\u00adme\u3002example", NAME)],
)
def test_a_name_is_looked_up_in_its_ascii_form(site: RawSite, written: str, host: str) -> None:
    streets = Streets(site.port, {host: [[PUBLIC]]})
    with fetching(streets.network()) as fetcher:
        fetched(fetcher, to(f"http://{written}/plain", host))
        lookalike = to("http://n\u0430me.example/plain", NAME)  # the second letter is Cyrillic
        assert type(refused(fetcher, lookalike)) is Unsafe
    assert streets.lookups == [host]


# --- secrets ----------------------------------------------------------------------------------------------------


def test_nothing_of_the_environment_connects_for_us_or_says_who_we_are(
    site: RawSite, fetcher: HttpFetcher, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login user password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1/")
    fetched(fetcher, request(site, "/plain"))
    assert "authorization" not in site.asked[0].fields


def test_a_cookie_never_comes_back(site: RawSite, fetcher: HttpFetcher) -> None:
    assert [fetched(fetcher, request(site, "/cookie")).body for _ in range(2)] == [b"none", b"none"]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def test_tls_is_spoken_with_a_host_that_proves_its_name(authority: trustme.CA) -> None:
    with (
        raw_site({"plain": page(b"here")}, serving(authority, NAME)) as site,
        fetching(Streets(site.port, {NAME: [[PUBLIC]]}).network(tls=trusting(authority))) as fetcher,
    ):
        for _ in range(2):
            assert fetched(fetcher, to(f"https://{NAME}/plain")).body == b"here"
    assert site.connections == 1


@pytest.mark.parametrize("names", [["other.example"], ["*.name.example"]])
def test_a_host_that_proves_another_name_is_not_asked(authority: trustme.CA, names: list[str]) -> None:
    with (
        raw_site({"plain": page(b"here")}, serving(authority, *names)) as site,
        fetching(Streets(site.port, {NAME: [[PUBLIC]]}).network(tls=trusting(authority))) as fetcher,
    ):
        error = refused(fetcher, to(f"https://{NAME}/plain"))
    assert type(error) is HostDown
    assert "certificate" in str(error)
    assert not site.asked


def test_a_host_whose_authority_nobody_knows_is_not_asked(authority: trustme.CA) -> None:
    with raw_site({"plain": page(b"here")}, serving(authority, "127.0.0.1")) as site, fetching() as fetcher:
        error = refused(fetcher, request(site, "/plain", url=site.url("/plain", "https")))
    assert type(error) is HostDown
    assert not site.asked


def test_a_host_that_speaks_no_tls_is_down(site: RawSite, fetcher: HttpFetcher) -> None:
    assert type(refused(fetcher, request(site, "/plain", url=site.url("/plain", "https")))) is HostDown
