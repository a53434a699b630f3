"""Parsers of other distributions, found by their entry points."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.conftest import Penstock
from tests.support.plugins import SOURCE, install


@pytest.fixture
def plugins(penstock: Penstock) -> Path:
    """A folder for plug-ins."""
    folder = penstock.home.parent / "plugins"
    folder.mkdir()
    penstock.environ["PYTHONPATH"] = str(folder)
    penstock.home.mkdir(exist_ok=True)
    (penstock.home / "sources.toml").write_text('[sources.site]\nparser = "mine"\n')
    return folder


def test_a_source_may_name_a_plug_in(penstock: Penstock, plugins: Path) -> None:
    install(plugins)
    assert "mine" in penstock.run("sources", "check")


def test_a_parser_that_nobody_brings_is_told(penstock: Penstock, plugins: Path) -> None:
    install(plugins, name="mina")
    told = penstock.attempt("sources", "check")
    assert (told.returncode, b"'mine' is not a parser; did you mean 'mina'?" in told.stderr) == (2, True)


@pytest.mark.parametrize(
    "name,source,told",
    [
        ("mine", SOURCE.replace("interface=1", "interface=7"), "for version 7 of the interface, this penstock has 1"),
        ("mine", "parser = None", "for version None of the interface"),
        ("mine", SOURCE.replace("version={version}, i", "version='1', i"), "its version '1' must be a whole number"),
        ("mine", SOURCE.replace('name="{name}"', 'name="other"'), "its name 'other' must be that of the entry point"),
        ("mine", "import nothing_of_this_name", "it cannot be loaded: ModuleNotFoundError"),
        ("html", SOURCE, "there already is a parser of this name"),
    ],
)
def test_a_plug_in_that_is_wrong_is_told_before_anything_runs(
    penstock: Penstock, plugins: Path, name: str, source: str, told: str
) -> None:
    install(plugins, name=name, source=source)
    done = penstock.attempt("sources", "check")
    assert done.returncode == 2
    assert f"penstock: the parser plug-in '{name}' (plugin_{name}:parser): " in done.stderr.decode()
    assert told in done.stderr.decode()


def test_a_worker_does_not_start_with_a_wrong_plug_in(penstock: Penstock, plugins: Path) -> None:
    install(plugins, source="import nothing_of_this_name")
    done = penstock.attempt("work")
    assert (done.returncode, b"the parser plug-in 'mine'" in done.stderr) == (2, True)
