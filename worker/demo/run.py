"""``penstock demo``: the whole system on a local site, watched live, and checked against what the site knows."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.errors import Transient
from worker.audit import Audit, audit
from worker.demo.server import demo_profile, serve
from worker.demo.site import SOURCE, Site, build_site
from worker.producer import Producer
from worker.runtime import Runtime, open_store, open_stream, runtime
from worker.status import read_status
from worker.supervisor import Child, log_file, penstock, stop_requested

if TYPE_CHECKING:
    from worker.store import SqlStore
    from worker.stream import PageStream

TIMEOUT_SECONDS = 150.0
LOOK_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class _Demo:
    home: Path
    site: Site
    rt: Runtime
    stream: PageStream
    store: SqlStore


def run_demo(*, articles: int, seed: int) -> int:
    """Run the demo; return 0 when everything is as the site knows it must be, 1 when not, 130 when interrupted."""
    site = build_site(seed, articles)
    started = time.monotonic()
    with serve(site) as server:
        home = _prepare(server.port)
        _say(f"A news site with {articles} articles is up on http://127.0.0.1:{server.port}/ (seed {seed}).")
        _say(
            "Where it answers 503 and asks for a pause, penstock asks it less often, for some ten seconds after it too."
        )
        rt = runtime()
        demo = _Demo(home, site, rt, open_stream(rt), open_store(rt))
        with _workers(demo), stop_requested() as asked:
            for visit in ("the start pages", "a second visit: edited and unchanged pages"):
                pushed = _push(demo, server.port, second=visit != "the start pages")
                _say(f"Pushed {pushed} pages ({visit}); penstock follows what they name.")
                if not _watch(demo, asked):
                    return _gave_up(demo, interrupted=asked())
        return _summary(demo, time.monotonic() - started)


def _prepare(port: int) -> Path:
    """Make a fresh home for the demo, and point this process and its children to it."""
    base = Path(os.environ.get("PENSTOCK_HOME", "var")).absolute()
    home = base / "demo"
    if home.exists():
        shutil.rmtree(home)
    home.mkdir(parents=True)
    (home / "sources.toml").write_text(demo_profile(port), encoding="utf-8")
    for name in [name for name in os.environ if name.startswith("PENSTOCK_")]:
        del os.environ[name]  # the demo is the embedded default, whatever is set for the real thing
    os.environ.update(
        PENSTOCK_HOME=str(home),
        PENSTOCK_RETRY_BASE_SECONDS="0.5",
        PENSTOCK_RETRY_MAX_SECONDS="2",
        PENSTOCK_LOG_FORMAT="json",
    )
    return home


@contextmanager
def _workers(demo: _Demo) -> Iterator[Child]:
    with log_file(demo.home, "worker") as log:
        child = Child("worker", penstock("work", "--concurrency", "2"), output=log)
    try:
        yield child
    finally:
        child.stop()


def _push(demo: _Demo, port: int, *, second: bool) -> int:
    """Push pages as a producer does that has fetched them itself."""
    with Producer(demo.rt.redis_url, namespace=demo.rt.settings.namespace) as producer:
        pages = demo.site.second_visit() if second else demo.site.start_pages()
        for page in pages:
            url = f"http://127.0.0.1:{port}/news/{page.id}"
            producer.push(SOURCE, page.body, item=page.id, url=url, content_type=page.content_type)
        return len(pages)


def _watch(demo: _Demo, asked: Any) -> bool:
    """Show progress until nothing is left to do; False on a timeout or Ctrl-C."""
    ends = time.monotonic() + TIMEOUT_SECONDS
    with _progress() as show:
        idle_before = False
        while time.monotonic() < ends and not asked():
            try:
                state = read_status(demo.stream, demo.store)
                lag = demo.stream.oldest_age_ms(time.time_ns() // 1_000_000)
            except Transient:
                state, lag = None, None
            if state is not None:
                show(state, lag)
                idle = not (state["stream"] or state["failures"].get("waiting") or _open_items(state))
                if idle and idle_before:
                    return True
                idle_before = idle
            time.sleep(LOOK_SECONDS)
    return False


def _open_items(state: Mapping[str, Any]) -> int:
    return sum(state["items"].get(name, 0) for name in ("due", "scheduled", "leased", "pushed"))


@contextmanager
def _progress() -> Iterator[Any]:
    """Yield a function that shows one look at the system: a live line on a terminal, else a line now and then."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(stderr=True)
    since, told = time.monotonic(), -10.0
    first: int | None = None
    with Live(Text(""), console=console, transient=True, refresh_per_second=8) as live:

        def show(state: Mapping[str, Any], lag: int | None) -> None:
            nonlocal first, told
            done = sum(state["outcomes"].values())
            first = done if first is None else first
            now = time.monotonic()
            rate = (done - first) / max(now - since, 0.001)
            line = _line(state, done, rate, lag)
            live.update(Text(line))
            if not console.is_terminal and now - told > 5:  # noqa: PLR2004 (seconds between lines in a log)
                told = now
                _say("  " + line)

        yield show


def _line(state: Mapping[str, Any], done: int, rate: float, lag: int | None) -> str:
    outcomes = "  ".join(f"{name} {count}" for name, count in state["outcomes"].items())
    waiting = f"lag {lag / 1000:.1f} s" if lag is not None else "lag 0.0 s"
    queues = f"in stream {state['stream']}  to fetch {_open_items(state)}"
    return f"{done:,} pages  {rate:,.0f}/s  {outcomes}  {queues}  {waiting}"


def _gave_up(demo: _Demo, *, interrupted: bool) -> int:
    if interrupted:
        _say("Interrupted; what was done is kept.")
        return 130
    _say(f"penstock: the demo did not end within {TIMEOUT_SECONDS:.0f} s; see {demo.home / 'log' / 'worker.log'}")
    return 1


def _summary(demo: _Demo, seconds: float) -> int:
    state = read_status(demo.stream, demo.store)
    ledger = audit(demo.stream, demo.store)
    problems = _differences(demo, ledger)
    done = sum(state["outcomes"].values())
    _say(f"\nDone: {done:,} payloads in {seconds:.1f} s.\n")
    _print_ledger(ledger)
    _print_failures(demo.store)
    _print_next(demo)
    for problem in problems:
        _say(f"penstock: {problem}")
    return 1 if problems else 0


def _print_ledger(ledger: Audit) -> None:
    _say(f"Ledger: {ledger.accepted:,} accepted = ")
    for name, count in ledger.outcomes.items():
        _say(f"  {count:6,} {name}")
    _say(f"  {ledger.in_stream:6,} in the stream")
    _say("It balances: nothing was lost." if ledger.balanced else f"IT DOES NOT BALANCE: {'; '.join(ledger.explained)}")


def _print_failures(store: SqlStore) -> None:
    from worker.store import FailureFilter

    _say("\nThe site breaks some pages on purpose. Each is here once, with the reason; the resolved ones were whole")
    _say("when they were fetched again. What could not be fetched at all was never a payload: it is not in the sum.")
    for group in store.failure_groups(FailureFilter()):
        _say(f"  {group['count']:4} {group['error_class']:14} {group['state']:9} {group['message'][:90]}")


def _print_next(demo: _Demo) -> None:
    page = next(iter(sorted(demo.site.expected_pages)))
    home = os.path.relpath(demo.home)
    command = "penstock" if shutil.which("penstock") else os.path.relpath(Path(sys.executable).with_name("penstock"))
    _say(f"\nThe store is {home}/penstock.db, the workers' log {home}/log/worker.log. Look around:\n")
    _say(f"  export PENSTOCK_HOME={home}")
    for rest in ("status", f"show {SOURCE}/{page}", "failures", "audit", "export | head -n 3"):
        _say(f"  {command} {rest}")


def _differences(demo: _Demo, ledger: Audit) -> list[str]:
    """Compare the store with what the site knows."""
    from worker.store import FailureFilter

    problems = [] if ledger.balanced else [f"the ledger does not balance: {'; '.join(ledger.explained)}"]
    stored = {record["item"] for record in demo.store.export(source=SOURCE)}
    missing, extra = demo.site.expected_pages - stored, stored - demo.site.expected_pages
    if missing:
        problems.append(f"{len(missing)} articles are missing, for example {min(missing)}")
    if extra:
        problems.append(f"{len(extra)} pages should not be there, for example {min(extra)}")
    found = {row["item"]: row["error_class"] for row in demo.store.failures(FailureFilter(state="dead"))}
    for item, error_class in demo.site.expected_failures.items():
        if found.get(item) != error_class:
            problems.append(f"item {item} should have failed as {error_class}, not {found.get(item)}")
    unplanned = found.keys() - demo.site.expected_failures.keys()
    if unplanned:
        problems.append(f"{len(unplanned)} failures were not planted, for example {min(unplanned)}")
    return problems


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
