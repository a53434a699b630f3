from __future__ import annotations

import pytest

from tasks.steps.address import is_public


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.9.10",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",  # carrier-grade NAT
        "169.254.169.254",  # link-local: cloud metadata
        "192.0.0.192",  # a cloud's metadata
        "192.0.2.1",  # documentation, as the next two
        "198.51.100.7",
        "203.0.113.9",
        "192.88.99.1",
        "168.63.129.16",  # Azure's platform
        "198.18.0.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",  # IPv4-compatible, deprecated
        "::8.8.8.8",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "64:ff9b::a01:203",
        "64:ff9b:1::808:808",  # NAT64 prefix for local use (RFC 8215)
        "2002:7f00:1::",
        "2002:c0a8:101::1",
        "2002:6440:1::1",  # 6to4 of 100.64.0.1
        "64:ff9b::6440:1",
        "::ffff:100.64.0.1",
        "::ffff:0:127.0.0.1",  # translated (RFC 2765)
        "2001:db8::1",
        "3fff::1",  # documentation, newer
        "2001::1",  # Teredo
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "fe80::1%lo",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
        "5f00::1",
    ],
)
def test_an_address_that_the_public_internet_does_not_route_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"],
)
def test_a_global_unicast_address_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("text", ["", "localhost", "127.1", "0x7f000001", "1.2.3.4.5"])
def test_what_is_no_address_is_refused_rather_than_judged(text: str) -> None:
    with pytest.raises(ValueError, match="does not appear"):
        is_public(text)
