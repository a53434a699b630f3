"""Which hosts belong to one owner: those under one registrable domain (https://publicsuffix.org/)."""

from __future__ import annotations

import functools
from typing import Final

from publicsuffixlist import PublicSuffixList

_MEMO: Final = 4096  # hosts


def same_site(one: str, other: str) -> bool:
    """Tell whether two hosts, as WHATWG writes them, with port or without, are one site's.

    A host without a registrable domain (an IP address, ``localhost``, ``github.io`` itself) is a site of its own.
    """
    return _site(one) == _site(other)


def registered_label(host: str) -> str:
    """Return the name that an owner registered: ``quay`` of ``www.quay.co.uk``; of a host without one, nothing."""
    site = _site(host)
    return site.partition(".")[0] if "." in site and not site[-1].isdigit() else ""


@functools.lru_cache(maxsize=_MEMO)
def _site(host: str) -> str:
    name = host.partition(":")[0]
    if name.startswith("[") or name[-1:].isdigit():  # a last label of digits is an IPv4 address's
        return host
    return _suffixes().privatesuffix(name) or host


@functools.cache
def _suffixes() -> PublicSuffixList:
    """Read the list that comes with the library; 15,000 lines, once."""
    return PublicSuffixList()
