"""The source profiles: data in TOML, checked as a whole before anything runs.

Each profile is a table ``[sources.NAME]`` with the fields of ``SourceProfile``. The shipped file is read first; a
profile of the same name in the user's file takes its place as a whole. Every problem is one line that says where.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
import zoneinfo
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlsplit

import orjson
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict, ValidationError

from tasks.errors import UsageError
from tasks.fetch_ports import Budget
from tasks.steps.canonical import normal_url
from tasks.steps.hosts import host_allowed
from tasks.steps.lists import start_key
from tasks.steps.page import SourceProfile, Start
from tasks.steps.policy import BUDGETS, may_fetch
from worker import plugins
from worker.field_tables import HtmlTable, JsonTable, Sample, Samples, near

SHIPPED = "sources.toml"

_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")
_HOST = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
_SLOT = "{id}"
_PARSERS = ("vardump", "html", "json", "feed", "sitemap", "links")
_NAMES = {"json_": "json"}  # where a field's name in the file is another one
_DECIDING = ("parser", "timezone", "date_order", "html", "json")  # how a page is read
_DEFAULT = SourceProfile(name="")
_LEAST_EVERY_US = 60_000_000
_DURATION = re.compile(r"([0-9]{1,5})([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_EXPECTED = {  # pydantic's error types, in words of the file's author
    "missing": "is missing",
    "string_type": "must be a string in quotes",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "tuple_type": "must be a list in brackets",
    "dict_type": "must be a table",
}


def _zone(name: str) -> str:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        guess = near(name, zoneinfo.available_timezones())
        raise ValueError(f"{name!r} is not a known time zone{guess}") from None
    return name


def _parser(name: str) -> str:
    if name in _PARSERS:
        return name
    known = (*_PARSERS, *plugins.names())
    if name not in known:
        raise ValueError(f"{name!r} is not a parser{near(name, known) or '; there are ' + ', '.join(known)}")
    return name


def _error_class(name: str) -> str:
    if name not in BUDGETS:
        guess = near(name, BUDGETS) or "; there are " + ", ".join(BUDGETS)
        raise ValueError(f"{name!r} is not the error class of a page{guess}")
    return name


def _host(name: str) -> str:
    lower = name.lower()
    if "/" in name:
        raise ValueError(f"{name!r} must be a host alone, without scheme and path")
    if not name.isascii():
        raise ValueError(f"{name!r} must be in its ASCII form{_ascii_form(lower)}")
    if not _HOST.fullmatch(lower):
        raise ValueError(f"{name!r} is not a host or host:port")
    return lower


def _ascii_form(host: str) -> str:
    try:
        return f": {host.encode('idna').decode()!r}"
    except UnicodeError:
        return ""


def _template(url: str) -> str:
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        raise ValueError(f"{url!r} is not a URL") from None
    if parts.scheme not in {"http", "https"} or not host:
        raise ValueError(f"{url!r} must be an http:// or https:// URL")
    if _SLOT not in parts.path + parts.query or set("{}") & set(url.replace(_SLOT, "")):
        raise ValueError(f"{url!r} must have {_SLOT} in its path or query, and no other braces")
    return url


def _duration(text: Any) -> int:
    """Return microseconds."""
    found = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if found is None or not int(found[1]):
        raise ValueError(f"{repr(text)[:80]} must be a duration in quotes, such as '15m', '6h' or '30d'")
    return int(found[1]) * _SECONDS[found[2]] * 1_000_000


_Duration = Annotated[int, BeforeValidator(_duration)]


def _every(text: Any) -> int:
    every = _duration(text)
    if every < _LEAST_EVERY_US:
        raise ValueError(f"{text!r} is too often: once a minute at most")
    return every


def _page_url(url: str) -> str:
    found = normal_url(url)
    if found is None or urlsplit(url).scheme not in {"http", "https"}:
        raise ValueError(f"{url!r} must be an http:// or https:// URL")
    return found


class _StartTable(BaseModel):
    """One table ``[[sources.NAME.start]]``: a ``Start``."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    url: Annotated[str, AfterValidator(_page_url)]
    every: Annotated[int, BeforeValidator(_every)]
    parser: Annotated[str, AfterValidator(_parser)] | None = None


_Starts = Annotated[
    tuple[
        Annotated[_StartTable, AfterValidator(lambda one: Start(url=one.url, every=one.every, parser=one.parser))], ...
    ],
    Strict(strict=False),
]
_Hosts = Annotated[tuple[Annotated[str, AfterValidator(_host)], ...], Strict(strict=False)]


class _Table(BaseModel):
    """One table of the file. Fields and defaults are those of ``SourceProfile``; a test compares them."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    hosts: _Hosts = ()
    timezone: Annotated[str, AfterValidator(_zone)] = "UTC"
    date_order: Literal["dmy", "mdy"] | None = None
    parser: Annotated[str, AfterValidator(_parser)] | None = None
    start: _Starts = ()
    item_url: Annotated[str, AfterValidator(_template)] | None = None
    max_depth: int = Field(default=0, ge=0, le=1000)
    max_items_per_page: int = Field(default=50, ge=0)
    max_items_per_list: int = Field(default=50_000, ge=0)
    max_items_per_run: int = Field(default=10_000, ge=0)
    max_items_per_day: int | None = Field(default=None, ge=0)
    recrawl_min: _Duration | None = None
    recrawl_max: _Duration | None = None
    delay_seconds: float = Field(default=1.0, ge=0, le=86_400, allow_inf_nan=False)
    concurrency: int = Field(default=1, ge=1, le=1000)
    max_attempts: int = Field(default=5, ge=1, le=1000)
    retries: dict[Annotated[str, AfterValidator(_error_class)], Annotated[int, Field(ge=0, le=1000)]] = Field(
        default_factory=dict
    )
    allow_private_hosts: _Hosts = ()
    html: HtmlTable = Field(default_factory=dict)
    json_: JsonTable = Field(default_factory=dict, alias="json")  # a model has a method of that name
    samples: Samples = ()


class _Source(NamedTuple):
    """A table that is right: the profile, and the samples, which are of no use to a worker."""

    profile: SourceProfile
    samples: Sequence[Sample] = ()


class SourceProfiles:
    """The profiles by name; the ``Profiles`` of the tasks."""

    def __init__(
        self, profiles: Mapping[str, SourceProfile], samples: Mapping[str, Sequence[Sample]] | None = None
    ) -> None:
        self._profiles = dict(profiles)
        self._samples = dict(samples or {})

    def get(self, source: str) -> SourceProfile:
        """Return the source's profile, or the default one under its name."""
        return self._profiles.get(source) or SourceProfile(name=source)

    def names(self) -> Sequence[str]:
        """Return the names of the sources that have a profile, sorted."""
        return sorted(self._profiles)

    def samples(self, source: str) -> Sequence[Sample]:
        """Return the pages that are kept with a profile to test it."""
        return self._samples.get(source, ())

    def versions(self) -> dict[str, str]:
        """Return what names the ways in which the sources' pages are read, of those that have one of their own."""
        return {name: one.version for name, one in sorted(self._profiles.items()) if one.version is not None}

    def budgets(self) -> Mapping[str, Budget]:
        """Return how much may be fetched of each of them."""
        return {name: Budget(one.max_items_per_run, one.max_items_per_day) for name, one in self._profiles.items()}


def load_profiles(path: Path | None = None) -> SourceProfiles:
    """Read the shipped profiles, and those of ``path`` over them.

    Raises ``UsageError`` with one line for each problem.
    """
    shipped, problems = _read(SHIPPED, resources.files("worker").joinpath(SHIPPED).read_bytes())
    own: dict[str, _Source] = {}
    if path is not None and not problems:
        own, problems = _read_file(path)
    if problems:
        raise UsageError("\n".join(problems))
    sources = shipped | own
    return SourceProfiles(
        {name: one.profile for name, one in sources.items()}, {name: one.samples for name, one in sources.items()}
    )


def check(path: Path) -> list[str]:
    """Return every problem of a profile file, one line each; empty when it is right."""
    return _read_file(path)[1]


def _read_file(path: Path) -> tuple[dict[str, _Source], list[str]]:
    try:
        data = path.read_bytes()
    except OSError as error:
        return {}, [f"{path.name}: {path} cannot be read: {error.strerror}"]
    return _read(path.name, data)


def _read(name: str, data: bytes) -> tuple[dict[str, _Source], list[str]]:
    try:
        document = tomllib.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return {}, [f"{name}: line {line}: the file is not UTF-8"]
    except tomllib.TOMLDecodeError as error:
        return {}, [f"{name}: {_syntax(str(error))}"]
    sources, problems = _sources(document)
    return sources, [f"{name}: {problem}" for problem in problems]


def _syntax(told: str) -> str:
    """Put the place that tomllib tells in brackets at the end, ``(at line 3, column 5)``, to the front."""
    match = re.fullmatch(r"(.*) \(at (line \d+, column \d+|end of document)\)", told, re.DOTALL)
    return f"{match[2]}: {match[1]}" if match else told


def _sources(document: Mapping[str, Any]) -> tuple[dict[str, _Source], list[str]]:
    problems = [f"{key}: is not known here{near(key, ['sources'])}" for key in document if key != "sources"]
    tables = document.get("sources", {})
    if not isinstance(tables, dict):
        return {}, [*problems, "sources: must be tables like [sources.NAME]"]
    sources: dict[str, _Source] = {}
    for source, table in tables.items():
        found = _source(source, table)
        if isinstance(found, _Source):
            sources[source] = found
        else:
            problems += found
    return sources, problems


def _source(source: str, table: Any) -> _Source | list[str]:
    place = f"sources.{source}"
    if not _NAME.fullmatch(source):
        return [f"sources.{source!r}: a name is 1 to 100 letters, digits, '.', '_' and '-'"]
    if not isinstance(table, dict):
        return [f"{place}: must be a table, [{place}]"]
    try:
        checked = _Table.model_validate(table)
    except ValidationError as error:
        return [_sentence(place, one) for one in error.errors()]
    told = {_NAMES.get(name, name): getattr(checked, name) for name in _Table.model_fields}
    samples = told.pop("samples")
    if checked.start and "max_items_per_run" not in checked.model_fields_set:
        told["max_items_per_run"] = None  # a crawl that goes on by itself would come to its end
    profile = SourceProfile(name=source, **told)
    problems = [f"{place}.{problem}" for problem in _contradictions(profile)]
    return problems or _Source(replace(profile, version=_version(profile)), samples)


def _version(profile: SourceProfile) -> str | None:
    """Return a name of what decides how the source's pages are read; None where nothing is said of that."""
    said = {name: getattr(profile, name) for name in _DECIDING}
    if profile.start:
        said["start"] = [(one.url, one.parser) for one in profile.start]
    elif said == {name: getattr(_DEFAULT, name) for name in _DECIDING}:
        return None
    return hashlib.sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).hexdigest()[:8]


def _contradictions(profile: SourceProfile) -> Iterator[str]:
    for kind, places in (("html", profile.html), ("json", profile.json)):
        if places and profile.parser in _PARSERS and profile.parser != kind:
            yield f"{kind}: is not read where parser is {profile.parser!r}"
    if any(place.attribute or place.pattern for place in profile.html.get("remove", ())):
        yield "html.remove: elements are removed as a whole, without attribute and pattern"
    yield from _recrawl_contradictions(profile)
    yield from _start_contradictions(profile)
    if profile.item_url is None or not profile.hosts:
        return
    host = urlsplit(profile.item_url.lower()).netloc
    if not host_allowed(host, profile.hosts):
        yield f"item_url: its host {host!r} is not among hosts"


def _recrawl_contradictions(profile: SourceProfile) -> Iterator[str]:
    if profile.recrawl_min is None:
        if profile.recrawl_max is not None:
            yield "recrawl_max: without recrawl_min no page is fetched again"
        return
    if profile.recrawl_max is not None and profile.recrawl_max < profile.recrawl_min:
        yield "recrawl_max: is shorter than recrawl_min"
    if not profile.hosts and profile.item_url is None:
        yield "recrawl_min: no page may be fetched, as there are neither hosts nor item_url"


def _start_contradictions(profile: SourceProfile) -> Iterator[str]:
    seen: set[str | None] = set()
    for number, one in enumerate(profile.start):
        place = f"start[{number}].url"
        key = start_key(profile.name, one)
        if not profile.hosts and profile.item_url is None:
            yield f"{place}: no page may be fetched, as there are neither hosts nor item_url"
        elif not may_fetch(one.url, profile):
            yield f"{place}: its host is not among those of the source"
        if key in seen:
            yield f"{place}: {one.url!r} is there twice"
        seen.add(key)


def _sentence(place: str, error: Any) -> str:
    *where, last = (part for part in error["loc"] if part != "[key]")  # pydantic's mark of a wrong key
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in [*where, last])
    if error["type"] == "extra_forbidden":
        fields = [_NAMES.get(name, name) for name in _Table.model_fields]
        return f"{place}{path}: is not a field of a source{near(str(last), fields)}"
    if error["type"] == "value_error":
        return f"{place}{path}: {error['ctx']['error']}"
    told = _EXPECTED.get(error["type"]) or error["msg"].replace("Input should", "must")
    return f"{place}{path}: {repr(error['input'])[:80]} {told}"
