"""Celery as its first steps have it: a task a page, the page in the message, Redis as broker and result backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final

import celery

from benchmarks.peers import Peer, Room, python
from tasks.steps.page import Payload
from tasks.steps.payload import to_envelope
from worker.embedded import kombu_url

TASK: Final = "pages.handle"


class CeleryTextbook(Peer):
    """Defaults: results kept, four messages a process fetched ahead, acknowledged before they are handled.

    https://docs.celeryq.dev/en/stable/getting-started/first-steps-with-celery.html
    """

    name = "celery-textbook"
    settings = "`celery worker --concurrency 2`, one task a page, Redis as broker and result backend, defaults."
    share = 0.1
    options: ClassVar[dict[str, Any]] = {}  # of Celery
    arguments: ClassVar[tuple[str, ...]] = ()  # of its worker

    def app(self, redis_url: str) -> celery.Celery:
        """Return the app, as producer and workers need it."""
        url = kombu_url(redis_url)
        made = celery.Celery("bench", broker=url, backend=url)
        made.conf.update(self.options)
        return made

    def push(self, room: Room, payloads: Sequence[Payload]) -> None:
        """Send a message a page, on one connection."""
        with self.app(room.redis_url) as app:
            for payload in payloads:
                app.send_task(TASK, args=(to_envelope(payload),))

    def commands(self, room: Room) -> list[list[str]]:
        """See ``Peer``."""
        module = f"{type(self).__module__}_app"
        options = ("--concurrency", str(room.processes), "--loglevel", "WARNING", *self.arguments)
        return [python("celery", "--app", module, "worker", *options)]


PEER: Final = CeleryTextbook()
