"""Present revisions parsed a second time: which there are, what they are made of, and what is stored of the result."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from tasks.steps.dedupe import FirstOf, Identity
from tasks.steps.page import PageResult, Payload
from worker.store import clean, commit, contents, envelopes, items, told
from worker.store.batch import Sighting
from worker.store.driver import Row, Transaction, statement
from worker.store.pages import IS_HEAD
from worker.store.zstd import unpack

_NEVER: Final = 2**31  # newer than any parser
_NO_PROFILE: Final = "''"
_HEADS: Final = statement(
    f"""SELECT page.id, page.source, page.item_key, page.item, page.url, page.depth, page.parent,
      revision.first_seen, revision.content_hash, revision.payload_hash, revision.parser, revision.parser_version,
      title, published_at, published_raw, packed, fields, related, envelope, payload.bytes, revision.profile_version
    FROM {{rows}} JOIN page ON page.id = r.id JOIN revision ON revision.page_id = page.id AND {IS_HEAD}
      LEFT JOIN payload ON payload.payload_hash = revision.payload_hash
    ORDER BY page.id""",  # noqa: S608 (constants)
    id="int",
)
# The pages are locked first, in the order of commit: only then is what belongs to them read.
_LOCK: Final = statement(
    """SELECT page.id, page.last_seen FROM {rows} JOIN page ON page.source = r.source AND page.item_key = r.item_key
    ORDER BY page.source, page.item_key {lock page}""",
    source="text",
    item_key="text",
)
_MARKS: Final = statement(
    f"""SELECT page.id, revision.first_seen, revision.content_hash, revision.payload_hash, revision.parser,
      revision.parser_version, revision.profile_version
    FROM {{rows}} JOIN page ON page.id = r.id JOIN revision ON revision.page_id = page.id AND {IS_HEAD}""",  # noqa: S608 (constants)
    id="int",
)
_UPDATE: Final = statement(
    f"""UPDATE revision SET {", ".join(f"{name} = r.{name}" for name in ("profile_version", *told.COLUMNS))}
    FROM {{rows}} WHERE revision.page_id = r.page_id AND revision.first_seen = r.first_seen
      AND revision.content_hash = r.content_hash""",  # noqa: S608 (constants)
    page_id="int",
    first_seen="int",
    content_hash="text",
    profile_version="text",
    **told.COLUMNS,
)


class Change(enum.StrEnum):
    """What a second parse comes to."""

    EQUAL = "equal"
    FIELDS = "fields_changed"  # what the content hash leaves out
    CONTENT = "content_changed"


class Mark(NamedTuple):
    """Tells whether a present revision is still the one that was parsed."""

    first_seen: int
    content_hash: str
    payload_hash: str
    parser: str
    parser_version: int
    profile_version: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """The present revision of a page. ``payload`` is None where its bytes are not kept any more."""

    page_id: int
    identity: Identity
    mark: Mark
    values: Mapping[str, Any] = field(repr=False)
    payload: Payload | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reparsed:
    """A present revision, and what today's parsers make of its bytes."""

    present: Present
    result: PageResult
    differences: Mapping[str, tuple[Any, Any]] = field(repr=False)  # old and new value by field
    change: Change

    @classmethod
    def of(cls, present: Present, result: PageResult) -> Reparsed:
        """Compare. A page keeps its identity, also where that was taken from its text."""
        new = told.values(told.columns(result.page))
        names = [*present.values, *(name for name in new if name not in present.values)]
        pairs = {name: (present.values.get(name), new.get(name)) for name in names}
        differences = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
        same = result.content_hash == present.mark.content_hash
        change = Change.CONTENT if not same else Change.FIELDS if differences else Change.EQUAL
        return cls(present=present, result=result, differences=differences, change=change)

    @property
    def stands(self) -> bool:
        """Whether the revision's row is to be brought up to date where it is."""
        now = (self.result.page.parser_version, self.result.profile_version)
        newer = now != (self.present.mark.parser_version, self.present.mark.profile_version)
        return self.change is Change.FIELDS or (self.change is Change.EQUAL and newer)

    def sighting(self, observed_at: int) -> Sighting:
        """Return the result as an observation of the page."""
        present = self.present
        if present.payload is None:
            message = "a page without bytes was parsed"
            raise ValueError(message)
        return Sighting(
            identity=present.identity,
            observed_at=clean.moment(observed_at),
            content_hash=self.result.content_hash,
            result=self.result,
            payload=present.payload,
            payload_hash=present.mark.payload_hash,
            again=True,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFilter:
    """Which pages; None means any. Times in µs, of when a page was seen last."""

    source: str | None = None
    since: int | None = None  # at or after
    until: int | None = None  # before
    parser: str | None = None  # of its present revision
    older_than: Mapping[str, int] | None = None  # parsed by an older version than these, or by a parser not among them
    # With ``older_than``, also those that were read with another version of their source's profile than this.
    profiles: Mapping[str, str] = field(default_factory=dict)

    def where(self) -> tuple[str, list[Any]]:
        """Return the condition, and its parameters."""
        tests, parameters = [IS_HEAD], list[Any]()
        for test, value in (
            ("page.source = ?", self.source and clean.key(self.source, clean.SOURCE_BYTES)),
            ("page.last_seen >= ?", self.since),
            ("page.last_seen < ?", self.until),
            ("revision.parser = ?", clean.text(self.parser)),
        ):
            if value is not None:
                tests.append(test)
                parameters.append(value)
        if self.older_than:
            older = f"revision.parser_version < {_case('revision.parser', self.older_than, _NEVER)}"
            other = f"coalesce(revision.profile_version, '') <> {_case('page.source', self.profiles, _NO_PROFILE)}"
            tests.append(f"({older} OR {other})")
            parameters += [part for pair in (*self.older_than.items(), *self.profiles.items()) for part in pair]
        return " AND ".join(tests), parameters


def _case(column: str, values: Mapping[str, Any], other: int | str) -> str:
    """Return what a column's value stands for, in SQL; the pairs are parameters."""
    return f"CASE {column} {' '.join('WHEN ? THEN ?' for _ in values)} ELSE {other} END" if values else str(other)


def last_id(tx: Transaction) -> int:
    """Return the highest id of a page."""
    return int(tx.run("SELECT coalesce(max(id), 0) FROM page")[0][0])


def found(tx: Transaction, where: PageFilter, after: int, until: int) -> list[tuple[int, int]]:
    """Return the ids of the pages of a span that are meant, each with the size of its bytes and envelope."""
    condition, parameters = where.where()
    rows = tx.run(
        f"""SELECT page.id, coalesce(payload.size, 0) + coalesce(length(envelope), 0)
        FROM page JOIN revision ON revision.page_id = page.id
          LEFT JOIN payload ON payload.payload_hash = revision.payload_hash
        WHERE page.id > ? AND page.id <= ? AND {condition} ORDER BY page.id""",  # noqa: S608 (constants, values are bound)
        after,
        until,
        *parameters,
    )
    return [(row[0], row[1]) for row in rows]


def read(tx: Transaction, page_ids: Sequence[int]) -> list[Present]:
    """Return the present revisions of pages, with their bytes."""
    return [_present(row) for row in tx.read(_HEADS, [(one,) for one in page_ids])]


def _present(row: Row) -> Present:
    page_id, source, item_key, item, url, depth, parent = row[:7]
    envelope, frame = row[18] or envelopes.of_page(item, url, depth, parent), row[19]
    body = None if frame is None else unpack(frame)
    return Present(
        page_id=page_id,
        identity=Identity(source, item_key),
        mark=Mark._make((*row[7:12], row[20])),
        values=told.values(row[10:18]),
        payload=None if body is None else envelopes.read(source, envelope, body),
    )


def begin(tx: Transaction, told: Mapping[str, Any], now: int) -> int:
    """Write down that an operator started a reparse; return the id of the row, which then counts what was changed."""
    row = "INSERT INTO operator_action (at, action, filter, count, note) VALUES (?, 'reparse', ?, 0, '') RETURNING id"
    return int(tx.run(row, now, clean.to_json(dict(told)))[0][0])


def write(tx: Transaction, parsed: Sequence[Reparsed], *, action: int, near: bool, now: int) -> list[int]:
    """Store what second parses came to; return the pages that are not any more what was parsed, which stay as they are.

    New content becomes a revision of its own, seen right after the one that it was parsed from was seen last: what
    arrives later stays later. Whose it was first is told by when its bytes were seen first. Else the revision is
    brought up to date where it stands.
    """
    seen = _locked(tx, parsed)
    same = [one for one in parsed if one.present.page_id in seen]
    fresh = [one.sighting(seen[one.present.page_id] + 1) for one in same if one.change is Change.CONTENT]
    _take_contents(tx, same)
    commit.write_pages(tx, commit.decide_pages(tx, fresh), fresh, near=near)
    tx.write(_UPDATE, [_row(one) for one in same if one.stands])
    named = [one.sighting(one.present.mark.first_seen) for one in same if _names_others(one)]
    items.follow(tx, [*fresh, *named], now)
    changed = sum(one.change is not Change.EQUAL for one in same)
    tx.run("UPDATE operator_action SET count = count + ? WHERE id = ?", changed, action)
    return [one.present.page_id for one in parsed if one.present.page_id not in seen]


def _locked(tx: Transaction, parsed: Sequence[Reparsed]) -> dict[int, int]:
    """Lock the pages; return when each was seen last, of those whose present revision is the one that was parsed."""
    marks = {one.present.page_id: one.present.mark for one in parsed}
    last_seen: dict[int, int] = dict(tx.read(_LOCK, sorted(one.present.identity for one in parsed)))
    rows = tx.read(_MARKS, [(page_id,) for page_id in sorted(last_seen)])
    return {row[0]: last_seen[row[0]] for row in rows if Mark(*row[1:]) == marks[row[0]]}


def _take_contents(tx: Transaction, parsed: Sequence[Reparsed]) -> None:
    first: dict[str, FirstOf] = {}
    for one in parsed:
        if one.change is Change.CONTENT:
            content, seen = one.result.content_hash, FirstOf(one.present.mark.first_seen, one.present.identity)
            first[content] = min(seen, first.get(content, seen))
    contents.earlier(tx, {content: first[content] for content in contents.take(tx, first)})


def _names_others(one: Reparsed) -> bool:
    return one.change is Change.FIELDS and "related" in one.differences


def _row(one: Reparsed) -> Row:
    mark = one.present.mark
    read_with = clean.text(one.result.profile_version)
    return (one.present.page_id, mark.first_seen, mark.content_hash, read_with, *told.columns(one.result.page))
