"""What must hold of what a host was asked, whoever asked. Each rule returns what is wrong, one line each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise

from tests.support.farm.log import DROPPED, Asked, by_site
from tests.support.farm.sites import Site

SLACK_SECONDS = 0.2  # by which a busy machine may bring two requests together that were meant to be further apart
GRACE_SECONDS = 1.0  # until all workers know that a host wants to be left alone
ROBOTS = "/robots.txt"
Rule = Callable[[Site, Sequence[Asked]], Iterator[str]]


def broken(sites: Sequence[Site], asked: Sequence[Asked]) -> list[str]:
    """Check all hosts against all rules."""
    return [wrong for rule in RULES.values() for wrong in breaches(rule, sites, asked)]


def breaches(rule: Rule, sites: Sequence[Site], asked: Sequence[Asked]) -> list[str]:
    """Check all hosts against one rule."""
    found = by_site(asked)
    return [f"{site.name}: {wrong}" for site in sites for wrong in rule(site, found.get(site.number, []))]


def too_fast(site: Site, asked: Sequence[Asked], slack_seconds: float = SLACK_SECONDS) -> Iterator[str]:
    """From any request on, the nth after it comes no sooner than n delays later.

    The distance of two neighbours alone would let a crawler keep a rate that is too high by the slack all the time.
    """
    delay, ahead = site.least_delay * 1e6, 0.0
    for at, one in enumerate(asked):
        lead = at * delay - (one.begun - asked[0].begun)  # how far it is ahead of the rate
        if lead - ahead > slack_seconds * 1e6:
            yield f"{one.path} came {(lead - ahead) / 1e6:.3f} s too early"
        ahead = min(ahead, lead)


def too_many(site: Site, asked: Sequence[Asked]) -> Iterator[str]:
    for one in asked:
        if one.under_way > site.concurrency:
            yield f"{one.under_way} requests under way with {one.path}"


def against_robots(site: Site, asked: Sequence[Asked]) -> Iterator[str]:
    """No page is asked for before a robots.txt could be had, or was said to be none, and none that it forbids."""
    known = min((one.ended for one in asked if one.path == ROBOTS and DROPPED < one.status < 500), default=None)
    for one in asked:
        if one.item and (known is None or one.begun < known):
            yield f"{one.path} was asked for before robots.txt was known"
        if one.item and not site.allows(one.item):
            yield f"{one.path} is disallowed"


def in_a_pause(_site: Site, asked: Sequence[Asked], grace_seconds: float = GRACE_SECONDS) -> Iterator[str]:
    pauses = [(one.ended, one.ended + one.retry_after * 1_000_000) for one in asked if one.retry_after]
    for one in asked:
        for begin, end in pauses:
            if begin + grace_seconds * 1e6 < one.begun < end - SLACK_SECONDS * 1e6:
                yield f"{one.path} was asked for {(one.begun - begin) / 1e6:.1f} s after it had asked for a pause"
                break


RULES: Mapping[str, Rule] = {
    "no host is asked faster than its rate": too_fast,
    "no host has more requests under way than it may": too_many,
    "robots.txt comes first, and is heeded": against_robots,
    "no host is asked in a pause that it asked for": in_a_pause,
}


def least_distance(asked: Sequence[Asked]) -> float | None:
    """Return the seconds between the two requests that were nearest to each other."""
    return min(((two.begun - one.begun) / 1e6 for one, two in pairwise(asked)), default=None)


def times_asked(asked: Sequence[Asked]) -> Counter[str]:
    """Return how often each item was asked for and not turned away."""
    return Counter(one.item for one in asked if one.item and one.status not in {503, DROPPED})
