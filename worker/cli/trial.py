"""``penstock sources test``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tasks.errors import UsageError
from worker.cli.output import Json, clean, say, say_json, table

if TYPE_CHECKING:
    from tasks.fetch_ports import Answer
    from tasks.steps.page import Payload, SourceProfile
    from worker.config import Settings
    from worker.field_tables import Sample
    from worker.http_fetcher import HttpFetcher
    from worker.sources import SourceProfiles
    from worker.trial import Trial

_SHOWN = 60  # characters of a value


@dataclass(frozen=True, slots=True)
class _Bench:
    """What pages are tried with."""

    settings: Settings
    profiles: SourceProfiles
    file: Path | None  # of the profiles

    def tried(self, payload: Payload) -> Trial:
        """Read a page as a worker would, but for the sandbox."""
        from worker.limits import Limited
        from worker.trial import tried

        return tried(payload, self.profiles.get(payload.source), Limited(self.settings.page_seconds))


def try_page(
    source: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="The source's name; default: all.", show_default=False)
    ] = None,
    page: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE|URL]",
            help="A page; - is standard input. Default: the samples of the profile.",
            show_default=False,
        ),
    ] = None,
    *,
    url: Annotated[str | None, typer.Option(help="Where the page in FILE came from.", show_default=False)] = None,
    profiles: Annotated[
        Path | None, typer.Option(help="A profile file; default: the one that penstock uses.", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """Read a page with a source's profile, and show what each field came from. Nothing is stored.

    Without a page, the samples of the profile are read, and each field that is not as its sample says is shown.

    Exit code 1 when a page cannot be read, or is not as its sample says.
    """
    from worker.config import load_settings
    from worker.plugins import load_parsers
    from worker.sources import load_profiles

    load_parsers()
    settings = load_settings()
    where = profiles or settings.sources_path()
    bench = _Bench(settings, load_profiles(where), where)
    if source is not None:
        _require_profile(source, bench.profiles)
    if source is None or page is None:
        if url is not None:
            raise UsageError("--url goes with a FILE")
        passed = _samples(bench, source, json=json)
    else:
        trial = bench.tried(_page(bench, source, page, url))
        (say_json if json else _print)(trial.record())
        passed = trial.error is None
    if not passed:
        raise typer.Exit(1)


def _require_profile(source: str, profiles: SourceProfiles) -> None:
    from worker.field_tables import near

    if source not in profiles.names():
        known = near(source, profiles.names()) or "; there are " + ", ".join(profiles.names())
        raise UsageError(f"there is no profile of a source {source!r}{known}")


def _page(bench: _Bench, source: str, page: str, url: str | None) -> Payload:
    if "://" not in page:
        return _read(bench, source, page, url=url)
    if url is not None:
        raise UsageError("--url goes with a FILE; a page that is fetched has its own")
    return _fetched(bench.settings, bench.profiles.get(source), page)


def _read(bench: _Bench, source: str, file: str, *, url: str | None, content_type: str | None = None) -> Payload:
    from worker.readers.files import Given, content_type_of, read_page

    kind = content_type or content_type_of(Path(file))
    given = Given(source=source, url=url, item=None, content_type=kind, max_body=bench.settings.max_body_bytes)
    try:
        with open(sys.stdin.fileno() if file == "-" else file, "rb", closefd=file != "-") as stream:
            found = next(read_page(stream, file, given))
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from error
    if isinstance(found, UsageError):
        raise found
    return found


def _fetched(settings: Settings, profile: SourceProfile, url: str) -> Payload:
    """Fetch a page as a worker would: from the hosts of the source, which are public, where robots.txt allows it."""
    from tasks.errors import Disallowed, HostDown, Unsafe
    from tasks.fetch_ports import Fetched
    from tasks.steps import robots
    from tasks.steps.canonical import host_of, normal_url, origin_of
    from tasks.steps.page import Payload
    from worker.http_client import HttpSettings
    from worker.http_fetcher import HttpFetcher

    normal = normal_url(url)
    if normal is None:
        raise UsageError(f"{url}: only http:// and https:// URLs are fetched")
    fetcher = HttpFetcher(
        HttpSettings(
            user_agent=settings.user_agent,
            timeout_seconds=settings.fetch_timeout_seconds,
            max_body_bytes=settings.max_body_bytes,
        )
    )
    hosts = profile.hosts or (host_of(normal) or "",)
    try:
        origin = origin_of(normal)
        told = _answer(fetcher, profile, f"{origin}/robots.txt", None)
        if isinstance(told, Unsafe | HostDown):
            raise told
        rules = robots.rules_of(robots.row_of(origin, told, 0), robots.product_token(settings.user_agent))
        if not rules.allowed(normal):
            raise Disallowed(f"robots.txt of {origin} does not allow it", url=normal, status=None)
        answer = _answer(fetcher, profile, normal, hosts)
    finally:
        fetcher.close()
    if not isinstance(answer, Fetched):
        raise answer if isinstance(answer, Exception) else UsageError(f"{url}: too many redirects")
    return Payload(
        source=profile.name, body=answer.body, url=answer.url, content_type=answer.content_type, status=answer.status
    )


def _answer(fetcher: HttpFetcher, profile: SourceProfile, url: str, hosts: tuple[str, ...] | None) -> Answer:
    """Ask for a URL, and where redirects lead; without ``hosts`` it is a robots.txt, which may be anywhere."""
    from tasks.fetch_ports import Redirect, Request
    from tasks.job import REDIRECTS
    from tasks.steps.canonical import host_of

    hops = 0
    while True:
        allowed = hosts or (host_of(url) or "",)
        fetcher.start([Request("page", url, allowed, profile.allow_private_hosts, robots=hosts is None)])
        while not (ended := fetcher.ended(60)):
            pass
        answer = ended[0].answer
        if not isinstance(answer, Redirect) or hops == REDIRECTS:
            return answer
        url, hops = answer.to, hops + 1


# --- samples ----------------------------------------------------------------------------------------------------


def _samples(bench: _Bench, source: str | None, *, json: bool) -> bool:
    """Read the samples of a source, or of all; return whether all are as they should be."""
    names = bench.profiles.names() if source is None else [source]
    results = [one for name in names for one in _tried_samples(bench, name)]
    if not results:
        whose = f"the profile of {source} has" if source else "no profile has"
        raise UsageError(f"{whose} no samples; give a FILE or URL, or write [[sources.{source or 'NAME'}.samples]]")
    if json:
        say_json(results)
    else:
        for one in results:
            _print_sample(one)
    return all(one["passed"] for one in results)


def _tried_samples(bench: _Bench, name: str) -> Iterator[dict[str, Any]]:
    for at, sample in enumerate(bench.profiles.samples(name)):
        trial = bench.tried(_sample_page(bench, name, at, sample))
        differences = [
            {
                "field": one.name,
                "expected": one.expected,
                "found": one.found,
                "origin": trial.origins.fields.get(one.name),
            }
            for one in trial.differences(sample)
        ]
        passed = trial.error is None and not differences
        yield {"sample": sample.file, "passed": passed, "differences": differences, **trial.record()}


def _sample_page(bench: _Bench, name: str, at: int, sample: Sample) -> Payload:
    file = (bench.file.parent if bench.file else Path()) / sample.file
    try:
        return _read(bench, name, str(file), url=sample.url, content_type=sample.content_type)
    except UsageError as error:
        raise UsageError(f"sources.{name}.samples[{at}]: {error}") from error


def _print_sample(one: Mapping[str, Any]) -> None:
    words = (
        "ok"
        if one["passed"]
        else "differs"
        if one["outcome"] == "parsed"
        else f"{one['error_class']}: {one['message']}"
    )
    say(f"{one['source']}  {clean(one['sample'])}  {clean(words)}")
    for line in one["differences"]:
        say(f"  {line['field']}: expected {_short(line['expected'])}")
        say(
            f"  {'':{len(line['field'])}}     found {_short(line['found'])}"
            + (f" ({clean(line['origin'])})" if line["origin"] else "")
        )
    for problem in one.get("problems", ()):
        say(f"  {clean(problem)}")


# --- one page ---------------------------------------------------------------------------------------------------


def _print(one: Mapping[str, Any]) -> None:
    profile = f", profile {one['profile_version']}" if one["profile_version"] else ""
    if one["outcome"] == "failed":
        say(f"{one['source']}: {one['parser'] or 'no parser'}{profile}: {one['error_class']}: {clean(one['message'])}")
        return
    tier = f", tier {one['tier']}" if one["tier"] else ""
    say(f"{clean(one['key'])}: {one['parser']} {one['parser_version']}{profile}{tier}")
    say()
    table(
        ["field", "value", "from"],
        ([name, _short(told["value"]), told["origin"] or "-"] for name, told in one["fields"].items()),
    )
    if one["problems"]:
        say("\nnot found:")
        for problem in one["problems"]:
            say(f"  {clean(problem)}")
    due, bounded, nowhere = one["follow_ups"].values()
    rest = [f"{bounded} beyond the bounds"] * bool(bounded) + [f"{nowhere} lead nowhere"] * bool(nowhere)
    say(f"\nfollow-ups: {due} would be fetched" + (f" ({', '.join(rest)})" if rest else ""))


def _short(value: Any) -> str:
    """Return a value in a line; of several how many there are, and the first."""
    if value is None or value in ("", [], ()):
        return "-"
    if isinstance(value, list | tuple):
        first = value[0] if isinstance(value[0], str) else value[0].id
        return f"{len(value)}: {_short(first)}"
    text = str(value)
    return clean(text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…")
