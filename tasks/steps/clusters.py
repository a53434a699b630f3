"""Similar texts put into clusters.

A text is known by a number. Its cluster is the connected part of the graph of similar texts that it is in, and is named
by the least number in it. So clusters commute: they are a function of the set of texts, whatever the order and the
portions in which they come, as long as no more than ``BUCKET`` texts share a key, and no text shares keys with more
than ``COMPARED`` others of different clusters. Beyond that, which a phrase that a source prints everywhere brings
about, it counts who came first; the other keys of such a text still find what it is similar to.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from tasks.steps.similar import THRESHOLD, keys, similarity

BUCKET: Final = 8  # texts that are found by one key
COMPARED: Final = 16  # texts that one is compared with, those that share most keys first


class Node(NamedTuple):
    """A text that is in the index."""

    cluster: int
    sketch: bytes


class Entered(NamedTuple):
    """Fresh texts entered under their keys."""

    entries: Sequence[tuple[int, int]]  # key and text, in their order, to be added to the index
    shared: Mapping[int, Mapping[int, int]]  # by fresh text: how many keys it shares with which texts before it


class Clustered(NamedTuple):
    """The clusters that changed."""

    of: Mapping[int, int]  # by fresh text
    joined: Mapping[int, int]  # by cluster that was stored: the one that it is a part of now


def by_key(fresh: Mapping[int, bytes]) -> dict[int, list[int]]:
    """Return the texts that have each key, both in their order."""
    found: defaultdict[int, list[int]] = defaultdict(list)
    for text in sorted(fresh):
        for key in keys(fresh[text]):
            found[key].append(text)
    return {key: found[key] for key in sorted(found)}


def enter(fresh: Mapping[int, Sequence[int]], buckets: Mapping[int, Sequence[int]]) -> Entered:
    """Enter fresh texts, given by their keys; ``buckets`` are the texts that are in the index under these keys.

    A bucket that is full takes no more, so that what everybody prints costs no more than that.
    """
    entries: list[tuple[int, int]] = []
    shared: defaultdict[int, Counter[int]] = defaultdict(Counter)
    for key, texts in fresh.items():
        members = [*buckets.get(key, ())]
        for text in texts:
            if members:
                shared[text].update(members)
            if len(members) < BUCKET:
                members.append(text)
                entries.append((key, text))
    return Entered(entries, shared)


def cluster(
    fresh: Mapping[int, bytes], shared: Mapping[int, Mapping[int, int]], stored: Mapping[int, Node]
) -> Clustered:
    """Compare fresh texts with those that they share keys with, of which ``stored`` has the ones of before."""
    nodes = {text: Node(text, sketch) for text, sketch in fresh.items()} | dict(stored)
    parts = _Parts()
    for text in sorted(shared):
        _compare(text, shared[text], nodes, parts)
    clusters = {node.cluster for node in stored.values()}
    return Clustered(
        {text: parts.least(text) for text in fresh},
        {one: parts.least(one) for one in sorted(clusters) if parts.least(one) != one},
    )


def _compare(text: int, shared: Mapping[int, int], nodes: Mapping[int, Node], parts: _Parts) -> None:
    """Join a text's cluster with those of similar texts; one similar text of a cluster is enough."""
    left = COMPARED
    for other in sorted(shared, key=lambda one: (-shared[one], one)):
        if left and parts.least(nodes[other].cluster) != parts.least(text):
            left -= 1
            if similarity(nodes[text].sketch, nodes[other].sketch) >= THRESHOLD:
                parts.join(text, nodes[other].cluster)


class _Parts:
    """Disjoint sets, each named by its least member (union-find with path halving)."""

    def __init__(self) -> None:
        self._above: dict[int, int] = {}

    def least(self, one: int) -> int:
        """Return the name of a member's set."""
        above = self._above
        while (over := above.get(one, one)) != one:
            above[one] = one = above.get(over, over)
        return one

    def join(self, one: int, other: int) -> None:
        """Make one set of two."""
        low, high = sorted((self.least(one), self.least(other)))
        if low != high:
            self._above[high] = low
