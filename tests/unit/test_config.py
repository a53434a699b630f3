"""The settings, read from mappings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pydantic
import pytest

from tasks.errors import UsageError
from worker.config import describe, load_settings, mask


def told(**environ: str) -> list[str]:
    with pytest.raises(UsageError) as caught:
        load_settings({f"PENSTOCK_{name}": value for name, value in environ.items()})
    return str(caught.value).splitlines()


def test_without_variables_everything_has_its_default() -> None:
    settings = load_settings({})
    assert settings.home == Path.cwd() / "var"
    assert settings.redis_url is None
    assert settings.store_url is None
    assert settings.max_body_bytes == 8 * 1024 * 1024
    assert (settings.batch_size, settings.batch_seconds, settings.lease_seconds) == (200, 2.0, 120.0)
    assert (settings.retry_base_seconds, settings.retry_max_seconds) == (30, 21_600)
    assert settings.concurrency >= 1
    assert settings.flower_password is None
    assert settings.sentry_dsn_value() is None


def test_the_settings_cannot_be_changed() -> None:
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        load_settings({}).batch_size = 3


def test_a_variable_that_is_set_to_nothing_is_not_set() -> None:
    assert load_settings({"PENSTOCK_REDIS_URL": "", "PENSTOCK_BATCH_SIZE": ""}) == load_settings({})


def test_only_the_given_mapping_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_BATCH_SIZE", "7")
    assert load_settings({}).batch_size == 200
    assert load_settings().batch_size == 7


def test_the_home_becomes_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    assert load_settings({"PENSTOCK_HOME": "state/../here"}).home == tmp_path / "here"
    assert load_settings({"PENSTOCK_HOME": "~/state"}).home == tmp_path / "me" / "state"


@pytest.mark.parametrize("url", ["redis://localhost", "rediss://u:p@example.org:6380/1", "unix:///run/redis.sock"])
def test_redis_urls_are_taken_as_they_are(url: str) -> None:
    assert load_settings({"PENSTOCK_REDIS_URL": url}).redis_url == url


@pytest.mark.parametrize("url", ["http://localhost", "localhost:6379", "redis://", "unix://", "redis://["])
def test_a_wrong_redis_url_is_told(url: str) -> None:
    (line,) = told(REDIS_URL=url)
    assert line.startswith("PENSTOCK_REDIS_URL: ")
    assert line.endswith("is not redis://HOST…, rediss://HOST… or unix:///PATH.")


@pytest.mark.parametrize(
    "given,read",
    [
        ("embedded-postgres", "embedded-postgres"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("postgres://u@h/d", "postgresql://u@h/d"),
        ("sqlite:////x/y.db", "sqlite:////x/y.db"),
    ],
)
def test_store_urls_are_read(given: str, read: str) -> None:
    assert load_settings({"PENSTOCK_STORE_URL": given}).store_url == read


def test_a_relative_sqlite_path_becomes_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings({"PENSTOCK_STORE_URL": "sqlite:///a.db"}).store_url == f"sqlite:///{tmp_path}/a.db"


@pytest.mark.parametrize("url", ["mysql://h/d", "sqlite://", "sqlite:///", "sqlite:///:memory:", "postgresql://", "x"])
def test_a_wrong_store_url_is_told(url: str) -> None:
    assert told(STORE_URL=url)[0].endswith("is not sqlite:///PATH, postgresql://… or the word embedded-postgres.")


@pytest.mark.parametrize("size,read", [("4096", 4096), ("2MiB", 2 * 1024**2), ("2 mb", 2_000_000), ("500kB", 500_000)])
def test_sizes_are_read_with_their_unit(size: str, read: int) -> None:
    assert load_settings({"PENSTOCK_MAX_BODY_BYTES": size}).max_body_bytes == read


@pytest.mark.parametrize(
    "name,value,expected",
    [
        ("BATCH_SIZE", "abc", "a whole number, 1 or more"),
        ("BATCH_SIZE", "0", "a whole number, 1 or more"),
        ("BATCH_SIZE", "2.5", "a whole number, 1 or more"),
        ("BATCH_SECONDS", "-1", "a number above 0"),
        ("BATCH_SECONDS", "inf", "a number above 0"),
        ("BATCH_SECONDS", "nan", "a number above 0"),
        ("MAX_BODY_BYTES", "8 boxes", "a size, for example 8388608, 8MiB or 500kB"),
        ("LOG_LEVEL", "loud", "one of debug, info, warning, error, critical"),
        ("LOG_FORMAT", "xml", "one of auto, json, console"),
        ("FLOWER_PORT", "70000", "a port number, 1 to 65535"),
        ("NAMESPACE", "a b", "letters, digits, '.', '_' and '-'"),
        ("USER_AGENT", "a\r\nX: y", "printable ASCII text"),
        ("EMBEDDED_REDIS_MAXMEMORY", "much", "a size like 512mb or 1gb"),
    ],
)
def test_a_bad_value_is_told_in_a_sentence(name: str, value: str, expected: str) -> None:
    assert told(**{name: value}) == [f"PENSTOCK_{name}: {value!r} is not {expected}."]


def test_words_are_read_in_any_case() -> None:
    settings = load_settings({"PENSTOCK_LOG_LEVEL": "WARNING", "PENSTOCK_EMBEDDED_REDIS_MAXMEMORY": "512MB"})
    assert (settings.log_level, settings.embedded_redis_maxmemory) == ("warning", "512mb")


def test_an_unknown_variable_is_told_with_the_one_that_was_meant() -> None:
    assert told(BATSH_SIZE="3") == [
        "PENSTOCK_BATSH_SIZE is not a variable that penstock knows; did you mean PENSTOCK_BATCH_SIZE?"
    ]
    assert told(QQQ="3") == ["PENSTOCK_QQQ is not a variable that penstock knows."]


def test_all_problems_are_told_at_once() -> None:
    assert len(told(BATSH_SIZE="3", PULL_SECONDS="x", HIGH_WATER="-3")) == 3
    assert len(told(BATSH_SIZE="3", LEASE_SECONDS="5", SOURCES="/nowhere/sources.toml")) == 3


def test_a_lease_that_ends_before_its_work_is_told() -> None:
    (line,) = told(LEASE_SECONDS="20")
    assert line.startswith("PENSTOCK_LEASE_SECONDS (20) must be at least 82: PENSTOCK_PULL_SECONDS, ")
    assert "PENSTOCK_LEASE_SECONDS (120) must be at least 203" in told(FETCH_TIMEOUT_SECONDS="151")[0]
    assert "PENSTOCK_FETCH_LEASE_SECONDS (300) must be at least twice" in told(FETCH_TIMEOUT_SECONDS="151")[1]
    assert "PENSTOCK_RETRY_MAX_SECONDS (5) must not be less" in told(RETRY_MAX_SECONDS="5")[0]


def test_the_sources_of_the_home_are_used_when_they_exist(tmp_path: Path) -> None:
    settings = load_settings({"PENSTOCK_HOME": str(tmp_path)})
    assert settings.sources_path() is None
    (tmp_path / "sources.toml").touch()
    assert settings.sources_path() == tmp_path / "sources.toml"
    (tmp_path / "mine.toml").touch()
    mine = {"PENSTOCK_HOME": str(tmp_path), "PENSTOCK_SOURCES": str(tmp_path / "mine.toml")}
    assert load_settings(mine).sources_path() == tmp_path / "mine.toml"


def test_a_named_file_of_sources_must_exist(tmp_path: Path) -> None:
    assert told(SOURCES=str(tmp_path / "x")) == [f"PENSTOCK_SOURCES: there is no file {tmp_path / 'x'}."]


def test_secrets_are_not_shown() -> None:
    settings = load_settings(
        {
            "PENSTOCK_REDIS_URL": "redis://me:hush@example.org/0",
            "PENSTOCK_STORE_URL": "postgresql://me:hush@example.org/d",
            "PENSTOCK_SENTRY_DSN": "https://hush@example.org/1",
            "PENSTOCK_FLOWER_PASSWORD": "hush",
        }
    )
    assert "hush" not in repr(settings)
    assert "hush" not in str(settings)
    assert "redis://me:***@example.org/0" in repr(settings)
    assert settings.sentry_dsn_value() == "https://hush@example.org/1"


def test_secrets_are_not_shown_where_they_are_wrong() -> None:
    lines = told(REDIS_URL="http://me:hush@h", STORE_URL="mysql://me:hush@h", SENTRY_DSN="hush")
    assert len(lines) == 3
    assert "hush" not in "".join(lines)


@pytest.mark.parametrize(
    "url,shown",
    [
        ("redis://:hush@h/0", "redis://:***@h/0"),
        ("postgresql:///d?password=hush", "postgresql:///d?***"),
        ("redis://me:hush@[", "***"),
        ("unix:///a/b.sock", "unix:///a/b.sock"),
    ],
)
def test_a_url_is_masked(url: str, shown: str) -> None:
    assert mask(url) == shown


def test_sentrys_own_variable_counts_too_and_ours_first() -> None:
    plain = {"SENTRY_DSN": "https://a@example.org/1"}
    assert load_settings(plain).sentry_dsn_value() == "https://a@example.org/1"
    both = {**plain, "PENSTOCK_SENTRY_DSN": "https://b@example.org/1"}
    assert load_settings(both).sentry_dsn_value() == "https://b@example.org/1"


def test_every_option_says_what_it_is() -> None:
    options = describe()
    assert [option.name for option in options][:3] == ["PENSTOCK_HOME", "PENSTOCK_REDIS_URL", "PENSTOCK_STORE_URL"]
    assert all(option.doc.endswith(".") and option.expected for option in options)
    assert all(option.unit == "seconds" for option in options if option.name.endswith("_SECONDS"))


def test_every_default_is_accepted_as_a_value() -> None:
    given = {option.name: option.default for option in describe() if option.name != "PENSTOCK_CONCURRENCY"}
    assert load_settings(given) == load_settings({})


def test_importing_the_module_reads_no_settings() -> None:
    environment = {"PATH": os.defpath, "PENSTOCK_BATCH_SIZE": "abc"}
    root = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-c", "import worker.config"], cwd=root, env=environment, check=True)
