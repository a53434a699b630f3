"""Runs from begin to end: of penstock, and of the plain pipeline."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from tasks.steps.page import Payload
from tests.chaos.faults import Site
from tests.chaos.invariants import End, judge
from tests.chaos.load import Load
from tests.chaos.look import Progress
from tests.chaos.peer import Plain, Variant, Witness, counted
from tests.chaos.poison import SOURCE, is_poison, planted
from tests.chaos.product import Product, undisturbed
from tests.chaos.report import summary, verdicts_of_course
from tests.chaos.run import Accountant, Course, Options, carry_out, come_to_rest, measure, prepare
from tests.chaos.servers import Redis
from tests.chaos.system import Group, Workers
from tests.support.corpus import Push, corpus
from tests.support.crawl import payloads
from tests.support.servers import folder_for_servers

GROUPS = 2
SPARE_PAGES = 100
BEGIN_SECONDS = 60.0


class Pipeline(Protocol):
    """What a stage needs to know of the pipeline on it."""

    @property
    def count(self) -> str:
        """The query whose number grows with each page that is done."""

    @property
    def environ(self) -> Mapping[str, str]:
        """The environment of its workers."""

    @property
    def rest_seconds(self) -> float:
        """How long it may take to come to rest."""

    def command(self) -> Sequence[str]:
        """Return what starts one group of workers."""

    def send(self, payloads: Sequence[Payload]) -> Sequence[str]:
        """Send pages; return one name for each. Raises ``Transient``."""

    def busy(self) -> set[int]:
        """Return processes that have pages in hand, as far as that can be known."""

    def left(self) -> Mapping[str, int]:
        """Return what is not at rest yet."""

    def close(self) -> None:
        """Close the connections."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A pipeline with its servers and its load, and what happens there."""

    folder: Path
    course: Course
    site: Site
    load: Load
    progress: Progress
    rest_seconds: float

    def play(
        self, left: Callable[[], Mapping[str, int]], meanwhile: Callable[[int], None] = lambda _pages: None
    ) -> Mapping[str, int]:
        """Begin, carry out the faults, come to rest, and stop the workers; return what is left to do.

        ``meanwhile`` is told how many pages there are in all, as soon as that is known.
        """
        _begin(self.site.workers, self.load, self.progress)
        carry_out(self.course, self.site, self.load)
        meanwhile(self.load.begun)
        remaining = come_to_rest(self.course, self.site, self.load, left, seconds=self.rest_seconds)
        self.site.workers.stop()
        self.progress.close()
        self.load.close()
        measure(self.course, self.progress.times)
        return remaining


Make = Callable[[Path, Redis, str, str], Pipeline]


def enough(options: Options) -> int:
    """Return a number of pages for which the load lasts to the last fault, though servers are slow to start again."""
    return int(2 * options.seconds * options.rate) + SPARE_PAGES


@contextmanager
def staged(options: Options, pushes: Sequence[Push], make: Make) -> Iterator[tuple[Stage, Any]]:
    """Start servers and build the pipeline; end all that was started."""
    options.folder.mkdir(parents=True, exist_ok=True)
    for log in options.folder.glob("*.log"):
        log.unlink()
    with folder_for_servers() as folder, ExitStack() as stack:
        server, database, store_url, public_store = prepare(options.store, folder, stack)
        pipeline = make(folder, server, public_store, store_url)
        stack.callback(pipeline.close)
        load = Load(envelopes(pushes), pipeline.send, rate=options.rate, seed=options.seed)
        workers = Workers([_group(number, pipeline, options) for number in range(1, GROUPS + 1)])
        stack.callback(workers.kill)
        site = Site(workers, server, database, store_url, pipeline.busy)
        progress = Progress(store_url, pipeline.count)
        stack.callback(progress.close)
        stack.callback(load.close)
        yield Stage(folder, Course(options), site, load, progress, pipeline.rest_seconds), pipeline


def run(options: Options) -> dict[str, Any]:
    """Run penstock under load and faults, and judge what is left; return the report."""
    pushes = planted(corpus(options.seed, enough(options)))
    with staged(options, pushes, Product) as (stage, product):
        accountant = Accountant(product, stage.load, stage.course.note)
        stage.site.before_flush, stage.site.after_loss = accountant.check, accountant.after_loss
        alone = Undisturbed(pushes, stage.folder / "undisturbed", options.folder / "undisturbed.log")

        def meanwhile(pages: int) -> None:
            accountant.check()
            alone.begin(pages)

        left = stage.play(product.left, meanwhile)
        done = pushes[: stage.load.begun]
        end = End(product=product, told=stage.load.told, pushes=done, left=left, undisturbed=alone.url())
        verdicts = [*judge(end), *verdicts_of_course(stage.course, stage.site)]
        return summary(stage.course, stage.site, stage.load, verdicts, pipeline="penstock")


class Undisturbed:
    """The same pages without faults, handled while the disturbed run comes to rest."""

    def __init__(self, pushes: Sequence[Push], folder: Path, log: Path) -> None:
        self._pushes, self._folder, self._log = pushes, folder, log
        self._pool = ThreadPoolExecutor(1)
        self._done: Future[str] | None = None

    def begin(self, pages: int) -> None:
        made = envelopes(self._pushes[:pages])
        self._done = self._pool.submit(undisturbed, made, self._folder, self._log)

    def url(self) -> str:
        """Wait for it; return the URL of its store."""
        assert self._done is not None
        with self._pool:
            return self._done.result()


def run_plain(options: Options, variant: Variant) -> dict[str, Any]:
    """Run the plain pipeline under the same load and faults, without poison; return the report."""
    pushes = corpus(options.seed, enough(options))

    def make(_folder: Path, server: Redis, public_store: str, store: str) -> Plain:
        if options.store == "sqlite":
            _use_wal(store)
        return Plain(variant, server, public_store=public_store, store=store)

    with staged(options, pushes, make) as (stage, plain):
        witness = Witness(plain, stage.load)
        stage.site.before_flush, stage.site.after_loss = witness.before_flush, witness.after_loss
        stage.play(plain.left)
        numbers, verdicts = counted(plain, stage.load, witness)
        verdicts += verdicts_of_course(stage.course, stage.site)
        return summary(stage.course, stage.site, stage.load, verdicts, pipeline=plain.name, counted=numbers)


def _use_wal(url: str) -> None:
    opened = sqlite3.connect(url.removeprefix("sqlite:///"))
    opened.execute("PRAGMA journal_mode = WAL")
    opened.close()


def envelopes(pushes: Sequence[Push]) -> list[Payload]:
    """Return what is pushed: each page with a time of its own, so that neither order nor repetition changes the end."""
    made = zip(payloads(pushes), pushes, strict=True)
    return [replace(one, source=SOURCE) if is_poison(push.item) else one for one, push in made]


def _group(number: int, pipeline: Pipeline, options: Options) -> Group:
    log = options.folder / f"worker-{number}.log"
    return Group(f"worker-{number}", pipeline.command(), pipeline.environ, log)


def _begin(workers: Workers, load: Load, progress: Progress) -> None:
    """Start all; the faults begin when the first pages are through."""
    workers.tend()
    load.start()
    ends = time.monotonic() + BEGIN_SECONDS
    while not progress.total and time.monotonic() < ends:
        workers.tend()
        time.sleep(0.05)
    if not progress.total:
        raise TimeoutError("the workers did not begin; see their logs")
