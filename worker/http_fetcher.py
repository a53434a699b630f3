"""HTTP for the fetch task: hundreds of requests at a time, on one event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import queue
import time
from collections.abc import Sequence

from tasks.errors import HttpError
from tasks.fetch_ports import Done, Request
from worker.http_client import HttpClient, HttpSettings
from worker.http_connections import Network
from worker.loop_thread import LoopThread

_US = 1_000_000  # microseconds in a second


class HttpFetcher:
    """Makes requests; implements ``tasks.fetch_ports.Fetcher``.

    A request is one GET: no redirect is followed, and nobody's pace is kept but that of ``Request.start``. Called
    from one thread at a time. The thread starts with the first ``start``, so that a process may fork before that.
    """

    def __init__(self, settings: HttpSettings, network: Network | None = None) -> None:
        self._settings = settings
        self._network = network or Network()
        self._thread = LoopThread("penstock-fetcher")
        self._ended: queue.SimpleQueue[Done] = queue.SimpleQueue()
        self._under_way = 0
        # Of the loop's thread only.
        self._client: HttpClient | None = None
        self._tasks: dict[asyncio.Task[Done], Request] = {}
        self._cancelling = False

    def start(self, requests: Sequence[Request]) -> None:
        """Begin requests, each at its time; returns at once."""
        self._under_way += len(requests)
        self._thread.post(self._begin, requests)

    def ended(self, timeout: float) -> list[Done]:
        """Return all requests that ended since the last call; wait for one, at most ``timeout`` seconds.

        An answer that is an error of ours has ``url`` and ``status`` (None when there was no answer) in its details;
        ``Throttled`` has ``retry_after`` (seconds or None).
        """
        done: list[Done] = []
        try:
            done.append(self._ended.get(timeout=max(timeout, 0)))
            while True:
                done.append(self._ended.get_nowait())
        except queue.Empty:
            self._under_way -= len(done)
            return done

    def under_way(self) -> int:
        """Return how many requests have not been returned by ``ended`` yet."""
        return self._under_way

    def cancel(self) -> list[Request]:
        """End all requests and return those that had no answer yet; none of them comes from ``ended``."""
        if not self._under_way:
            return []
        cancelled = self._thread.run(self._cancel())
        self._under_way -= len(cancelled)
        return cancelled

    def close(self) -> None:
        """Cancel what is under way, close the connections and end the thread. May be called twice."""
        self.cancel()
        if self._client is not None:
            self._thread.run(self._client.close())
            self._client = None
        self._thread.stop()

    def _begin(self, requests: Sequence[Request]) -> None:
        loop = asyncio.get_running_loop()
        if self._client is None or self._client.loop is not loop:
            self._client = HttpClient(self._settings, self._network)
        for request in requests:
            task = loop.create_task(_at_its_time(self._client, request))
            self._tasks[task] = request
            task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[Done]) -> None:
        request = self._tasks.pop(task)
        if not task.cancelled():
            error = task.exception()
            self._ended.put(Done(request, error, 0) if isinstance(error, Exception) else task.result())
        elif not self._cancelling:
            lost = HttpError("the request was given up", url=request.url, status=None)
            self._ended.put(Done(request, lost, 0))

    async def _cancel(self) -> list[Request]:
        tasks = dict(self._tasks)
        self._cancelling = True
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._cancelling = False
        return [request for task, request in tasks.items() if task.cancelled()]


async def _at_its_time(client: HttpClient, request: Request) -> Done:
    wait_us = request.start - time.time_ns() // 1000
    if wait_us > 0:
        await asyncio.sleep(wait_us / _US)
    return await client.get(request)
