"""``penstock up``: everything on this machine until Ctrl-C."""

from __future__ import annotations

import os
import secrets
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tasks.errors import UsageError
from worker.runtime import Runtime, open_store, runtime
from worker.supervisor import Child, log_file, penstock, stop_requested

RESTART_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
STEADY_SECONDS = 60.0


def run_up(concurrency: int | None) -> int:
    """Start worker and dashboard, keep them running until a signal, and end them in order. Returns the exit code."""
    rt = runtime()
    open_store(rt).close()
    _check_port(rt.settings.flower_port)
    password = flower_password(rt)
    arguments = penstock("work", *(("--concurrency", str(concurrency)) if concurrency else ()))
    kept = [
        _Kept("worker", lambda: Child("worker", arguments, environ={"PENSTOCK_RUN": rt.run})),
        _Kept("dashboard", lambda: _flower(rt, password)),
    ]
    with stop_requested() as asked:
        for one in kept:
            one.start()
        _greet(rt)
        while not asked():
            for one in kept:
                one.look()
            time.sleep(0.2)
        sys.stderr.write("penstock: stopping; the batch in hand is finished first\n")
        for one in kept:
            one.child.stop()
    return 0


@dataclass
class _Kept:
    """A child that is started again when it ends by itself, at growing intervals."""

    name: str
    make: Callable[[], Child]
    restarts: int = 0
    started: float = field(default=0.0)
    due: float | None = None
    child: Child = field(init=False)

    def start(self) -> None:
        self.child, self.started, self.due = self.make(), time.monotonic(), None

    def look(self) -> None:
        code, now = self.child.ended(), time.monotonic()
        if code is None:
            self.restarts = 0 if now - self.started > STEADY_SECONDS else self.restarts
        elif self.due is None:
            pause = RESTART_SECONDS[min(self.restarts, len(RESTART_SECONDS) - 1)]
            self.restarts, self.due = self.restarts + 1, now + pause
            sys.stderr.write(f"penstock: the {self.name} ended with code {code}; it is started again in {pause:g} s\n")
        elif now >= self.due:
            self.start()


def _flower(rt: Runtime, password: str) -> Child:
    """Start Flower on loopback. The password goes by the environment: arguments show up in process lists."""
    settings = rt.settings
    code = "import sys; from worker.app import app; app.start(sys.argv[1:])"
    return Child(
        "dashboard",
        ["-c", code, "flower", "--address=127.0.0.1", f"--port={settings.flower_port}"],
        environ={"FLOWER_BASIC_AUTH": f"{settings.flower_user}:{password}"},
        output=log_file(settings.home, "dashboard"),
    )


def flower_password(rt: Runtime) -> str:
    """Return the dashboard's password: the setting, else one that is made once and kept in a private file."""
    if rt.settings.flower_password is not None:
        return rt.settings.flower_password.get_secret_value()
    path = _password_file(rt)
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        password = secrets.token_urlsafe(12)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(password + "\n")
        return password


def _password_file(rt: Runtime) -> Path:
    return rt.settings.home / "dashboard-password"


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            message = f"the dashboard's port {port} is taken: set PENSTOCK_FLOWER_PORT to another one"
            raise UsageError(message) from error


def _greet(rt: Runtime) -> None:
    settings = rt.settings
    where = f"the file {_password_file(rt)}" if settings.flower_password is None else "PENSTOCK_FLOWER_PASSWORD"
    sys.stderr.write(
        f"penstock is up; Ctrl-C ends it.\n"
        f"  store      {rt.database_file or 'PostgreSQL'}\n"
        f"  dashboard  http://127.0.0.1:{settings.flower_port}/  user {settings.flower_user}, password in {where}\n"
        f"  push pages with: penstock push --source NAME FILE…\n"
    )
