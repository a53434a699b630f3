"""Every mistake gets one clear sentence and the right exit code."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.acceptance.conftest import COMMAND, Penstock, wait_for
from tests.support.corpus import page
from worker.embedded import redis_server

PAGE = page(("One paragraph is enough here.",), ("7",))

COMMANDS = (
    "demo",
    "up",
    "push",
    "work",
    "status",
    "audit",
    "show",
    "similar",
    "export",
    "failures",
    "replay",
    "drop",
    "sources",
    "bench",
)


def test_help_names_every_command(penstock: Penstock) -> None:
    text = penstock.run("--help")
    for command in COMMANDS:
        assert f"\n  {command} " in text
        assert penstock.run(command, "--help").startswith("Usage: penstock")


def test_the_version_is_told(penstock: Penstock) -> None:
    assert penstock.run("--version").startswith("penstock 0.")


def test_output_that_cannot_be_written_is_told(penstock: Penstock) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [COMMAND, "status"], env=penstock.environ, stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 1
    assert "No space left on device" in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()


def test_a_closed_standard_input_is_told(penstock: Penstock) -> None:
    command = ["sh", "-c", '"$0" push - --source a <&-', str(COMMAND)]
    done = subprocess.run(command, env=penstock.environ, capture_output=True, check=False)
    assert done.returncode == 2
    assert "standard input is closed" in done.stderr.decode()


MISTAKES = {
    "no such file": (("push", "--source", "a", "missing.html"), 2, "missing.html: no such file or directory"),
    "source with a slash": (("push", "--source", "a/b", "page.txt"), 2, "without spaces and slashes"),
    "no URL": (("push", "--source", "a", "--url", "page.html", "page.txt"), 2, "http or https URL"),
    "empty item": (("push", "--source", "a", "--item", "", "page.txt"), 2, "--item must not be empty"),
    "failure beyond count": (("failures", "--payload", "9" * 25), 2, "--payload"),
    "no source": (("push", "page.txt"), 2, "--source"),
    "item for a directory": (("push", "--source", "a", "--item", "1", "."), 2, "--url and --item name one page"),
    "unknown format": (("push", "--source", "a", "--format", "xml", "page.txt"), 2, "page, ndjson or warc"),
    "unknown command": (("pusch",), 2, "pusch"),
    "unknown option": (("status", "--jsn"), 2, "--jsn"),
    "unknown role": (("work", "--only", "eat"), 2, "ingest, retry, fetch"),
    "unknown page": (("show", "a/nothing"), 2, "no page for 'a/nothing'"),
    "similar to an unknown page": (("similar", "a/nothing"), 2, "no page for 'a/nothing'"),
    "unknown export format": (("export", "--format", "xml"), 2, "ndjson"),
    "unknown state": (("failures", "--state", "sad"), 2, "waiting, dead, resolved, dropped"),
    "unknown failure": (("failures", "--payload", "12345"), 2, "12345"),
    "replay of nothing named": (("replay",), 2, "--all"),
    "drop with filter and --all": (("drop", "--all", "--class", "Gone"), 2, "--all"),
    "missing profile file": (("sources", "check", "nowhere.toml"), 2, "nowhere.toml"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_in_one_sentence(penstock: Penstock, tmp_path: Path, mistake: str) -> None:
    arguments, code, told = MISTAKES[mistake]
    (tmp_path / "page.txt").write_bytes(PAGE)
    done = subprocess.run([COMMAND, *arguments], env=penstock.environ, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == code, done.stderr.decode()
    assert told in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()


@pytest.mark.parametrize(
    "name,value,told",
    [
        ("PENSTOCK_BATCH_SIZE", "many", "PENSTOCK_BATCH_SIZE"),
        ("PENSTOCK_BATSH_SIZE", "5", "PENSTOCK_BATCH_SIZE"),
        ("PENSTOCK_STORE_URL", "mysql://x", "PENSTOCK_STORE_URL"),
        ("PENSTOCK_REDIS_URL", "http://x", "PENSTOCK_REDIS_URL"),
        ("PENSTOCK_REDIS_URL", "redis://127.0.0.1:port/0", "PENSTOCK_REDIS_URL"),
        ("PENSTOCK_STORE_URL", "postgresql://127.0.0.1:port/x", "PENSTOCK_STORE_URL"),
        ("PENSTOCK_STORE_URL", "sqlite:////no/such/folder/x.db", "PENSTOCK_STORE_URL"),
    ],
)
def test_a_wrong_setting_is_named(penstock: Penstock, name: str, value: str, told: str) -> None:
    penstock.environ[name] = value
    for arguments in (("status",), ("work", "--drain")):
        done = penstock.attempt(*arguments)
        assert done.returncode == 2
        assert told in done.stderr.decode()
        assert "Traceback" not in done.stderr.decode()


def test_a_wrong_profile_is_told_with_its_place(penstock: Penstock) -> None:
    penstock.home.mkdir(parents=True)
    text = '[sources.mine]\ntimezone = "Asia/Tehrn"\nmax_dept = 2\n'
    (penstock.home / "sources.toml").write_text(text, encoding="utf-8")
    done = penstock.attempt("sources", "check")
    told = done.stderr.decode()
    assert done.returncode == 2
    assert "sources.mine.timezone" in told
    assert "Asia/Tehran" in told
    assert "max_depth" in told
    assert penstock.attempt("work", "--drain").returncode == 2


def test_redis_out_of_reach_means_try_again_later(penstock: Penstock) -> None:
    penstock.environ["PENSTOCK_REDIS_URL"] = "unix:///nowhere/redis.sock"
    done = penstock.attempt("push", "--source", "a", "-", stdin=PAGE)
    assert done.returncode == 75
    assert "Redis does not answer" in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()


def test_a_full_stream_refuses_and_says_so(penstock: Penstock) -> None:
    penstock.environ["PENSTOCK_HIGH_WATER"] = "2"
    for _ in range(2):
        penstock.run("push", "--source", "a", "-", stdin=PAGE)
    done = penstock.attempt("push", "--source", "a", "-", stdin=PAGE)
    assert done.returncode == 75
    assert "high-water mark" in done.stderr.decode()
    assert penstock.json("status")["stream"] == 2


@pytest.mark.parametrize("in_use", [False, True], ids=["alone", "beside_others"])
def test_what_redis_could_not_write_to_a_full_disk_is_not_called_pushed(tmp_path: Path, in_use: bool) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", disk], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("only root can make a small disk")
    held = contextlib.ExitStack()
    try:
        small = Penstock(disk / "home")
        if in_use:  # the Redis that could not write goes on, and the next command finds it so
            held.enter_context(redis_server(disk / "home"))
        small.run("push", "--source", "a", "--item", "1", "-", stdin=PAGE)
        filler = disk / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"x" * 4096)
        for item in "23":  # the first is told after the write that failed, the second before it writes
            done = small.attempt("push", "--source", "a", "--item", item, "-", stdin=os.urandom(64 << 10))  # not packed
            assert done.returncode == 75, done
            assert "disk" in done.stderr.decode()
            assert "Traceback" not in done.stderr.decode()
        filler.unlink()
        wait_for(
            "Redis to take pages again", lambda: small.attempt("push", "--source", "a", "-", stdin=PAGE).returncode == 0
        )
    finally:
        held.close()
        subprocess.run(["umount", "--lazy", disk], check=True)


def test_push_waits_for_room_when_asked_to(penstock: Penstock) -> None:
    penstock.environ["PENSTOCK_HIGH_WATER"] = "2"
    lines = [json.dumps({"source": "a", "item": str(n), "body": PAGE.decode()}) for n in range(300)]
    pusher = subprocess.Popen(
        [COMMAND, "push", "-", "--format", "ndjson", "--wait"], env=penstock.environ, stdin=subprocess.PIPE
    )
    assert pusher.stdin is not None
    pusher.stdin.write("\n".join(lines).encode())
    pusher.stdin.close()
    penstock.start("work")
    assert pusher.wait(120) == 0
    wait_for("all pages to be done", lambda: sum(penstock.json("status")["outcomes"].values()) == 300)


def test_bad_lines_are_told_and_the_rest_is_pushed(penstock: Penstock) -> None:
    good = json.dumps({"source": "a", "item": "1", "body": PAGE.decode()})
    packed = json.dumps({"source": "a", "item": "2", "body_b64": base64.b64encode(PAGE).decode()})
    lines = [good, "{not json", "", '{"source": "a"}', packed]
    done = penstock.attempt("push", "-", "--format", "ndjson", stdin="\n".join(lines).encode())
    told = done.stderr.decode()
    assert done.returncode == 2
    assert b"2 pushed, 2 could not be read" in done.stdout
    assert ":2" in told
    assert ":4" in told
    assert "body" in told


def test_the_dashboard_asks_for_its_password_and_names_the_tasks(penstock: Penstock) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    penstock.environ["PENSTOCK_FLOWER_PORT"] = str(port)
    up = penstock.start("up", "--concurrency", "1")
    address = f"http://127.0.0.1:{port}/api/tasks"

    def answer(password: str) -> tuple[int, str]:
        token = base64.b64encode(f"penstock:{password}".encode()).decode()
        request = urllib.request.Request(address, headers={"Authorization": f"Basic {token}"})
        try:
            with urllib.request.urlopen(request, timeout=5) as response:  # noqa: S310 (an address of ours)
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            error.close()
            return error.code, ""
        except OSError:
            return 0, ""

    wait_for("the dashboard to refuse a wrong password", lambda: answer("wrong")[0] == 401)
    password = (penstock.home / "dashboard-password").read_text(encoding="ascii").strip()
    names = ("pages.ingest", "items.fetch", "pages.retry", "texts.compare", "upkeep")
    penstock.run("push", "--source", "a", "-", stdin=PAGE)
    wait_for("the tasks to show up", lambda: all(name in answer(password)[1] for name in names), seconds=90)
    up.terminate()
    assert up.wait(60) == 0


def test_pages_of_nearly_the_same_text_are_shown(penstock: Penstock) -> None:
    words = [f"word{at}" for at in range(90)]
    penstock.run("push", "--source", "a", "--item", "1", "-", stdin=page((" ".join(words),), ("7",)))
    penstock.run("push", "--source", "b", "--item", "2", "-", stdin=page((" ".join(words[:80]),), ("7",)))
    penstock.run("push", "--source", "a", "--item", "3", "-", stdin=PAGE)
    penstock.run("work", "--drain", "--only", "ingest")
    assert penstock.json("show", "b/2")["near_duplicates"] == ["a/1"]
    found = penstock.json("similar", "b/2")
    assert (found["representative"], [one["key"] for one in found["members"]]) == ("a/1", ["a/1", "b/2"])
    assert 0.8 < found["members"][0]["similarity"] < found["members"][1]["similarity"] == 1.0
    told = penstock.run("similar", "b/2").splitlines()
    assert told[0] == "b/2"
    assert [line.split()[2] for line in told[1:]] == ["a/1", "b/2"]
    assert "representative" in told[1]
    assert "too short" in penstock.run("similar", "a/3")
    assert "\n  similar       a/1\n" in penstock.run("show", "b/2")


def test_celery_itself_can_run_the_worker(penstock: Penstock) -> None:
    for number in range(20):
        penstock.run("push", "--source", "a", "--item", str(number), "-", stdin=PAGE)
    celery = subprocess.Popen(
        [Path(sys.executable).with_name("celery"), "-A", "worker.app", "worker", "--concurrency", "2"],
        env=penstock.environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for("all pages to be done", lambda: sum(penstock.json("status")["outcomes"].values()) == 20)
        send = (
            "from worker.app import app\n"
            "app.send_task('ingest_page', kwargs={'source': 'a', 'item': 'by celery', 'body': 'Text'}, kwargsrepr='')\n"
        )
        subprocess.run([sys.executable, "-c", send], env=penstock.environ, check=True)
        wait_for("the page sent by Celery", lambda: sum(penstock.json("status")["outcomes"].values()) == 21)
    finally:
        celery.terminate()
        assert celery.wait(60) == 0
