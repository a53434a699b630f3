"""Rows of ``revision``: each text that a page has had, with the time from which to which it was seen."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Final

from tasks.steps.dedupe import Identity, Observation, Segment, cut_by, is_late, with_times
from worker.store import clean, envelopes, told
from worker.store.batch import Sighting
from worker.store.deliveries import sighting_of
from worker.store.driver import Kind, Row, Transaction, insertion, statement
from worker.store.pages import StoredPage

_KINDS: Final[dict[str, Kind]] = {"payload_hash": "text", "envelope": "text", "profile_version": "text", **told.COLUMNS}
_DATA: Final = ", ".join(_KINDS)
_INSERT: Final = insertion("revision", page_id="int", content_hash="text", first_seen="int", last_seen="int", **_KINDS)
_COPY: Final = statement(
    f"""INSERT INTO revision (page_id, content_hash, first_seen, last_seen, {_DATA})
    SELECT r.page_id, r.content_hash, r.first_seen, r.last_seen, {_DATA} FROM {{rows}} JOIN revision
      ON revision.page_id = r.page_id AND revision.first_seen = r.stored AND revision.content_hash = r.content_hash
    """,  # noqa: S608 (constants)
    page_id="int",
    content_hash="text",
    first_seen="int",
    last_seen="int",
    stored="int",
)
_MOVE: Final = statement(
    """UPDATE revision SET first_seen = r.first_seen, last_seen = r.last_seen FROM {rows}
    WHERE revision.page_id = r.page_id AND revision.first_seen = r.stored AND revision.content_hash = r.content_hash""",
    page_id="int",
    content_hash="text",
    first_seen="int",
    last_seen="int",
    stored="int",
)
_RETELL: Final = statement(
    f"""UPDATE revision SET {", ".join(f"{name} = r.{name}" for name in _KINDS)} FROM {{rows}}
    WHERE revision.page_id = r.page_id AND revision.first_seen = r.first_seen
      AND revision.content_hash = r.content_hash""",  # noqa: S608 (constants)
    page_id="int",
    content_hash="text",
    first_seen="int",
    **_KINDS,
)
_HISTORY: Final = statement(
    """SELECT revision.page_id, content_hash, first_seen, last_seen
    FROM {rows} JOIN revision ON revision.page_id = r.page_id
    ORDER BY revision.page_id, first_seen, content_hash""",
    page_id="int",
)
_AROUND: Final = statement(
    """SELECT r.n,
      (SELECT max(observed_at) FROM delivery WHERE delivery.page_id = r.page_id AND delivery.sighting = r.sighting
        AND observed_at BETWEEN r.stored AND r.until),
      (SELECT min(observed_at) FROM delivery WHERE delivery.page_id = r.page_id AND delivery.sighting = r.sighting
        AND observed_at BETWEEN r.since AND r.last_seen)
    FROM {rows}""",
    n="int",
    page_id="int",
    stored="int",
    sighting="int",
    until="int",
    since="int",
    last_seen="int",
)


def known(
    tx: Transaction, pages: Mapping[Identity, StoredPage], observations: Iterable[Observation]
) -> dict[Identity, Sequence[Segment]]:
    """Return what of each page's history the decision needs: mostly the last segment, for late ones all of it."""
    heads = {identity: page.head() for identity, page in pages.items()}
    late = [one for one in observations if one.identity in heads and is_late(heads[one.identity], one)]
    histories: dict[Identity, Sequence[Segment]] = {identity: [head] for identity, head in heads.items()}
    if late:
        histories.update(_late(tx, pages, late))
    return histories


def _late(
    tx: Transaction, pages: Mapping[Identity, StoredPage], late: Sequence[Observation]
) -> dict[Identity, list[Segment]]:
    identities = {pages[one.identity].id: one.identity for one in late}
    rows = tx.read(_HISTORY, [(page_id,) for page_id in sorted(identities)])
    histories = {
        identities[page_id]: [Segment(row[1], tuple(sorted({row[2], row[3]})), row=row[2]) for row in group]
        for page_id, group in groupby(rows, key=lambda row: int(row[0]))
    }
    for (identity, at), times in _around(tx, pages, histories, late).items():
        histories[identity][at] = with_times(histories[identity][at], times)
    return histories


def _around(
    tx: Transaction,
    pages: Mapping[Identity, StoredPage],
    histories: Mapping[Identity, list[Segment]],
    late: Sequence[Observation],
) -> dict[tuple[Identity, int], set[int]]:
    """Return, for each segment that late observations cut, when it was seen last before and first after each."""
    cuts = [(one, segment) for one in late if (segment := cut_by(histories[one.identity], one))]
    rows = [(n, pages[one.identity].id, *_bounds(segment, one)) for n, (one, segment) in enumerate(cuts)]
    times: dict[tuple[Identity, int], set[int]] = defaultdict(set)
    for n, before, after in tx.read(_AROUND, rows):
        one, segment = cuts[n]
        at = histories[one.identity].index(segment)
        times[one.identity, at].update(time for time in (before, after) if time is not None)
    return times


def _bounds(segment: Segment, one: Observation) -> Row:
    """Return the segment's start, what its sightings are marked with, where "before" ends and "after" begins, its end.

    At the very time of the observation the smaller content comes first.
    """
    until = one.observed_at if segment.content_hash < one.content_hash else one.observed_at - 1
    return segment.first_seen, sighting_of(segment.content_hash), until, until + 1, segment.last_seen


def write(
    tx: Transaction,
    ids: Mapping[Identity, int],
    decided: Mapping[Identity, Sequence[Segment]],
    known: Mapping[Identity, Sequence[Segment]],
    seen: Sequence[Sighting],
) -> None:
    """Store what the decision changed. ``seen`` are the observations that segments are ``told_by``."""
    inserts, copies, moves, retold = list[Row](), list[Row](), list[Row](), list[Row]()
    for identity in sorted(decided):
        page_id = ids[identity]
        stored = {segment.starts(): segment for segment in known.get(identity, ())}
        for segment in decided[identity]:
            place = (page_id, segment.content_hash, segment.first_seen)
            if segment.row is None and segment.told_by is not None:
                inserts.append((*place, segment.last_seen, segment.told_by))
            elif segment.row is None:
                copies.append((*place, segment.last_seen, segment.copy_of))
            elif _moved(segment, stored[segment.row, segment.content_hash]):
                moves.append((*place, segment.last_seen, segment.row))
                if segment.told_by is not None:
                    retold.append((*place, *_data(seen[segment.told_by])))
    tx.send(_COPY, copies)  # before the rows that they copy change
    tx.send(_MOVE, moves)
    tx.send(_RETELL, retold)
    if inserts:
        tx.insert(_INSERT, [(*place, *_data(seen[told_by])) for *place, told_by in inserts])


def see_again(tx: Transaction, pages: Iterable[StoredPage], at: int) -> None:
    """Note that the present revisions of pages were seen once more, after all that were seen before."""
    heads = sorted((page.id, page.state.content_hash, page.state.head_first_seen) for page in pages)
    tx.send(_MOVE, [(*head, at, head[-1]) for head in heads])


def _moved(segment: Segment, stored: Segment) -> bool:
    return (segment.first_seen, segment.last_seen) != (stored.first_seen, stored.last_seen)


def _data(one: Sighting) -> Row:
    read_with = clean.text(one.result.profile_version)
    return one.payload_hash, envelopes.written(one.payload), read_with, *told.columns(one.result.page)
