"""Asking with the fetcher, one request at a time, and a network that leads where a test says."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import trustme

from tasks.errors import PenstockError
from tasks.fetch_ports import Done, Fetched, Request
from tasks.steps.canonical import host_of
from tests.support.raw_site import RawSite
from worker.http_client import HttpSettings
from worker.http_connections import Network
from worker.http_fetcher import HttpFetcher

LIMIT = 200_000
PUBLIC = "93.184.216.34"  # an address that is public; nothing is ever sent there
AGENT = "penstock-test/1 (+mailto:test@site.example)"


@contextmanager
def fetching(network: Network | None = None, **changes: Any) -> Iterator[HttpFetcher]:
    """Build a fetcher and close it after the block."""
    settings = {"user_agent": AGENT, "timeout_seconds": 20.0, "max_body_bytes": LIMIT, **changes}
    fetcher = HttpFetcher(HttpSettings(**settings), network)
    try:
        yield fetcher
    finally:
        fetcher.close()


def request(site: RawSite, path: str, **changes: Any) -> Request:
    """Return a request to a site on loopback, which is allowed by name."""
    return Request(
        **{"token": path, "url": site.url(path), "hosts": (site.host,), "private_hosts": (site.host,), **changes}
    )


def to(url: str, *hosts: str, private: tuple[str, ...] = ()) -> Request:
    """Return a request; without hosts, the one of the URL is allowed."""
    return Request(token=url, url=url, hosts=hosts or (host_of(url) or "",), private_hosts=private)


def all_of(fetcher: HttpFetcher, requests: Sequence[Request]) -> dict[str, Done]:
    """Make the requests and wait for all of them; what came of each, by its token."""
    fetcher.start(requests)
    done: dict[str, Done] = {}
    while fetcher.under_way():
        done |= {one.request.token: one for one in fetcher.ended(60)}
    return done


def answer(fetcher: HttpFetcher, asked: Request) -> Any:
    (done,) = all_of(fetcher, [asked]).values()
    assert done.request == asked
    return done.answer


def fetched(fetcher: HttpFetcher, asked: Request) -> Fetched:
    got = answer(fetcher, asked)
    assert isinstance(got, Fetched), got
    return got


def refused(fetcher: HttpFetcher, asked: Request) -> PenstockError:
    got = answer(fetcher, asked)
    assert isinstance(got, PenstockError), got
    assert {"url", "status"} <= set(got.details)
    return got


@dataclass
class Streets:
    """A network in which names have the addresses of ``names``, one answer after the other, the last for ever.

    Sockets really connect, but to ``port`` on loopback, whatever address they are told.
    """

    port: int
    names: Mapping[str, Sequence[Sequence[str]]] = field(default_factory=dict)
    lookups: list[str] = field(default_factory=list)
    opened: int = 0
    connected: list[str] = field(default_factory=list)

    def network(self, **more: Any) -> Network:
        return Network(lookup=self._lookup, open_socket=self._open, **more)

    def _lookup(self, host: str, port: int, **_: Any) -> list[Any]:
        answers = self.names[host]
        addresses = answers[min(self.lookups.count(host), len(answers) - 1)]
        self.lookups.append(host)
        return [info for address in addresses for info in socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)]

    def _open(self, family: int, kind: int, protocol: int) -> socket.socket:
        self.opened += 1
        return _Led(self, family, kind, protocol)


class _Led(socket.socket):
    def __init__(self, streets: Streets, family: int, kind: int, protocol: int) -> None:
        super().__init__(family, kind, protocol)
        self._streets = streets

    def connect(self, address: Any) -> None:
        self._streets.connected.append(address[0])
        super().connect(("127.0.0.1", self._streets.port))


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """Return how a fetcher speaks TLS that trusts an authority of the test's own."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context
