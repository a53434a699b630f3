"""The settings: one frozen object, read from ``PENSTOCK_*`` variables, each with its default, unit and meaning.

A variable that is set to nothing counts as not set, since that is what compose files pass on. An unknown variable is
an error: a misspelt bound that is silently not applied is found only when it is too late.

This stands on pydantic alone: pydantic-settings reads ``os.environ`` only and triples the import time (0.3 s).
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
)
from pydantic.fields import FieldInfo

from tasks.errors import UsageError

PREFIX = "PENSTOCK_"
EMBEDDED_POSTGRES = "embedded-postgres"

_POSTGRES = "postgresql://"
_SQLITE = "sqlite:///"
_PLAIN_NAMES = {"sentry_dsn": "SENTRY_DSN"}  # what Sentry's own documentation tells people to set


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _redis_url(url: str) -> str:
    parts = urlsplit(url)
    there = parts.path if parts.scheme == "unix" else parts.hostname
    if parts.scheme not in {"redis", "rediss", "unix"} or not there or parts.port == 0:  # port: raises ValueError
        raise ValueError
    return url


def _store_url(url: str) -> str:
    _ = urlsplit(url).port  # raises ValueError
    if url == EMBEDDED_POSTGRES or (url.startswith(_POSTGRES) and len(url) > len(_POSTGRES)):
        return url
    if url.startswith("postgres://"):
        return _store_url(_POSTGRES + url.removeprefix("postgres://"))
    path = url.removeprefix(_SQLITE)
    if path in {url, "", ":memory:"}:
        raise ValueError
    return f"{_SQLITE}{_absolute(Path(path))}"


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path.expanduser()))  # noqa: PTH100 (resolve() would follow links that may change)


def _lower(text: Any) -> Any:
    return text.lower() if isinstance(text, str) else text


def _web_url(secret: SecretStr) -> SecretStr:
    parts = urlsplit(secret.get_secret_value())
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError
    return secret


def option(default: Any, unit: str, doc: str, *, expected: str, **bounds: Any) -> Any:
    """Describe one option: its unit ('' where it has none), what it means, and what a value must look like."""
    if callable(default):
        bounds["default_factory"] = default
    else:
        bounds["default"] = default
    return Field(
        description=doc, json_schema_extra={"unit": unit, "expected": expected}, validate_default=True, **bounds
    )


def _count(default: Any, unit: str, doc: str, *, least: int = 1) -> Any:
    return option(default, unit, doc, expected=f"a whole number, {least} or more", ge=least)


def _bytes(default: str, doc: str) -> Any:
    return option(default, "bytes", doc, expected="a size, for example 8388608, 8MiB or 500kB", ge=1024)


def _seconds(default: float, doc: str) -> Any:
    return option(default, "seconds", doc, expected="a number above 0", gt=0, le=10 * 365 * 86400, allow_inf_nan=False)


def _one_of(default: str, doc: str, *words: str) -> Any:
    return option(default, "", doc, expected="one of " + ", ".join(words))


_Home = Annotated[Path, AfterValidator(_absolute)]
_RedisUrl = Annotated[str, AfterValidator(_redis_url)]
_StoreUrl = Annotated[str, AfterValidator(_store_url)]
_Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]+$")]
_Line = Annotated[str, StringConstraints(pattern=r"^[ -~]*$")]
_Memory = Annotated[str, BeforeValidator(_lower), StringConstraints(pattern=r"^[1-9][0-9]*([kmg]b?)?$")]
_Dsn = Annotated[SecretStr, AfterValidator(_web_url)]
_Level = Annotated[Literal["debug", "info", "warning", "error", "critical"], BeforeValidator(_lower)]
_Switch = Annotated[Literal["on", "off"], BeforeValidator(_lower)]
_Format = Annotated[Literal["auto", "json", "console"], BeforeValidator(_lower)]


class Settings(BaseModel):
    """All options of a process. Build it with ``load_settings``; its ``repr`` has no secrets."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    home: _Home = option(Path("var"), "", "Directory of all state; made where it is missing.", expected="a path")
    redis_url: _RedisUrl | None = option(
        None,
        "",
        "The Redis of the page stream and of Celery; unset: an embedded one under the home.",
        expected="redis://HOST…, rediss://HOST… or unix:///PATH",
    )
    store_url: _StoreUrl | None = option(
        None,
        "",
        "The store; unset: the SQLite file penstock.db under the home.",
        expected="sqlite:///PATH, postgresql://… or the word embedded-postgres",
    )
    sources: _Home | None = option(
        None, "", "The file of source profiles; unset: sources.toml under the home, if it exists.", expected="a path"
    )
    namespace: _Word = option(
        "penstock", "", "Prefix of every key in Redis.", expected="letters, digits, '.', '_' and '-'"
    )
    high_water: int = _count(100_000, "stream entries", "Above it push is refused until workers have caught up.")
    max_body_bytes: ByteSize = _bytes("8MiB", "Largest payload that push and fetch accept.")
    batch_size: int = _count(200, "payloads", "Most payloads in one transaction.")
    batch_bytes: ByteSize = _bytes("8MiB", "Most payload bytes in one transaction; one payload always fits.")
    batch_seconds: float = _seconds(2.0, "Longest time to parse for one transaction.")
    lease_seconds: float = _seconds(
        120, "A payload whose worker has been silent for so long is given to another; also the limit of one task."
    )
    max_deliveries: int = _count(
        20, "deliveries", "A payload that was delivered more often is kept as Poison; pages that kill are found before."
    )
    page_seconds: float = _seconds(10, "CPU time that one page may take; native code is ended at 1.5 times as much.")
    process_memory: ByteSize = _bytes("2GiB", "Private memory of a process that parses; a page that needs more fails.")
    pull_seconds: float = _seconds(20, "How long one task pulls from the stream before the next one takes over.")
    retry_base_seconds: float = _seconds(30, "Back-off of the first retry; it doubles with each, with full jitter.")
    retry_max_seconds: float = _seconds(21_600, "Longest back-off between two retries.")
    failure_ceiling_share: float = option(
        0.5,
        "",
        "A source is paused when this part of its pages of the last one to two hours failed; 1: all of them.",
        expected="a number above 0, at most 1",
        gt=0,
        le=1,
        allow_inf_nan=False,
    )
    failure_ceiling_least: int = _count(100, "failures", "So many failures of a source at least before it is paused.")
    delivery_days: int = _count(
        90, "days", "How long it is known what became of a single payload; what was counted stays counted for ever."
    )
    payload_days: int = _count(
        0,
        "days",
        "How long bytes are kept after they came first, however often they came since; those of open failures longer; "
        "0: for ever.",
        least=0,
    )
    near_duplicates: _Switch = _one_of(
        "on",
        "Whether new texts are compared with those that are stored, to find pages of nearly the same text.",
        "on",
        "off",
    )
    fetch_timeout_seconds: float = _seconds(30, "Total time for one request, redirects and body included.")
    fetch_batch: int = _count(100, "items", "Most items that one process fetches at the same time.")
    fetch_archive: _Home | None = option(
        None,
        "",
        "Folder for WARC files of all that is fetched, with requests and responses; unset: none are written.",
        expected="a path",
    )
    fetch_archive_bytes: ByteSize = _bytes("1GB", "Size at which such a file is closed and the next one begun.")
    fetch_lease_seconds: float = _seconds(300, "An item whose fetcher has been silent for so long is due again.")
    user_agent: _Line = option(
        "penstock/0.1 (crawler without a configured contact)",
        "",
        "Sent with every request; name a URL or an address where you can be reached.",
        expected="printable ASCII text",
        min_length=1,
    )
    concurrency: int = _count(_cores, "processes", "Worker processes; unset: one for each core.")
    run: _Line = option("", "", "Name of this run; bounds per run count anew under a new name.", expected="ASCII text")
    sentry_dsn: _Dsn | None = option(
        None, "", "Where errors are reported; SENTRY_DSN counts too. Unset: nowhere.", expected="an http(s) URL"
    )
    environment: _Line = option("production", "", "Environment in error reports.", expected="ASCII text")
    release: _Line = option("", "", "Release in error reports; unset: the installed version.", expected="ASCII text")
    log_level: _Level = _one_of(
        "info", "What is less important is not logged.", "debug", "info", "warning", "error", "critical"
    )
    log_format: _Format = _one_of(
        "auto", "auto: readable on a terminal, else one JSON object per line.", "auto", "json", "console"
    )
    flower_port: int = option(
        5555, "", "Port of Flower on loopback.", expected="a port number, 1 to 65535", ge=1, le=65_535
    )
    flower_user: _Word = option("penstock", "", "User of Flower.", expected="letters, digits, '.', '_' and '-'")
    flower_password: SecretStr | None = option(
        None, "", "Password of Flower; unset: a new one at each start, told on the terminal.", expected="a password"
    )
    embedded_redis_maxmemory: _Memory = option(
        "1gb",
        "bytes",
        "Memory of the embedded Redis; full, it refuses to take more.",
        expected="a size like 512mb or 1gb",
    )

    def sources_path(self) -> Path | None:
        """Return the file of source profiles, or None when there is none."""
        default = self.home / "sources.toml"
        return self.sources or (default if default.exists() else None)

    def sentry_dsn_value(self) -> str | None:
        """Return the DSN in clear."""
        return self.sentry_dsn.get_secret_value() if self.sentry_dsn else None

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, mask(value) if name in {"redis_url", "store_url"} and value else value


@dataclass(frozen=True, slots=True)
class Option:
    """What there is to say about one option."""

    name: str  # of the variable
    default: str
    unit: str
    doc: str
    expected: str


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from ``environ``, default the process' own; reads no file.

    Raises ``UsageError`` with one sentence for each thing that is wrong.
    """
    given = os.environ if environ is None else environ
    problems = _unknown(given)
    values = {field: value for field in Settings.model_fields if (value := _value(field, given))}
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        problems += [_problem(values, str(one["loc"][0])) for one in error.errors()]
        raise UsageError("\n".join(problems)) from None
    problems += _contradictions(settings)
    if problems:
        raise UsageError("\n".join(problems))
    return settings


def describe() -> list[Option]:
    """Return every option in order, for the documentation."""
    return [
        Option(
            _variable(name), _default(field), _extra(field, "unit"), field.description or "", _extra(field, "expected")
        )
        for name, field in Settings.model_fields.items()
    ]


def mask(url: str) -> str:
    """Return the URL with its password, and what stands in its query, hidden."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "***"
    user, at, host = parts.netloc.rpartition("@")
    hidden = f"{user.partition(':')[0]}:***{at}{host}" if ":" in user else parts.netloc
    query = "***" if "password" in parts.query else parts.query
    return url.replace(f"//{parts.netloc}", f"//{hidden}", 1).replace(f"?{parts.query}", f"?{query}")


def _variable(field: str) -> str:
    return PREFIX + field.upper()


def _value(field: str, given: Mapping[str, str]) -> str:
    return given.get(_variable(field)) or given.get(_PLAIN_NAMES.get(field, ""), "")


def _extra(field: FieldInfo, key: str) -> str:
    extra = field.json_schema_extra
    return str(extra[key]) if isinstance(extra, dict) else ""


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None:
        return "the number of cores"
    return "" if field.default is None else str(field.default)


def _unknown(given: Mapping[str, str]) -> list[str]:
    known = [field.upper() for field in Settings.model_fields]
    problems = []
    for name in sorted(name.removeprefix(PREFIX) for name in given if name.startswith(PREFIX)):
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            guess = f"; did you mean {PREFIX}{near[0]}?" if near else "."
            problems.append(f"{PREFIX}{name} is not a variable that penstock knows{guess}")
    return problems


def _problem(values: Mapping[str, str], field: str) -> str:
    info = Settings.model_fields[field]
    secret = field in {"sentry_dsn", "flower_password"}
    shown = "the value" if secret else repr(mask(values[field]) if field.endswith("_url") else values[field])
    return f"{_variable(field)}: {shown} is not {_extra(info, 'expected')}."


def _contradictions(settings: Settings) -> list[str]:
    """Tell which values do not go together; a lease must outlive the work it covers, or the work is done twice."""
    longest = max(settings.fetch_timeout_seconds, 2 * settings.page_seconds)  # a suspect page may take twice its time
    pull = settings.pull_seconds + settings.batch_seconds + longest + 30
    rules = {
        f"PENSTOCK_LEASE_SECONDS ({settings.lease_seconds:g}) must be at least {pull:g}: "
        "PENSTOCK_PULL_SECONDS, PENSTOCK_BATCH_SECONDS, PENSTOCK_FETCH_TIMEOUT_SECONDS or twice PENSTOCK_PAGE_SECONDS, "
        "and 30 seconds to end what is in hand.": settings.lease_seconds >= pull,
        f"PENSTOCK_FETCH_LEASE_SECONDS ({settings.fetch_lease_seconds:g}) must be at least twice "
        f"PENSTOCK_FETCH_TIMEOUT_SECONDS ({settings.fetch_timeout_seconds:g}).": settings.fetch_lease_seconds
        >= 2 * settings.fetch_timeout_seconds,
        f"PENSTOCK_RETRY_MAX_SECONDS ({settings.retry_max_seconds:g}) must not be less than "
        f"PENSTOCK_RETRY_BASE_SECONDS ({settings.retry_base_seconds:g}).": settings.retry_max_seconds
        >= settings.retry_base_seconds,
        f"PENSTOCK_SOURCES: there is no file {settings.sources}.": settings.sources is None
        or settings.sources.is_file(),
    }
    return [sentence for sentence, holds in rules.items() if not holds]
