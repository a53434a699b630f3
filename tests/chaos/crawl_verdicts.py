"""What must hold when a crawl with kills is over: of its store, and of what the hosts saw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tests.chaos.invariants import Verdict, named
from tests.chaos.look import Look
from tests.chaos.product import Product
from tests.chaos.report import bugs_of
from tests.chaos.system import Group
from tests.support.farm import rules
from tests.support.farm.log import Asked, by_site
from tests.support.farm.running import Farm
from tests.support.farm.sites import ROOT

Key = tuple[str, str]  # source and item
Found = tuple[Sequence[str], str]  # what is wrong, and what was seen
REASONS = {"gone": "Gone", "failed": "Disallowed"}  # the error class of an item's failure, by its state


@dataclass(frozen=True, slots=True, kw_only=True)
class CrawlEnd:
    """What a crawl left."""

    farm: Farm
    asked: Sequence[Asked]
    product: Product
    left: Mapping[str, int]
    lost: Mapping[Key, int]  # how often each item's lease was lost to a kill
    kills: int
    planned: int
    groups: Sequence[Group]


def judge(end: CrawlEnd) -> list[Verdict]:
    """Return the verdict on each invariant."""
    checks: list[tuple[str, Callable[[CrawlEnd], Found]]] = [
        ("C1 every item is fetched, or has its reason", all_ended),
        ("C2 no item is fetched more often than its lost leases explain", fetched_once),
        ("C3 at rest nothing is left to do", at_rest),
        ("C4 penstock audit balances", balanced),
    ]
    judged = [_verdict(name, *check(end)) for name, check in checks]
    hosts = [
        _verdict(f"H{number} {name}", _breaches(rule, end), _seen_by_hosts(rule, end))
        for number, (name, rule) in enumerate(rules.RULES.items(), start=1)
    ]
    return [*judged, *hosts, all_killed(end), none_ended(end), no_bugs(end)]


def _verdict(name: str, wrong: Sequence[str], seen: str) -> Verdict:
    return Verdict(name, not wrong, "; ".join(wrong) or seen)


def all_ended(end: CrawlEnd) -> Found:
    """The pages are in the store; what has none has the failure that says why."""
    look = Look(end.product.store_url)
    stored = {(row[0], row[1]) for row in look.rows("SELECT source, item_key FROM page")}
    states = {(row[0], row[1]): str(row[2]) for row in look.rows("SELECT source, item_key, state FROM item")}
    why = {(row[0], row[1]): str(row[2]) for row in look.rows(
        "SELECT source, item_key, error_class FROM failure WHERE state <> 'resolved'"
    )}  # fmt: skip
    look.close()
    pages, gone, disallowed = (set(_keys(end.farm, kind)) for kind in ("pages", "gone", "disallowed"))
    expected = dict.fromkeys(pages, "fetched") | dict.fromkeys(gone, "gone") | dict.fromkeys(disallowed, "failed")
    wrong = [
        *named("pages that are missing", map("/".join, pages - stored)),
        *named("pages that nobody could reach", map("/".join, stored - pages)),
        *named(
            "items that ended otherwise",
            (f"{'/'.join(key)} {states.get(key)}" for key in expected | states if states.get(key) != expected.get(key)),
        ),
        *named(
            "items with another reason, or none",
            (
                f"{'/'.join(key)} {why.get(key)}"
                for key, state in expected.items()
                if why.get(key) != REASONS.get(state)
            ),
        ),
    ]
    return wrong, f"{len(pages):,} fetched, {len(gone):,} gone, {len(disallowed):,} disallowed"


def _keys(farm: Farm, kind: str) -> Iterable[Key]:
    for site, one in zip(farm.sites, farm.reach, strict=True):
        yield from ((site.name, item) for item in getattr(one, kind))


def fetched_once(end: CrawlEnd) -> Found:
    """A page is asked for once, and once more for each lease that was lost with a worker that was killed.

    The roots were pushed: nobody asks for them.
    """
    times = Counter[Key]()
    names = {site.number: site.name for site in end.farm.sites}
    for number, asked in by_site(end.asked).items():
        times.update({(names[number], item): count for item, count in rules.times_asked(asked).items()})
    roots = {(site.name, site.item(ROOT)) for site in end.farm.sites}
    most = {key: (key not in roots) + end.lost.get(key, 0) for key in times}
    wrong = [
        f"{'/'.join(key)} {count} times, {end.lost.get(key, 0)} leases lost"
        for key, count in times.items()
        if count > most[key]
    ]
    again = sum(count - 1 for count in times.values())
    return named("items asked for too often", wrong), f"{len(times):,} items asked for, {again:,} times once more"


def at_rest(end: CrawlEnd) -> Found:
    return [
        f"{count:,} {what}" for what, count in end.left.items() if count
    ], "nothing is open, leased or in the stream"


def balanced(end: CrawlEnd) -> Found:
    told = end.product.audit()
    return ([] if told["balanced"] else [str(told)]), f"{told.get('accepted', 0):,} payloads accepted"


def all_killed(end: CrawlEnd) -> Verdict:
    return Verdict("P1 all kills came while there was something to do", end.kills == end.planned, f"{end.kills} kills")


def none_ended(end: CrawlEnd) -> Verdict:
    codes = [code for group in end.groups for code in group.ended_by_itself]
    return Verdict("P2 no worker ends but by a kill", not codes, f"ended by themselves: {codes}")


def no_bugs(end: CrawlEnd) -> Verdict:
    bugs = bugs_of(end.groups)
    return Verdict("P3 no task raised what is not an error of penstock", not bugs, "; ".join(bugs) or "none did")


def _breaches(rule: rules.Rule, end: CrawlEnd) -> list[str]:
    return named("breaches", rules.breaches(rule, end.farm.sites, end.asked))


def _seen_by_hosts(rule: rules.Rule, end: CrawlEnd) -> str:
    if rule is rules.too_fast:
        return f"the two requests that were nearest to each other were {_nearest(end):.2f} of the delay apart"
    if rule is rules.too_many:
        return f"at most {max((one.under_way for one in end.asked), default=0)} at one host"
    counts = Counter("robots.txt" if one.path == rules.ROBOTS else str(one.status) for one in end.asked)
    return ", ".join(f"{what}: {count:,}" for what, count in sorted(counts.items()))


def _nearest(end: CrawlEnd) -> float:
    """Return the least distance of two requests to one host, as a part of what it should be."""
    found = by_site(end.asked)
    distances = [(site.least_delay, rules.least_distance(found.get(site.number, []))) for site in end.farm.sites]
    return min((distance / delay for delay, distance in distances if delay and distance is not None), default=1.0)
