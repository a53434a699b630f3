"""Decide whether an IP address is one that the public internet routes, whatever form it hides in."""

from __future__ import annotations

import ipaddress
from typing import Final

# 64:ff9b::/96 carries an IPv4 address in its last four bytes (RFC 6052, section 2.1).
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
# All that was ever given out as global unicast (RFC 4291, section 2.4; IANA's IPv6 address space registry).
_GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
# What ``is_global`` takes for public, depending on Python's version, and is not.
_NOT_PUBLIC_V4: Final = (
    ipaddress.IPv4Network("192.0.0.0/24"),  # IETF protocol assignments (RFC 6890); a cloud has its metadata there
    ipaddress.IPv4Network("192.88.99.0/24"),  # relays of 6to4, withdrawn (RFC 7526)
    ipaddress.IPv4Network("168.63.129.16/32"),  # given out, but on a machine in Azure it is the platform's own
)
_NOT_PUBLIC_V6: Final = (
    ipaddress.IPv6Network("2001::/23"),  # IETF protocol assignments (RFC 2928), Teredo among them
    ipaddress.IPv6Network("3fff::/20"),  # documentation (RFC 9637)
)


def is_public(address: str) -> bool:
    """Tell whether ``address`` may be fetched from: global unicast, and so is any IPv4 address inside it.

    Looks into mapped (``::ffff:a.b.c.d``), NAT64 and 6to4 forms. Raises ``ValueError`` when it is no IP address.
    """
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv4Address):
        return _is_public_v4(parsed)
    inner = _inner_v4(parsed)
    if inner is not None:
        return _is_public_v4(inner)
    return parsed in _GLOBAL_UNICAST and parsed.is_global and not any(parsed in net for net in _NOT_PUBLIC_V6)


def _is_public_v4(address: ipaddress.IPv4Address) -> bool:
    if address.is_multicast or address.is_reserved or not address.is_global:
        return False
    return not any(address in net for net in _NOT_PUBLIC_V4)


def _inner_v4(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour
