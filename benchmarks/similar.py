"""Near-duplicates: what is found of a perturbed corpus, and what it costs.

    python -m benchmarks.similar found              recall by perturbation, false pairs, time of a sketch
    python -m benchmarks.similar lookup             CPU of a look-up by texts stored, on both databases
    python -m benchmarks.similar cost               CPU a page of the whole workload, with and without, in turn

Each prints a table in Markdown. The corpus is made from a seed: texts of a vocabulary in which, as in a language, few
words are used most. Each perturbed text is looked up among the whole ones by the functions that the store uses.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks import servers
from benchmarks.pages import _words, pages
from benchmarks.peers import Room, peer
from benchmarks.processes import Workers, cpu_seconds, every_process
from benchmarks.servers import Servers
from tasks.steps.clusters import Clustered, Node, by_key, cluster, enter
from tasks.steps.similar import VERSION, sketch, tokens
from worker.store import SqlStore, near, open_store

TEXTS: Final = 1000
LENGTHS: Final = (60, 900)  # words of the shortest and of the longest text, evenly in their logarithms
PAGE_CHARACTERS: Final = 1600
PARAGRAPH: Final = 40  # words
SEED: Final = 5
ROUNDS_OF_SIZES: Final = 9
ROUNDS: Final = 3
PAGES: Final = 20_000
SIZES: Final = (10_000, 100_000, 1_000_000)
_FALSE: Final = 0.25  # a pair of texts that have less in common is a false one
_NOW: Final = 1_700_000_000_000_000

Words = list[str]
Perturb = Callable[[random.Random, Words], Words]


# --- what is found -------------------------------------------------------------------------------------------------


def corpus(rng: random.Random) -> list[Words]:
    """Make the texts; no two are about the same."""
    low, high = LENGTHS
    return [_text(rng, round(low * (high / low) ** (at / (TEXTS - 1)))) for at in range(TEXTS)]


def _text(rng: random.Random, length: int) -> Words:
    made: Words = []
    while len(made) < length:
        made += rng.choice(_words().phrases).split()
    return made[:length]


def edited(share: float, *kinds: str) -> Perturb:
    """Return what replaces, inserts or deletes words, as many as this share of the text."""

    def perturb(rng: random.Random, text: Words) -> Words:
        made: Words = []
        for word in text:
            kind = rng.choice(kinds) if rng.random() < share else "keep"
            made += [word] if kind in {"keep", "insert"} else []
            made += [_text(rng, 1)[0]] if kind in {"insert", "replace"} else []
        return made

    return perturb


def _boilerplate(_: random.Random, text: Words) -> Words:
    """Add what the site prints on each page: 60 words of it, the same for all."""
    return text + _text(random.Random(0), 60)


def _reordered(rng: random.Random, text: Words) -> Words:
    paragraphs = [text[at : at + PARAGRAPH] for at in range(0, len(text), PARAGRAPH)]
    rng.shuffle(paragraphs)
    return [word for one in paragraphs for word in edited(0.05, *_ALL)(rng, one)]


def _cut(share: float) -> Perturb:
    return lambda _, text: text[: round(len(text) * (1 - share))]


_ALL: Final = ("replace", "insert", "delete")
PERTURBATIONS: Final[Mapping[str, Perturb]] = {
    "as it is": lambda _, text: text,
    **{f"{share} % edits": edited(share / 100, *_ALL) for share in (5, 10, 15, 20)},
    **{f"{share} % of the words replaced": edited(share / 100, "replace") for share in (5, 10, 15, 20)},
    "60 words of boilerplate": _boilerplate,
    "paragraphs reordered, 5 % edits": _reordered,
    "cut by a quarter": _cut(0.25),
    "other case and punctuation": lambda rng, text: [rng.choice((word, word.title() + ",")) for word in text],
}


def found(_: argparse.Namespace) -> Iterator[str]:
    """Look perturbed texts up among the whole ones."""
    rng = random.Random(SEED)
    texts = corpus(rng)
    index, nodes = _indexed(texts)
    yield f"{TEXTS:,} texts of {LENGTHS[0]} to {LENGTHS[1]} words; 209 bytes are kept of each.\n"
    yield "| perturbation | recall | of texts from 150 words | false pairs |\n| --- | ---: | ---: | ---: |"
    for name, perturb in PERTURBATIONS.items():
        made = [perturb(rng, text) for text in texts]
        hits = [_hits(one, index, nodes) for one in made]
        right = [at in own for at, own in enumerate(hits)]
        long = [one for one, text in zip(right, texts, strict=True) if len(text) >= 150]  # noqa: PLR2004 (told above)
        wrong = sum(_is_false(made[at], texts[other]) for at, own in enumerate(hits) for other in own if other != at)
        yield f"| {name} | {_share(right)} | {_share(long)} | {wrong} |"
    yield "\n| words that all texts have at their ends | texts in a cluster with another one |\n| ---: | ---: |"
    for shared in (0, 30, 60, 120):
        yield f"| {shared} | {_together([text + _text(random.Random(0), shared) for text in texts])} |"
    yield "\n" + _sketch_time(rng)


def _together(texts: Sequence[Words]) -> int:
    """Return how many of the texts are in a cluster with another one."""
    clusters = Counter(node.cluster for node in _indexed(texts)[1].values())
    return sum(n for n in clusters.values() if n > 1)


def _indexed(texts: Sequence[Words]) -> tuple[Mapping[int, Sequence[int]], Mapping[int, Node]]:
    fresh = dict(enumerate(_sketches(texts)))
    entered = enter(by_key(fresh), {})
    index: dict[int, list[int]] = {}
    for key, text in entered.entries:
        index.setdefault(key, []).append(text)
    of = cluster(fresh, entered.shared, {}).of
    return index, {text: Node(of[text], one) for text, one in fresh.items()}


def _sketches(texts: Iterable[Words]) -> list[bytes]:
    """Return the sketches; of a text that is too short now, one that is similar to none."""
    return [sketch([" ".join(text)]) or b"" for text in texts]


def _hits(text: Words, index: Mapping[int, Sequence[int]], nodes: Mapping[int, Node]) -> set[int]:
    """Return the texts that are in the cluster of this one, which is put beside the others."""
    fresh = {-1: _sketches([text])[0]}
    shared = enter(by_key(fresh), index).shared
    others = {other: Node(other, nodes[other].sketch) for other in shared.get(-1, ())}
    own: Clustered = cluster(fresh, shared, others)
    return {other for other in others if own.joined.get(other, other) == own.of[-1]}


def _is_false(one: Words, other: Words) -> bool:
    """Tell whether two texts have less than a quarter of their triples of words in common, worked out exactly."""
    a, b = (_triples(tokens([" ".join(text)])) for text in (one, other))
    return len(a & b) < _FALSE * len(a | b)


def _triples(of: Sequence[bytes]) -> set[tuple[bytes, ...]]:
    return {tuple(of[at : at + 3]) for at in range(len(of) - 2)}


def _share(of: Sequence[bool]) -> str:
    return f"{sum(of) / len(of):.3f}"


def _sketch_time(rng: random.Random) -> str:
    bodies = [" ".join(_text(rng, 400))[:PAGE_CHARACTERS] for _ in range(300)]
    whole = _best(lambda: [sketch([one]) for one in bodies]) / len(bodies)
    cutting = _best(lambda: [tokens([one]) for one in bodies]) / len(bodies)
    return (
        f"A sketch of {PAGE_CHARACTERS:,} characters takes {whole * 1e3:.3f} ms, {cutting * 1e3:.3f} of it for tokens."
    )


def _best(work: Callable[[], object]) -> float:
    """Return the least CPU seconds of several times."""
    times = []
    for _ in range(9):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return min(times)


# --- what a look-up costs ------------------------------------------------------------------------------------------


def lookup(given: argparse.Namespace) -> Iterator[str]:
    """Fill an index of each size, and measure looking up and comparing texts in each, in turn."""
    yield "| database | texts stored | look-up, ms of CPU a text | ratio | compared and stored | bytes a text |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    with servers.running() as (ours, base), ExitStack() as stack:
        for name in ("PostgreSQL", "SQLite"):
            stores = {}
            for size in given.sizes:
                url = f"sqlite:///{base / f'{size}.db'}"
                if name == "PostgreSQL":
                    url = stack.enter_context(ours.database(f"similar{size}"))
                stores[size] = stack.enter_context(closing(open_store(url)))
            yield from _sizes(name, ours, stores)


def _sizes(name: str, ours: Servers, stores: Mapping[int, SqlStore]) -> Iterator[str]:
    """Fill the stores, and measure them in turn, so that the machine's own changes of speed meet all alike."""
    for size, store in stores.items():
        for at in range(0, size, near.PORTION):
            _compared(store, _made(random.Random(at), near.PORTION))
    rounds = [_round(ours, stores, number) for number in range(ROUNDS_OF_SIZES + 1)][1:]  # the first only warms up
    for size, store in stores.items():
        looked, stored = (median(one[size][at] for one in rounds) for at in (0, 1))
        ratio = median(one[size][0] / one[min(stores)][0] for one in rounds)
        taken = _bytes(store) / _count(store)
        yield f"| {name} | {size:,} | {looked:.3f} | {ratio:.2f} | {stored:.3f} | {taken:.0f} |"


def _round(ours: Servers, stores: Mapping[int, SqlStore], number: int) -> dict[int, tuple[float, float]]:
    """Measure each store once: CPU milliseconds a text to look up, and to compare and store."""
    ours.checkpoint()
    times = {}
    for size, store in stores.items():
        fresh = _made(random.Random(f"{size}-{number}"), near.PORTION)
        looked = _spent(ours, partial(store._read, partial(near.placed, fresh=fresh)))  # noqa: SLF001
        stored = _spent(ours, partial(_compared, store, fresh))
        times[size] = (looked * 1e3 / near.PORTION, stored * 1e3 / near.PORTION)
    return times


def _made(rng: random.Random, count: int) -> dict[int, bytes]:
    """Make sketches that have nothing in common, but for one of twenty, which has its keys from the one before."""
    made: dict[int, bytes] = {}
    last = b""
    for at in range(count):
        last = bytes((VERSION,)) + rng.randbytes(208) if at % 20 else last or bytes((VERSION,)) + rng.randbytes(208)
        made[rng.getrandbits(63)] = last
    return made


def _compared(store: SqlStore, fresh: Mapping[int, bytes]) -> None:
    rows = [(text, f"{text & 0xFFFFFFFFFFFF:012x}", one) for text, one in fresh.items()]
    store._write(lambda tx: tx.write(near._LEAVE, rows))  # noqa: SLF001
    store.compare_texts(now=_NOW)


def _count(store: SqlStore) -> int:
    return int(store._read(lambda tx: tx.run("SELECT count(*) FROM near_text"))[0][0])  # noqa: SLF001


def _bytes(store: SqlStore) -> int:
    """Return what the tables and their indexes take."""
    with store._driver.transaction(write=False) as tx:  # noqa: SLF001
        sql = (
            "SELECT pg_total_relation_size('near_text') + pg_total_relation_size('near_key')"
            if tx.locks_rows
            else "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
        )
        return int(tx.run(sql)[0][0])


def _spent(ours: Servers, work: Callable[[], object]) -> float:
    """Return the CPU seconds of this process and of PostgreSQL."""
    before, database = time.process_time(), cpu_seconds(every_process(), [ours.postgres_pid])
    began = time.process_time() - before  # what looking took
    work()
    own = time.process_time() - before - began
    return own + cpu_seconds(every_process(), [ours.postgres_pid]) - database


# --- what a page costs ---------------------------------------------------------------------------------------------


def cost(given: argparse.Namespace) -> Iterator[str]:
    """Measure the benchmark's workload with and without near-duplicates, in turn, until all texts are compared."""
    told: dict[str, list[Mapping[str, float]]] = {"off": [], "on": []}
    with servers.running() as (ours, base):
        for number in range(ROUNDS):
            for switch, runs in told.items():
                home = base / f"{switch}-{number}"
                home.mkdir()
                runs.append(_run(given.store, ours, home, switch))
    yield f"{PAGES:,} pages, medians of {ROUNDS} runs each, in turn; {given.store}.\n"
    yield "| near-duplicates | CPU ms a page | workers | database | texts in clusters |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for switch, runs in told.items():
        middle = {name: median(one[name] for one in runs) for name in runs[0]}
        costs = " | ".join(f"{middle[name]:.3f}" for name in ("cpu", "workers", "database"))
        yield f"| {switch} | {costs} | {middle['clustered']:.0f} |"
    ratios = sorted(on["cpu"] / off["cpu"] for off, on in zip(told["off"], told["on"], strict=True))
    yield f"\nRatios of the runs: {', '.join(f'{one:.3f}' for one in ratios)}."


def _run(name: str, ours: Servers, home: Path, switch: str) -> Mapping[str, float]:
    penstock = peer(name)
    with ours.database("similar") as database:
        room = Room(redis_url=ours.redis_url, store_url=database, home=home, processes=2, pages=PAGES)
        penstock.prepare(room)
        penstock.push(room, list(pages(PAGES)))
        ours.checkpoint()
        environ = {**penstock.environ(room), "PENSTOCK_NEAR_DUPLICATES": switch}
        with (
            Workers(penstock.commands(room), environ=environ, home=home) as workers,
            closing(open_store(environ["PENSTOCK_STORE_URL"])) as store,
        ):
            return _watched(ours, workers, store, partial(penstock.handled, room))


def _watched(ours: Servers, workers: Workers, store: SqlStore, handled: Callable[[], int]) -> Mapping[str, float]:
    """Measure from the first page handled until all are, and all texts compared."""
    _wait(workers, lambda: handled() > 0)
    began, before = handled(), _cpu(ours, workers)
    _wait(workers, lambda: handled() == PAGES and not store.texts_are_due())
    spent = [after - first for after, first in zip(_cpu(ours, workers), before, strict=True)]
    own, _, database = (seconds * 1e3 / (PAGES - began) for seconds in spent)
    clustered = store._read(lambda tx: tx.run("SELECT count(*) FROM near_text WHERE cluster <> content"))  # noqa: SLF001
    cpu = sum(spent) * 1e3 / (PAGES - began)
    return {"cpu": cpu, "workers": own, "database": database, "clustered": clustered[0][0]}


def _cpu(ours: Servers, workers: Workers) -> list[float]:
    processes = every_process()
    return [cpu_seconds(processes, one) for one in (workers.roots, [ours.redis_pid], [ours.postgres_pid])]


def _wait(workers: Workers, done: Callable[[], bool]) -> None:
    while not done():
        workers.require_running()
        time.sleep(0.1)


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.similar", description="Near-duplicates.")
    commands = parser.add_subparsers(required=True)
    for what in (found, lookup, cost):
        one: Any = commands.add_parser(what.__name__, help=(what.__doc__ or "").splitlines()[0])
        one.add_argument("--sizes", type=_numbers, default=SIZES, help="of lookup; default %(default)s")
        one.add_argument("--store", choices=("penstock", "penstock-sqlite"), default="penstock", help="of cost")
        one.set_defaults(what=what)
    given = parser.parse_args()
    for line in given.what(given):
        print(line, flush=True)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(one) for one in text.split(","))


if __name__ == "__main__":
    main()
