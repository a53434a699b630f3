"""The keeper's command: ``python -m worker.embedded redis|postgres HOME``.

It goes into the background, prints nothing and exits 0 when the server answers; else it prints one sentence and exits
2 (wrong usage) or 75 (try again later).
"""

from __future__ import annotations

import os
import signal
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import NoReturn

from tasks.errors import PenstockError, UsageError
from worker.embedded import NOBODY
from worker.embedded.keeper import Keeper, note
from worker.embedded.locks import open_lock, try_exclusive
from worker.embedded.server import Server

_USAGE, _TRY_LATER = 2, 75


def main() -> None:
    """Read the command line and become the keeper of the server that it names."""
    options = _options()
    server = _server(options)
    server.make_directory()
    lock = options.lock if options.lock is not None else open_lock(server.keeper_lock)
    os.set_inheritable(lock, False)  # noqa: FBT003 (the standard library's)
    if not try_exclusive(lock):
        return  # somebody keeps it already
    _leave_foreground(server)


def _options() -> Namespace:
    parser = ArgumentParser(prog="python -m worker.embedded", description="Keep an embedded server while it is used.")
    parser.add_argument("kind", choices=["redis", "postgres"])
    parser.add_argument("home", type=Path)
    parser.add_argument("--lock", type=int, help="the inherited descriptor of the keeper's lock")
    parser.add_argument("--maxmemory", default="1gb", help="of Redis")
    parser.add_argument("--run-as", type=int, default=NOBODY, help="user id of PostgreSQL when started by root")
    return parser.parse_args()


def _server(options: Namespace) -> Server:
    # Only the one that is needed, to be up sooner.
    if options.kind == "redis":
        from worker.embedded.redis_kind import RedisServer  # noqa: PLC0415

        return RedisServer(home=options.home.resolve(), maxmemory=options.maxmemory)
    from worker.embedded.postgres_kind import PostgresServer  # noqa: PLC0415

    return PostgresServer(home=options.home.resolve(), run_as=options.run_as)


def _leave_foreground(server: Server) -> NoReturn:
    """Fork: the child keeps the server, the parent waits for its word and passes it on."""
    reading, writing = os.pipe()
    if os.fork():
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            code, _, said = pipe.read().decode().partition(" ")
        sys.stdout.write(said)
        sys.stdout.flush()
        os._exit(int(code or _TRY_LATER))
    os.close(reading)
    with open(os.devnull, "wb") as nothing:  # noqa: PTH123 (a descriptor is what is needed)
        os.dup2(nothing.fileno(), sys.stdout.fileno())
    os.chdir("/")
    os.umask(0o077)
    _keep(server, writing)


def _keep(server: Server, word: int) -> NoReturn:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    keeper = Keeper(server, open_lock(server.users_lock))
    try:
        try:
            keeper.start()
        except (OSError, PenstockError) as error:
            note(f"{server.kind} cannot be started: {error}")
            _tell(word, _USAGE if isinstance(error, UsageError) else _TRY_LATER, f"{error}")
            sys.exit(1)
        _tell(word, 0)
        keeper.keep()
    finally:
        keeper.stop()
    sys.exit(0)


def _tell(word: int, code: int, said: str = "") -> None:
    os.write(word, f"{code} {said}".encode())
    os.close(word)


if __name__ == "__main__":
    main()
