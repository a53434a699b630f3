"""Which hosts a source may ask, and which URLs are asked for at all."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from tasks.errors import Unsafe
from tasks.steps.canonical import authority, normal_url

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_SHOWN: Final = 200  # characters of a URL in a message


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that may be asked for, as the frontier writes it, and its host."""

    url: str
    host: str


def target(url: str, hosts: Collection[str], base: str | None = None) -> Target:
    """Return where a URL leads; ``base`` is the page that a relative one stands in.

    Raises ``Unsafe`` for another scheme than http and https, a user or password (they say who asks, and hide where a
    URL leads), control characters (which a parser drops, so that another line or host appears), and a host that is
    not among ``hosts``. Numbers, percent-encoding and letters of other scripts are read in the host as browsers do.
    """
    if _CONTROL.search(url):
        raise Unsafe(f"a URL with control characters is not fetched: {_shown(url)}", url=url, status=None)
    normal = normal_url(url, base)
    if normal is None:
        raise Unsafe(f"only http and https are fetched: {_shown(url)}", url=url, status=None)
    host = authority(normal)
    if "@" in host:
        raise Unsafe("a URL with a user name is not fetched", url=url, status=None)
    if not host_allowed(host, hosts):
        message = f"the host {host} is not among the source's hosts ({', '.join(hosts)})"
        raise Unsafe(message, url=url, status=None)
    return Target(normal, host)


def host_allowed(host: str, hosts: Collection[str]) -> bool:
    """Tell whether a host (host or host:port) is among ``hosts``.

    A name without a port stands for the ports of http and https only: what else listens on a machine is another
    service, which nobody meant.
    """
    plain = _without_web_port(host.lower())
    return any(_without_web_port(entry.lower()) == plain for entry in hosts)


def host_named(host: str, names: Collection[str]) -> bool:
    """Tell whether a host (host or host:port) is among ``names``; one without a port stands for all its ports."""
    known = {name.lower() for name in names}
    name, colon, port = host.lower().rpartition(":")
    return host.lower() in known or bool(colon and port.isdigit() and name in known)


def _without_web_port(host: str) -> str:
    return host.removesuffix(":80").removesuffix(":443")


def _shown(url: str) -> str:
    return repr(url[:_SHOWN])
