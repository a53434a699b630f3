"""The store: one truth, in SQLite or PostgreSQL.

``sql_store`` is the way in; each of its methods is a transaction of one module, and each module is about one noun:
``pages``, ``revisions``, ``contents``, ``payloads``, ``items``, ``failures``, ``deliveries`` are the tables (``told``,
``mentions`` and ``known`` belong to revisions and items), ``commit`` and ``retry`` put them together. ``due``,
``claim`` and ``settle`` are the items as work, ``starts`` where they begin, ``again`` when they are fetched once more,
``budgets`` and ``hosts`` what bounds that, ``standing`` how hosts stand. ``near`` are the texts that are compared,
``drift`` what is found of fields, ``profiles`` what says where they stand; ``records``, ``clusters``, ``triage``,
``recrawl`` and ``ledger`` are what the operator asks, ``reparse`` and ``archive`` what the stored bytes are for.
``sqlite`` and ``postgres`` are the dialects, ``migrations`` how the tables came to be.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from tasks.errors import PenstockError, StoreUnavailable, UsageError
from worker.store.archive import Archived
from worker.store.driver import Driver
from worker.store.filters import FailureFilter
from worker.store.ledger import Counts, DueCounts, EpochLedger
from worker.store.profiles import NewProfile
from worker.store.recrawl import ItemFilter
from worker.store.reparse import Change, PageFilter, Present, Reparsed
from worker.store.serials import Run
from worker.store.sources_state import SourceChange
from worker.store.sql_store import SqlStore
from worker.store.standing import CutItems, HostStanding

__all__ = [
    "Archived",
    "Change",
    "Counts",
    "CutItems",
    "DueCounts",
    "EpochLedger",
    "FailureFilter",
    "HostStanding",
    "ItemFilter",
    "NewProfile",
    "PageFilter",
    "Present",
    "Reparsed",
    "Run",
    "SourceChange",
    "SqlStore",
    "migrate",
    "open_store",
]

_SQLITE = "sqlite:///"
_POSTGRES = ("postgresql://", "postgres://")


def open_store(url: str, *, near: bool = True) -> SqlStore:
    """Open the store at ``sqlite:///PATH`` or ``postgresql://…``, and bring its tables up to date.

    A server that does not answer yet is no error: the first use connects. Raises ``UsageError`` for a URL or a store
    that cannot be used. ``near``: see ``SqlStore``.
    """
    store = SqlStore(_driver(url), near=near)
    try:
        with suppress(StoreUnavailable):
            store.prepare()
    except PenstockError:
        store.close()
        raise
    return store


def migrate(url: str) -> bool:
    """Bring the tables at the URL up to date; return whether there was anything to do."""
    store = SqlStore(_driver(url))
    try:
        return store.prepare()
    finally:
        store.close()


def _driver(url: str) -> Driver:
    if url.startswith(_SQLITE):
        from worker.store.sqlite import SqliteDriver  # noqa: PLC0415 (only the driver that is used is loaded)

        return SqliteDriver(Path(url.removeprefix(_SQLITE)))
    if url.startswith(_POSTGRES):
        from worker.store.postgres import PostgresDriver  # noqa: PLC0415 (as above)

        return PostgresDriver(url)
    scheme = url.partition(":")[0]
    raise UsageError(f"a store's URL begins with sqlite:/// or postgresql://, not with '{scheme}:'")
