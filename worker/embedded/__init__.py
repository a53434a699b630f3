"""Redis and PostgreSQL as child processes, for a laptop and for tests; shared by all processes with the same home.

How it fits together: a *user* (any penstock process) holds a shared lock on ``HOME/<kind>/users.lock`` for as long as
it lives. A *keeper* (``python -m worker.embedded``) per server is started by the first user, holds the server as its
child, restarts it when it dies, and stops it when it gets that lock for itself, which means that nobody is left. The
kernel frees locks at SIGKILL too, so there is no count that could be wrong.

``users`` joins a server · ``keeper`` keeps one · ``server`` is what they need to know of it · ``redis_kind`` and
``postgres_kind`` are the two kinds · ``postgres_files`` makes a database · ``places`` and ``locks`` are the tools.
Nothing heavy is imported here: the keeper must be up in a blink.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.errors import UsageError

if TYPE_CHECKING:
    from worker.embedded.users import Embedded

NOBODY = 65534  # the unprivileged user id that PostgreSQL runs under when penstock runs as root, which it refuses


def redis_server(home: Path, *, maxmemory: str = "1gb") -> Embedded:
    """Join the Redis under ``home``, or start it; its ``url`` is redis-py's ``unix://…``.

    Blocks until it answers. ``maxmemory`` counts for the process that starts the server. Raises ``UsageError`` where
    no Redis can run, ``StreamUnavailable`` when it does not start.
    """
    _refuse_windows()
    from worker.embedded.redis_kind import RedisServer  # noqa: PLC0415 (fcntl does not exist on Windows)
    from worker.embedded.users import join  # noqa: PLC0415

    return join(RedisServer(home=_absolute(home), maxmemory=maxmemory))


def postgres_server(home: Path, *, run_as: int = NOBODY) -> Embedded:
    """Join the PostgreSQL under ``home``, or make and start it; its ``url`` names socket, user, password and database.

    Blocks until it answers. ``run_as`` is the user id of a new server when this process is root's. Raises
    ``UsageError`` where no PostgreSQL can run, ``StoreUnavailable`` when it does not start.
    """
    _refuse_windows()
    from worker.embedded.postgres_kind import PostgresServer  # noqa: PLC0415 (as above)
    from worker.embedded.users import join  # noqa: PLC0415

    return join(PostgresServer(home=_absolute(home), run_as=run_as))


def kombu_url(redis_url: str) -> str:
    """Return the form of a Redis URL that Celery understands: ``redis+socket://`` for a socket, else as it is."""
    scheme = "unix://"
    return f"redis+socket://{redis_url.removeprefix(scheme)}" if redis_url.startswith(scheme) else redis_url


def _absolute(home: Path) -> Path:
    return home.expanduser().resolve()


def _refuse_windows() -> None:
    if sys.platform == "win32":
        raise UsageError(
            "Embedded Redis and PostgreSQL do not run on Windows; run penstock under WSL, "
            "or set PENSTOCK_REDIS_URL and PENSTOCK_STORE_URL to servers of your own."
        )
