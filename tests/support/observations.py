"""A store of observations in memory, and the plain reference of what a set of observations comes to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from tasks.steps.dedupe import FirstOf, Identity, Known, Observation, Segment, cut_by, decide, is_late, with_times
from tasks.steps.page import Outcome


@dataclass
class State:
    """Revisions of each identity as (content, first seen, last seen), and the first observation of each content."""

    segments: dict[Identity, list[tuple[str, int, int]]] = field(default_factory=dict)
    contents: dict[str, FirstOf] = field(default_factory=dict)


def reference(of: Iterable[Observation]) -> State:
    """Work it out from the whole set: runs of equal content in the order of time."""
    state = State()
    grouped: dict[Identity, set[tuple[int, str]]] = defaultdict(set)
    for one in of:
        grouped[one.identity].add((one.observed_at, one.content_hash))
    for identity, points in grouped.items():
        runs = [
            (content, [time for time, _ in run]) for content, run in groupby(sorted(points), lambda point: point[1])
        ]
        state.segments[identity] = [(content, times[0], times[-1]) for content, times in runs]
        for time, content in points:
            first = state.contents.get(content)
            found = FirstOf(time, identity)
            state.contents[content] = min(found, first) if first else found
    return state


class MemoryStore:
    """Keeps segments as rows and every observation as a sighting, and reads as little as the real store does."""

    def __init__(self) -> None:
        self.rows: dict[Identity, list[tuple[str, int, int]]] = {}
        self.contents: dict[str, FirstOf] = {}
        self.sightings: list[Observation] = []

    def state(self) -> State:
        return State(self.rows, self.contents)

    def commit(self, batch: Sequence[Observation]) -> list[Outcome]:
        known = Known({one.identity: self._load(one.identity, batch) for one in batch}, self.contents)
        decision = decide(known, batch)
        for identity, segments in decision.segments.items():
            self._write(identity, segments)
        self.contents |= decision.contents
        self.sightings.extend(batch)
        return list(decision.outcomes)

    def _load(self, identity: Identity, batch: Sequence[Observation]) -> list[Segment]:
        rows = [Segment(content, (first, last), row=first) for content, first, last in self.rows.get(identity, ())]
        own = [one for one in batch if one.identity == identity]
        if not any(is_late(rows[-1], one) for one in own if rows):
            return rows[-1:]
        for one in own:
            cut = cut_by(rows, one)
            if cut:
                rows[rows.index(cut)] = with_times(cut, self._around(cut, one))
        return rows

    def _around(self, cut: Segment, one: Observation) -> set[int]:
        same = [
            s.observed_at for s in self.sightings if (s.identity, s.content_hash) == (one.identity, cut.content_hash)
        ]
        point = (one.observed_at, one.content_hash)
        before = [time for time in same if cut.first_seen <= time and (time, cut.content_hash) < point]
        after = [time for time in same if time <= cut.last_seen and (time, cut.content_hash) > point]
        return {max(before), min(after)}

    def _write(self, identity: Identity, after: Sequence[Segment]) -> None:
        """Change only rows that the decision names, as UPDATE and INSERT do."""
        rows = self.rows.setdefault(identity, [])
        for segment in after:
            row = (segment.content_hash, segment.first_seen, segment.last_seen)
            if segment.row is None:
                assert segment.told_by is not None or segment.copy_of is not None
                rows.append(row)
            else:
                (stored,) = [one for one in rows if (one[0], one[1]) == (segment.content_hash, segment.row)]
                rows[rows.index(stored)] = row
        rows.sort(key=lambda row: (row[1], row[0]))
