"""docker-compose.yml, as far as Compose itself can check it without an engine."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PASSWORDS = {"POSTGRES_PASSWORD": "swordfish", "FLOWER_PASSWORD": "marlin"}


@pytest.fixture(scope="module")
def compose() -> list[str]:
    """The command of Compose: the plugin of ``docker``, else the program of its own."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if (
            shutil.which(command[0])
            and subprocess.run([*command, "version"], capture_output=True, check=False).returncode == 0
        ):
            return command
    if os.environ.get("CI") == "true":
        pytest.fail("no Compose: .ci/run installs it")
    pytest.skip("neither 'docker compose' nor docker-compose is installed")


def config(compose: list[str], home: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name not in PASSWORDS}
    (home / "env").write_text("", encoding="ascii")  # in the place of a .env that a developer may have
    command = [*compose, "--file", str(ROOT / "docker-compose.yml"), "--env-file", str(home / "env"), "config"]
    return subprocess.run(command, env=kept | environ, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_compose_file_is_valid_and_publishes_nothing_beyond_loopback(compose: list[str], tmp_path: Path) -> None:
    result = config(compose, tmp_path, **PASSWORDS)
    assert result.returncode == 0, result.stderr
    for service in ("redis", "postgres", "worker-ingest", "worker-fetch", "flower"):
        assert f"\n  {service}:\n" in result.stdout
    assert "127.0.0.1" in result.stdout
    assert "0.0.0.0:" not in result.stdout
    assert result.stdout.count("marlin") == 1


@pytest.mark.parametrize("missing", sorted(PASSWORDS))
def test_a_password_that_is_not_set_is_told_by_name(compose: list[str], tmp_path: Path, missing: str) -> None:
    result = config(compose, tmp_path, **{name: value for name, value in PASSWORDS.items() if name != missing})
    assert result.returncode != 0
    assert f"set {missing} in .env" in result.stderr


def test_the_example_of_the_environment_names_what_the_compose_file_asks_for() -> None:
    example = (ROOT / "deploy" / "env.example").read_text(encoding="utf-8")
    named = {line.partition("=")[0] for line in example.splitlines() if line and not line.startswith("#")}
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    asked = {part.split("}")[0].split(":")[0] for part in text.split("${")[1:]}
    assert named == asked
