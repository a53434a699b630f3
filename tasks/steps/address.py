"""Decide whether an IP address is one that the public internet routes, whatever form it hides in."""

from __future__ import annotations

import ipaddress

# 64:ff9b::/96 carries an IPv4 address in its last four bytes (RFC 6052, section 2.1).
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# All that was ever given out as global unicast (RFC 4291, section 2.4; IANA's IPv6 address space registry).
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")


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
    return parsed in _GLOBAL_UNICAST and parsed.is_global


def _is_public_v4(address: ipaddress.IPv4Address) -> bool:
    return address.is_global and not address.is_multicast and not address.is_reserved


def _inner_v4(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour
