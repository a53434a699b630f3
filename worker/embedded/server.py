"""What users and keeper need to know of a server: where it is, how it starts, answers and stops."""

from __future__ import annotations

import contextlib
import signal
import socket
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tasks.errors import Transient
from worker.embedded.places import last_line

_ANSWER_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Server(ABC):
    """One embedded server under ``home``, an absolute path."""

    home: Path

    kind: ClassVar[str]
    title: ClassVar[str]
    stop_signal: ClassVar[signal.Signals]  # ends it cleanly, nothing lost
    unavailable: ClassVar[type[Transient]]  # what a user is told when it does not come up

    @property
    def directory(self) -> Path:
        """The directory of this server under the home."""
        return self.home / self.kind

    @property
    def users_lock(self) -> Path:
        """Held shared by every user, and alone by a keeper that is about to leave."""
        return self.directory / "users.lock"

    @property
    def keeper_lock(self) -> Path:
        """Held by the keeper."""
        return self.directory / "keeper.lock"

    @property
    def keeper_log(self) -> Path:
        """What the keeper did and why."""
        return self.directory / "keeper.log"

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.directory / f"{self.kind}.log"

    @property
    @abstractmethod
    def server_lock(self) -> Path:
        """Held by the server process itself, next to its data: while it is held, no second server may start."""

    @property
    @abstractmethod
    def socket_path(self) -> Path:
        """Where it listens."""

    @abstractmethod
    def arguments(self) -> list[str]:
        """Return what the keeper's command line needs to build the same object."""

    @abstractmethod
    def make_directory(self) -> None:
        """Make ``directory``. Raises ``UsageError`` where it belongs to somebody else."""

    @abstractmethod
    def prepare(self) -> None:
        """Make all that the first start needs; only the keeper calls it. Raises ``UsageError``, ``OSError``."""

    @abstractmethod
    def command(self) -> list[str]:
        """Return the server's command line. Raises ``UsageError`` when there is no program to run."""

    @abstractmethod
    def user_id(self) -> int | None:
        """Return the user id that it must run under; None for our own."""

    @abstractmethod
    def answers(self) -> bool:
        """Return whether it serves requests now."""

    @abstractmethod
    def url(self) -> str:
        """Return where clients connect. Raises ``UsageError``."""

    def notices(self) -> tuple[str, ...]:
        """Return what a person should know about where things are."""
        return ()

    def tidy(self) -> None:
        """Remove the socket's directory where it is one of the temp directory, after the server stopped."""
        if self.server_lock.parent not in self.socket_path.parents:
            with contextlib.suppress(OSError):
                self.socket_path.parent.rmdir()

    def failed(self, why: str) -> Transient:
        """Build the error for a server that does not come up."""
        said = last_line(self.log)
        return self.unavailable(f"{self.title} {why}" + (f"; it said: {said}" if said else "") + f" (log: {self.log})")


def ask(path: Path, question: bytes) -> bytes:
    """Send ``question`` to a unix socket and return the first bytes of the answer; empty when there is none."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_ANSWER_SECONDS)
        try:
            connection.connect(str(path))
            connection.sendall(question)
            return connection.recv(4096)
        except OSError:
            return b""
