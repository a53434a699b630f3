"""Hosts that answer as a test says, in place of HTTP: for what happens between a request and its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tasks.errors import Gone
from tasks.fetch_ports import Answer, Done, Fetched, Request


def fetched(url: str, body: bytes, **more: object) -> Fetched:
    """Return an answer with status 200."""
    given: dict[str, object] = {
        "url": url,
        "status": 200,
        "body": body,
        "content_type": None,
        "fetched_at": datetime.now(UTC),
    }
    return Fetched(**(given | more))  # type: ignore[arg-type]


@dataclass
class Hosts:
    """A fetcher whose answers are given by URL; of several for one, each request takes the next, the last stays.

    A robots.txt that is not among them does not exist; other pages that are not have the ``body``, if there is one.
    """

    answers: Mapping[str, Answer | Sequence[Answer]]
    asked: list[Request] = field(default_factory=list)
    silent: bool = False  # nothing ends
    body: bytes | None = None
    _ended: list[Done] = field(default_factory=list)

    def start(self, requests: Sequence[Request]) -> None:
        for one in requests:
            self.asked.append(one)
            self._ended.append(Done(one, self._answer(one.url), 20_000))

    def ended(self, timeout: float) -> list[Done]:  # noqa: ARG002 (the port's)
        if self.silent:
            return []
        ended, self._ended = self._ended, []
        return ended

    def under_way(self) -> int:
        return len(self._ended)

    def cancel(self) -> list[Request]:
        ended, self._ended = self._ended, []
        return [one.request for one in ended]

    def urls(self, *, robots: bool = False) -> list[str]:
        """Return what was asked for, in order."""
        return [one.url for one in self.asked if robots or not one.url.endswith("/robots.txt")]

    def _answer(self, url: str) -> Answer:
        if url not in self.answers and url.endswith("/robots.txt"):
            return Gone("the host answered 404", status=404, url=url)
        if url not in self.answers and self.body is not None:
            return fetched(url, self.body)
        given = self.answers[url]
        if not isinstance(given, Sequence):
            return given
        asked = sum(one.url == url for one in self.asked)
        return given[min(asked, len(given)) - 1]
