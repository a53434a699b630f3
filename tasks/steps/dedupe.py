"""The decision whether an observed page is new, a revision, unchanged, or a duplicate.

Decisions commute. What is known in the end is a function of the *set* of observations (identity, content, time),
whatever the order and the batches in which workers handle them; ``decide`` tells the one exception.

The model: sort an identity's observations by (time, content). Each run of equal content is a ``Segment``, which is
one revision of the page; the last is its present state. An observation that is handled late either widens a segment
or becomes one of its own, and then it may stand inside a segment of other content, which it cuts in two. Where that
one ends and goes on again is told by the observations around the cut, so a segment carries the times in ``seen``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from tasks.steps.page import Outcome
from tasks.steps.values import dataclass


class Identity(NamedTuple):
    """What makes a page the same page: the item key within its source."""

    source: str
    item_key: str


class FirstOf(NamedTuple):
    """The first observation of a content, over all identities; the smallest is the first. Times are microseconds."""

    observed_at: int
    identity: Identity


@dataclass(frozen=True, slots=True)
class Observation:
    """A page was in this state at this time (microseconds)."""

    identity: Identity
    content_hash: str
    observed_at: int


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of observations of equal content.

    ``seen`` has the first and the last time and, as far as they are known, times between them, in order.
    ``row`` is the first time under which the segment is stored, None if it is not. ``told_by`` is the position of the
    observation whose page belongs to it, None if what is stored stays: that of ``row``, else that of ``copy_of``.
    """

    content_hash: str
    seen: tuple[int, ...]
    row: int | None = None
    told_by: int | None = None
    copy_of: int | None = None

    @property
    def first_seen(self) -> int:
        """The time of its first observation."""
        return self.seen[0]

    @property
    def last_seen(self) -> int:
        """The time of its last observation."""
        return self.seen[-1]

    def starts(self) -> tuple[int, str]:
        """Return where it begins in the order of observations."""
        return self.seen[0], self.content_hash

    def ends(self) -> tuple[int, str]:
        """Return where it ends in the order of observations."""
        return self.seen[-1], self.content_hash


@dataclass(frozen=True, slots=True)
class Known:
    """What is stored of the identities and contents that a batch is about.

    ``segments`` of an identity may be its last one alone, unless one of its observations ``is_late``.
    """

    segments: Mapping[Identity, Sequence[Segment]]
    contents: Mapping[str, FirstOf]


@dataclass(frozen=True, slots=True)
class Decision:
    """What a batch comes to: outcomes in the order of its observations, and what is then to be stored."""

    outcomes: Sequence[Outcome]
    segments: Mapping[Identity, Sequence[Segment]]
    contents: Mapping[str, FirstOf]  # only those that are new or have an earlier first observation


def decide(known: Known, observations: Sequence[Observation]) -> Decision:
    """Decide a batch; its order does not matter.

    The one exception to commuting: where the times around a cut are not known any more (their deliveries were pruned),
    the two parts of the cut segment end at the times that are known.
    """
    histories: dict[Identity, list[Segment]] = {}
    contents: dict[str, FirstOf] = {}
    outcomes = [Outcome.UNCHANGED] * len(observations)
    for at in sorted(range(len(observations)), key=lambda at: _order(observations[at])):
        one = observations[at]
        history = histories.get(one.identity)
        if history is None:
            history = histories[one.identity] = list(known.segments.get(one.identity, ()))
        first = contents.get(one.content_hash) or known.contents.get(one.content_hash)
        outcomes[at] = place(history, one, at) if history else _begin(history, one, at, first)
        candidate = FirstOf(one.observed_at, one.identity)
        if first is None or candidate < first:
            contents[one.content_hash] = candidate
    return Decision(outcomes, histories, contents)


def _order(one: Observation) -> tuple[int, str, Identity]:
    return one.observed_at, one.content_hash, one.identity


def _begin(history: list[Segment], one: Observation, at: int, first: FirstOf | None) -> Outcome:
    history.append(Segment(one.content_hash, (one.observed_at,), told_by=at))
    return Outcome.NEW if first is None or first.identity == one.identity else Outcome.DUPLICATE


def place(history: list[Segment], one: Observation, at: int) -> Outcome:
    """Put an observation where it belongs in a history that is not empty; ``at`` is its position in the batch."""
    point = (one.observed_at, one.content_hash)
    index = _not_before(history, point)
    after = history[index] if index < len(history) else None
    if after is not None and after.content_hash == one.content_hash:
        history[index] = _widened(after, one.observed_at, at)
        return Outcome.UNCHANGED
    fresh = Segment(one.content_hash, (one.observed_at,), told_by=at)
    if after is not None and after.starts() < point:
        left, right = _cut(after, point)
        history[index : index + 1] = [left, fresh, right]
        return Outcome.REVISION
    if index and history[index - 1].content_hash == one.content_hash:
        history[index - 1] = _widened(history[index - 1], one.observed_at, at)
        return Outcome.UNCHANGED
    history.insert(index, fresh)
    return Outcome.REVISION


def _not_before(history: Sequence[Segment], point: tuple[int, str]) -> int:
    """Return the index of the first segment that does not end before the point; from the end, where it mostly is."""
    index = len(history)
    while index and history[index - 1].ends() >= point:
        index -= 1
    return index


def _widened(segment: Segment, time: int, at: int) -> Segment:
    """Add a time; the page of a segment is that of its first observation."""
    if time in segment.seen:
        return segment
    told_by = at if time < segment.first_seen else segment.told_by
    return replace(segment, seen=tuple(sorted((*segment.seen, time))), told_by=told_by)


def _cut(segment: Segment, point: tuple[int, str]) -> tuple[Segment, Segment]:
    """Cut a segment in two at a point within it. The part with the first stored observation stays the stored row."""
    content, row = segment.content_hash, segment.row
    before = tuple(time for time in segment.seen if (time, content) < point)
    after = segment.seen[len(before) :]
    if row is not None and (row, content) > point:
        return Segment(content, before, told_by=segment.told_by), Segment(content, after, row=row)
    source = row if row is not None else segment.copy_of
    told_by = segment.told_by if source is None else None
    return replace(segment, seen=before), Segment(content, after, told_by=told_by, copy_of=source)


def is_late(head: Segment, one: Observation) -> bool:
    """Tell whether an observation cannot be placed by the last segment of its identity alone."""
    if one.content_hash == head.content_hash:
        return one.observed_at < head.first_seen
    return (one.observed_at, one.content_hash) < head.ends()


def cut_by(history: Sequence[Segment], one: Observation) -> Segment | None:
    """Return the segment that an observation falls into with other content: its times around the point are needed."""
    point = (one.observed_at, one.content_hash)
    index = _not_before(history, point)
    if index == len(history) or history[index].content_hash == one.content_hash:
        return None
    return history[index] if history[index].starts() < point else None


def with_times(segment: Segment, times: Iterable[int]) -> Segment:
    """Add times at which a stored segment is known to have been seen."""
    return replace(segment, seen=tuple(sorted({*segment.seen, *times})))
