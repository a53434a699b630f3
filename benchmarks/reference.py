"""Which rows must be there in the end, worked out page by page, and what a store has of them.

Order does not count: of a page's observations the newest says what it is now, and everything else is a set.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from typing import Any, Final

import zstandard

from benchmarks import work
from benchmarks.work import Understood, understood
from tasks.steps.page import PageResult, Payload

_SAMPLES: Final = 3  # of what differs


@dataclass(slots=True)
class Rows:
    """The facts that a store must hold, whatever its tables look like."""

    current: set[tuple[str, str]] = field(default_factory=set)  # item key, content hash
    revisions: set[tuple[str, str]] = field(default_factory=set)  # item key, content hash
    payloads: set[str] = field(default_factory=set)  # hashes; worked out from the bytes that are stored
    items: set[str] = field(default_factory=set)
    failures: set[tuple[str, str]] = field(default_factory=set)  # payload hash, error class
    handled: int = 0


def expected(payloads: Iterable[Payload]) -> Rows:
    """Return what must be stored of these payloads."""
    rows = Rows()
    newest: dict[str, tuple[int, str]] = {}
    for payload in payloads:
        one = understood(payload)
        rows.handled += 1
        rows.payloads.add(one.payload_hash)
        if isinstance(one.result, PageResult):
            _add_page(rows, newest, one, one.result)
        else:
            rows.failures.add((one.payload_hash, one.result.error_class))
    rows.current = {(key, text) for key, (_, text) in newest.items()}
    return rows


def _add_page(rows: Rows, newest: dict[str, tuple[int, str]], one: Understood, result: PageResult) -> None:
    key, seen = result.item_key, (one.observed_at, result.content_hash)
    newest[key] = max(newest.get(key, seen), seen)
    rows.revisions.add((key, result.content_hash))
    rows.items.add(key)
    rows.items.update(item.item_key for item in result.discovered)


def differences(wanted: Rows, found: Rows) -> list[str]:
    """Return a line for each kind of fact that is not as it must be; none when all is right."""
    told = []
    for one in fields(Rows):
        want, have = getattr(wanted, one.name), getattr(found, one.name)
        if want == have:
            continue
        if isinstance(want, int):
            told.append(f"{one.name}: {have:,} instead of {want:,}")
        else:
            told.append(f"{one.name}: {_told('missing', want - have)}, {_told('too many', have - want)}")
    return told


def _told(what: str, some: set[Any]) -> str:
    samples = ", ".join(map(str, sorted(some)[:_SAMPLES]))
    return f"{len(some):,} {what}" + (f" ({samples} …)" if some else "")


def rows_of_tables(store_url: str) -> Rows:
    """Read the tables of ``tables.sql``."""
    with work.connect(store_url) as connection:
        return read_rows(
            lambda sql: connection.cursor().stream(sql.encode()),
            current="SELECT item_key, content_hash FROM page",
            revisions="SELECT item_key, content_hash FROM revision",
            failures="SELECT payload_hash, error_class FROM failure",
        )


def read_rows(run: Callable[[str], Iterable[tuple[Any, ...]]], *, current: str, revisions: str, failures: str) -> Rows:
    """Read a store by its queries; payload, item and delivery are called so everywhere."""
    return Rows(
        current=set(run(current)),
        revisions=set(run(revisions)),
        payloads=set(map(_hash_of, run("SELECT payload_hash, bytes FROM payload"))),
        items={key for (key,) in run("SELECT item_key FROM item")},
        failures=set(run(failures)),
        handled=next(iter(run("SELECT count(*) FROM delivery")))[0],
    )


def _hash_of(row: tuple[Any, ...]) -> str:
    """Return the hash of the bytes; where it is not the row's, both, so that it fits nothing."""
    payload_hash, data = row
    found = hashlib.sha256(zstandard.ZstdDecompressor().decompress(bytes(data))).hexdigest()
    return found if found == payload_hash else f"{payload_hash}, bytes of {found}"
