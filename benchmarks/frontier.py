"""What the frontier costs in PostgreSQL: hosts that are due, claims of 500 items, and how they end, among millions.

    python -m benchmarks.frontier costs --rows 1000000 --hosts 50,1000,20000
    python -m benchmarks.frontier fairness

``costs`` fills ``item`` with rows of which three in ten are due; the others wait for their time, are fetched and due
again later, or are gone. Then 500 are claimed and settled again and again, as the fetch task does it. ``--woken`` says
of how many the time comes between two claims. CPU is that of the server's process for this connection and of our own.
``fairness`` claims from one host with 100,000 due items beside 99 with ten. Both print a table in Markdown.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

import psycopg

from benchmarks import servers
from tasks.fetch_ports import Budget, HostDue, ItemEnd, ItemFailed, ItemPushed
from tasks.ports import FetchFailure, ItemLease
from worker.store import SqlStore, open_store

NOW: Final = 1_800_000_000_000_000
STEP: Final = 1_000_000  # microseconds that pass from one claim to the next
NEVER: Final = 10**13
BATCH: Final = 500
WARM: Final = 5  # claims that are not measured: with the first ones statements are planned
SOURCES: Final = 4
FAILING: Final = 10  # one in so many fetches fails, and is tried again later
BUDGETS: Final = {f"s{n}": Budget(10**9, 10**9) for n in range(SOURCES)}
PARTS: Final = ("hosts", "claim", "hosts and claim", "settle")

_COLUMNS: Final = """source, item_key, item, url, host, state, depth, discovered_by, discovered_at, next_fetch_at,
  created_at, recrawl_us"""
_FILL: Final = """INSERT INTO item ({columns})
  SELECT 's' || at % {sources}, n::text, n::text, 'http://h' || at || '.example/articles/' || n,
    'h' || at || '.example',
    CASE WHEN kind < 30 THEN 'due' WHEN kind < 40 THEN 'scheduled' WHEN kind < 90 THEN 'fetched' ELSE 'gone' END,
    n / 7 % 4, (n / 3)::text, {now},
    CASE WHEN kind < 30 THEN {now} - 1 - n WHEN kind < 90 THEN {later} + {spread}::bigint / 1000000
      * (n::bigint * 104729 % 1000000) END,
    {now}, 3600000000
  FROM (SELECT n, n % {hosts} AS at, (hashint4(n) & 2147483647) % 100 AS kind
    FROM generate_series(1, {rows}) AS n) AS made"""
_UNFAIR: Final = """INSERT INTO item ({columns})
  SELECT 's0', n::text, n::text, 'http://h/', CASE WHEN n <= 100000 THEN 'big' ELSE 'h' || n % 99 END, 'due', 1, '0',
    {now}, {now} - n, {now}, NULL FROM generate_series(1, 100990) AS n"""
_BACKEND: Final = """SELECT pid FROM pg_stat_activity
  WHERE application_name = 'penstock' AND datname = current_database()"""


class Mark(NamedTuple):
    """The clock and CPU times at a moment, in milliseconds."""

    clock: float
    cpu: float


class Frontier:
    """A filled frontier, and the place up to which its hosts have been gone through."""

    def __init__(self, store: SqlStore, server_pid: int) -> None:
        self.store = store
        self._stat = Path(f"/proc/{server_pid}/schedstat")
        self._after: tuple[str, str] | None = None

    def mark(self) -> Mark:
        """Look at the clocks."""
        server = int(self._stat.read_text().split()[0]) / 1e6
        return Mark(time.perf_counter() * 1e3, server + time.process_time() * 1e3)

    def due(self, now: int, limit: int = BATCH) -> list[HostDue]:
        """Return the next hosts."""
        found = self.store.hosts_due(after=self._after, limit=limit, run="r", budgets=BUDGETS, now=now)
        self._after = (found[-1].source, found[-1].host)
        return found

    def claim(self, hosts: Sequence[HostDue], now: int, each: int) -> list[ItemLease]:
        """Claim an equal share of each host."""
        shares = {(one.source, one.host): each for one in hosts}
        return self.store.claim_items(shares=shares, budgets=BUDGETS, run="r", lease_us=60 * STEP, now=now)

    def round(self, now: int) -> list[Mark]:
        """Claim and settle; return what each of ``PARTS`` took."""
        began = self.mark()
        hosts = self.due(now)
        found = self.mark()
        leases = self.claim(hosts, now, BATCH // len(hosts))
        claimed = self.mark()
        if len(leases) != BATCH:
            message = f"{len(leases)} items were claimed, not {BATCH}"
            raise SystemExit(message)
        ends = [end_of(lease, number, now) for number, lease in enumerate(leases)]
        ready = self.mark()
        self.store.settle_items(ends, worker="w", now=now)
        spans = ((began, found), (found, claimed), (began, claimed), (ready, self.mark()))
        return [Mark(*(after - before for before, after in zip(*span, strict=True))) for span in spans]


def end_of(lease: ItemLease, number: int, now: int) -> ItemEnd:
    """Return how a fetch ends."""
    if number % FAILING:
        return ItemPushed(lease, f"{now // 1000}-{number}")
    failure = FetchFailure(
        error_class="HttpError", message="500", fingerprint="fp", status=500, retry_at=now + NEVER, counts=True
    )
    return ItemFailed(lease, failure, recrawls=False)


@contextmanager
def filled(ours: servers.Servers, fill: str) -> Iterator[Frontier]:
    """Yield a frontier in a database of its own, filled by SQL; its indexes are made when it is."""
    with ours.database("frontier") as url, closing(open_store(url)) as store:
        with psycopg.connect(url, autocommit=True) as admin:
            made = admin.execute("SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'item'").fetchall()
            indexes = {name: definition for name, definition in made if name != "item_pkey"}
            admin.execute("ALTER TABLE item DROP CONSTRAINT item_pkey")
            for statement in (*(f"DROP INDEX {name}" for name in indexes), fill):
                admin.execute(statement.encode())
            admin.execute("ALTER TABLE item ADD PRIMARY KEY (source, item_key)")
            for statement in (*indexes.values(), "VACUUM ANALYZE item", "CHECKPOINT"):
                admin.execute(statement.encode())
            ((pid,),) = admin.execute(_BACKEND).fetchall()
        yield Frontier(store, int(pid))


def costs(given: argparse.Namespace) -> Iterator[str]:
    """Measure at each number of hosts."""
    yield f"| rows | hosts | woken | {' | '.join(f'{part}, ms | CPU' for part in PARTS)} |"
    yield f"| ---: | ---: | ---: |{' ---: |' * 2 * len(PARTS)}"
    for hosts in given.hosts:
        fill = _FILL.format(
            columns=_COLUMNS,
            sources=SOURCES,
            now=NOW,
            later=NOW if given.woken else NOW + NEVER,
            spread=STEP * given.rows * 6 // 10 // max(given.woken, 1),
            hosts=hosts,
            rows=given.rows,
        )
        with servers.running() as (ours, _), filled(ours, fill) as frontier:
            rounds = [frontier.round(NOW + at * STEP) for at in range(WARM + given.skip + given.claims)]
        told = [
            f"{median(one.clock for one in part):.1f} | {median(one.cpu for one in part):.1f}"
            for part in zip(*rounds[-given.claims :], strict=True)
        ]
        yield f"| {given.rows:,} | {hosts:,} | {given.woken} | {' | '.join(told)} |"


def fairness(_: argparse.Namespace) -> Iterator[str]:
    """Claim one item of each of ten hosts at a time; tell how they were served."""
    with servers.running() as (ours, _base), filled(ours, _UNFAIR.format(columns=_COLUMNS, now=NOW)) as frontier:
        served: Counter[str] = Counter()
        first: dict[str, int] = {}
        for number in range(1, 101):
            for lease in frontier.claim(frontier.due(NOW, limit=10), NOW, 1):
                served[lease.host] += 1
                first.setdefault(lease.host, number)
    small = [n for host, n in served.items() if host != "big"]
    yield "| claims | hosts served | last one first served in claim | of the big host | of each small one |"
    yield "| ---: | ---: | ---: | ---: | ---: |"
    yield f"| 100 of 10 | {len(served)} | {max(first.values())} | {served['big']} | {min(small)} to {max(small)} |"


def _numbers(text: str) -> list[int]:
    return [int(one) for one in text.split(",")]


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(required=True)
    cost = kinds.add_parser("costs")
    cost.add_argument("--rows", type=int, default=1_000_000)
    cost.add_argument("--hosts", type=_numbers, default=[50, 1000, 20_000])
    cost.add_argument("--woken", type=int, default=0)
    cost.add_argument("--claims", type=int, default=50, help="that are measured")
    cost.add_argument("--skip", type=int, default=0, help="claims before those")
    cost.set_defaults(measure=costs)
    kinds.add_parser("fairness").set_defaults(measure=fairness)
    given: Any = parser.parse_args()
    for line in given.measure(given):
        print(line, flush=True)


if __name__ == "__main__":
    main()
