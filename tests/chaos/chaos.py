"""A run of penstock from begin to end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from tasks.steps.page import Payload
from tests.chaos.faults import Site
from tests.chaos.invariants import End, judge
from tests.chaos.load import Load
from tests.chaos.look import Progress
from tests.chaos.poison import SOURCE, is_poison, planted
from tests.chaos.product import Product, undisturbed
from tests.chaos.report import summary, verdicts_of_course
from tests.chaos.run import Accountant, Course, Options, carry_out, come_to_rest, measure, prepare, say
from tests.chaos.system import Group, Workers
from tests.support.corpus import Push, corpus
from tests.support.crawl import payloads
from tests.support.servers import folder_for_servers

GROUPS = 2


def run(options: Options) -> dict[str, Any]:
    """Run penstock under load and faults, and judge what is left; return the report."""
    options.folder.mkdir(parents=True, exist_ok=True)
    pushes = planted(corpus(options.seed, int(options.seconds * options.rate) + 100))
    with folder_for_servers() as folder, ExitStack() as stack:
        server, database, store_url, public_store = prepare(options, folder, stack)
        product = Product(
            folder / "home", server, public_redis=server.public_url, public_store=public_store, store=store_url
        )
        stack.callback(product.close)
        load = Load(envelopes(pushes), product.send, rate=options.rate, seed=options.seed)
        course = Course(options)
        accountant = Accountant(product, load, course.note)
        workers = Workers([_group(number, product, options) for number in range(1, GROUPS + 1)])
        stack.callback(workers.kill)
        site = Site(workers, server, database, store_url, product.busy, accountant.check, accountant.after_loss)
        progress = Progress(store_url, product.count)
        stack.callback(progress.close)
        stack.callback(load.close)
        _begin(workers, load, progress)
        carry_out(course, site, load)
        left = come_to_rest(course, site, load, lambda: dict(product.left()))
        workers.stop()
        progress.close()
        load.close()
        measure(course, progress.times)
        done = pushes[: load.begun]
        say(f"judging {load.begun:,} pages …")
        alone = undisturbed(envelopes(done), folder / "undisturbed", options.folder / "undisturbed.log")
        end = End(product=product, told=load.told, pushes=done, left=left, undisturbed=alone)
        verdicts = [*judge(end), *verdicts_of_course(course, site)]
        return summary(course, site, load, verdicts, pipeline="penstock")


def envelopes(pushes: Sequence[Push]) -> list[Payload]:
    """Return what is pushed: each page with a time of its own, so that neither order nor repetition changes the end."""
    made = zip(payloads(pushes), pushes, strict=True)
    return [replace(one, source=SOURCE) if is_poison(push.item) else one for one, push in made]


def _group(number: int, product: Product, options: Options) -> Group:
    log = options.folder / f"worker-{number}.log"
    return Group(f"worker-{number}", product.command(), product.environ, log)


def _begin(workers: Workers, load: Load, progress: Progress) -> None:
    """Start all; the faults begin when the first pages are through."""
    workers.tend()
    load.start()
    ends = time.monotonic() + 60
    while not progress.total and time.monotonic() < ends:
        workers.tend()
        time.sleep(0.05)
    if not progress.total:
        raise TimeoutError("the workers did not begin; see their logs")


def default_folder(store: str) -> Path:
    return Path("var/chaos") / f"{time.strftime('%Y%m%d-%H%M%S')}-{store}"
