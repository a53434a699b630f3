"""A network that a test can break: TCP on loopback, passed on to a server's Unix socket."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from pathlib import Path
from typing import Self

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with RST


class Proxy:
    """Passes bytes both ways until it is told to cut, to stall or to slow the connections."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._pairs: list[_Pair] = []
        self._mutex = threading.Lock()
        self._listener: socket.socket | None = None
        self._stalls = False
        self.delay = 0.0
        self.port = 0
        self.restore()

    def restore(self) -> None:
        """Let new connections pass, at full speed. What was stalled stays so: its ends were never told."""
        self._stalls, self.delay = False, 0.0
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port))
            self.port = self._listener.getsockname()[1]
            threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()

    def cut(self) -> None:
        """Reset every connection, and refuse new ones."""
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        with self._mutex:
            for pair in self._pairs:
                pair.close()
            self._pairs.clear()

    def stall(self) -> None:
        """Swallow all that is sent on the connections there are, and on new ones, and close none of them."""
        self._stalls = True
        with self._mutex:
            for pair in self._pairs:
                pair.stalled = True

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                self._join(near)

    def _join(self, near: socket.socket) -> None:
        far = socket.socket(socket.AF_UNIX)
        try:
            far.connect(str(self._target))
        except OSError:
            near.close()
            far.close()
            return
        with self._mutex:
            pair = _Pair(self, near, far, stalled=self._stalls)
            self._pairs.append(pair)
        pair.start()


class _Pair:
    def __init__(self, proxy: Proxy, near: socket.socket, far: socket.socket, *, stalled: bool) -> None:
        self._proxy, self._near, self._far, self.stalled = proxy, near, far, stalled

    def start(self) -> None:
        for ends in ((self._near, self._far), (self._far, self._near)):
            threading.Thread(target=self._pass, args=ends, daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if self._proxy.delay:
                    time.sleep(self._proxy.delay)
                if not self.stalled:
                    sink.sendall(data)
        if not self.stalled:
            self.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        for end in (self._near, self._far):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
