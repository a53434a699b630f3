"""A network that the harness can break: TCP on loopback, passed on to a server's Unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

CHUNK = 65536
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with RST


class Proxy:
    """Passes bytes both ways until it is told to cut, stall or slow them. Runs in a thread of its own."""

    def __init__(self, target: Path) -> None:
        self._target = str(target)
        self._loop = asyncio.new_event_loop()
        self._open = asyncio.Event()
        self._open.set()
        self._delay = 0.0
        self._ends: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._run(self._listen())

    def cut(self) -> None:
        """Reset every connection, and refuse new ones."""
        self._run(self._refuse())
        self.reset()

    def stall(self) -> None:
        """Pass nothing on, and close nothing."""
        self._loop.call_soon_threadsafe(self._open.clear)

    def slow(self, seconds: float) -> None:
        """Let every piece wait."""
        self._delay = seconds

    def reset(self) -> None:
        """Reset every connection, as a router does that has forgotten them."""
        self._run(self._reset())

    def restore(self) -> None:
        """Let everything pass. What was held up goes on."""
        self._delay = 0.0
        self._loop.call_soon_threadsafe(self._open.set)
        self._run(self._listen())

    def close(self) -> None:
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._join, "127.0.0.1", self.port, backlog=512)
            self.port = self._server.sockets[0].getsockname()[1]

    async def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _reset(self) -> None:
        for end in list(self._ends):
            with contextlib.suppress(OSError):
                end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            end.transport.abort()
        for task in list(self._tasks):
            task.cancel()

    async def _join(self, near_in: asyncio.StreamReader, near_out: asyncio.StreamWriter) -> None:
        ends = [near_out]
        self._ends.add(near_out)
        try:
            await self._open.wait()
            far_in, far_out = await asyncio.open_unix_connection(self._target)
            ends.append(far_out)
            self._ends.add(far_out)
            ways = [asyncio.ensure_future(self._pass(*way)) for way in ((near_in, far_out), (far_in, near_out))]
            self._tasks.update(ways)
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            self._tasks.difference_update(ways)
        except OSError:
            pass  # the server is not there: nobody answers here either
        finally:
            for end in ends:
                self._ends.discard(end)
                end.transport.abort()

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(CHUNK):
                if self._delay:
                    await asyncio.sleep(self._delay)
                await self._open.wait()
                sink.write(data)
                await sink.drain()
