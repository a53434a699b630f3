from __future__ import annotations

import itertools
import random
from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from tasks.steps.clusters import BUCKET, COMPARED, Node, by_key, cluster, enter
from tasks.steps.similar import THRESHOLD, VERSION, keys, similarity


def of(values: int, *own: int) -> bytes:
    """Return a sketch: those with the same or neighbouring ``values`` are similar, those that are two apart are not."""
    equal = bytes((values + at // 43) // 3 for at in range(128))
    return bytes((VERSION,)) + equal + b"".join(key.to_bytes(8, "little", signed=True) for key in own)


class Index:
    """An index in memory, which is given texts in portions."""

    def __init__(self) -> None:
        self.nodes: dict[int, Node] = {}
        self.buckets: dict[int, list[int]] = {}

    def take(self, fresh: Mapping[int, bytes]) -> None:
        entered = enter(by_key(fresh), self.buckets)
        others = {other for shared in entered.shared.values() for other in shared} - fresh.keys()
        found = cluster(fresh, entered.shared, {other: self.nodes[other] for other in others})
        for key, text in entered.entries:
            self.buckets.setdefault(key, []).append(text)
        self.nodes |= {text: Node(found.of[text], one) for text, one in fresh.items()}
        self.nodes = {
            text: Node(found.joined.get(node.cluster, node.cluster), node.sketch) for text, node in self.nodes.items()
        }

    def clusters(self) -> dict[int, int]:
        return {text: node.cluster for text, node in self.nodes.items()}


def reference(texts: Mapping[int, bytes]) -> dict[int, int]:
    """Work the clusters out from all pairs."""
    clusters = {text: text for text in texts}
    for _ in texts:
        for one, other in itertools.permutations(texts, 2):
            alike = set(keys(texts[one])) & set(keys(texts[other]))
            if alike and similarity(texts[one], texts[other]) >= THRESHOLD:
                clusters[one] = min(clusters[one], clusters[other])
    return clusters


texts = st.dictionaries(
    st.integers(-(2**63), 2**63 - 1),
    st.builds(of, st.integers(0, 6), st.integers(0, 4), st.integers(0, 4), st.integers(-9, 9)),
    max_size=BUCKET,
)


@given(texts, st.randoms(use_true_random=False))
def test_any_order_and_any_portions_end_in_the_same_clusters(given: dict[int, bytes], rng: random.Random) -> None:
    order = rng.sample(sorted(given), len(given))
    cuts = [0, *sorted(rng.randrange(len(order) + 1) for _ in range(3)), len(order)]
    index = Index()
    for start, end in itertools.pairwise(cuts):
        index.take({text: given[text] for text in order[start:end]})
    assert index.clusters() == reference(given)


def test_a_text_between_two_clusters_makes_one_of_them() -> None:
    index = Index()
    index.take({5: of(0, 1), 6: of(0, 1), 3: of(2, 2)})
    assert index.clusters() == {5: 5, 6: 5, 3: 3}
    index.take({9: of(1, 1, 2)})
    assert index.clusters() == {3: 3, 5: 3, 6: 3, 9: 3}


def test_texts_that_share_a_key_only_stay_apart() -> None:
    index = Index()
    index.take({1: of(0, 7), 2: of(50, 7)})
    assert index.clusters() == {1: 1, 2: 2}


def test_a_full_bucket_takes_no_more_but_finds() -> None:
    index = Index()
    for text in range(3 * BUCKET):
        index.take({text: of(0, 7)})
    assert index.buckets == {7: list(range(BUCKET))}
    assert set(index.clusters().values()) == {0}


def test_a_text_is_compared_with_no_more_than_so_many_clusters() -> None:
    index = Index()
    strangers = {at: of(6 * at, at // BUCKET) for at in range(COMPARED + BUCKET)}
    index.take(strangers)
    every = range(COMPARED // BUCKET + 1)
    last = max(strangers)
    index.take({last + 1: of(0, *every), last + 2: of(6 * last, *every), last + 3: of(6 * last, last // BUCKET)})
    clusters = index.clusters()
    assert [clusters[last + at] for at in (1, 2, 3)] == [0, last + 2, last]
