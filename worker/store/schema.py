"""Bringing the tables up to date, without loading alembic where there is nothing to do."""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from tasks.errors import UsageError

if TYPE_CHECKING:
    from worker.store.driver import Driver, Transaction

HEAD: Final = "r0008"
_one_at_a_time: Final = Lock()  # alembic's ``op`` is one for all threads
_MIGRATIONS: Final = Path(__file__).with_name("migrations")


def bring_up_to_date(driver: Driver) -> bool:
    """Run the migrations that the store lacks, alone; return whether there were any.

    Raises ``UsageError`` for a store that a newer penstock made, ``StoreUnavailable``, and ``StoreConflict`` when what
    others hold is in the way: run it again.
    """
    if stored_revision(driver) == HEAD:
        return False
    with _one_at_a_time, driver.connection() as connection:
        _upgrade(driver, connection)
    stored_revision(driver)
    return True


def stored_revision(driver: Driver) -> str | None:
    """Return the revision of the tables, None for an empty database; refuse one that we do not know."""
    with driver.transaction(write=False) as tx:
        revision = _read_revision(tx)
    if revision is not None and revision not in _known_revisions():
        raise UsageError(f"the store was made by a newer penstock (its tables are at {revision}): upgrade penstock")
    return revision


def _read_revision(tx: Transaction) -> str | None:
    table = (
        "pg_tables WHERE schemaname = current_schema() AND tablename" if tx.locks_rows else "sqlite_schema WHERE name"
    )
    if not tx.run(f"SELECT 1 FROM {table} = 'alembic_version'"):  # noqa: S608 (one of two constants)
        return None
    rows = tx.run("SELECT version_num FROM alembic_version")
    return str(rows[0][0]) if rows else None


def _known_revisions() -> set[str]:
    return {path.name.split("_")[0] for path in (_MIGRATIONS / "versions").glob("r*.py")}


def _upgrade(driver: Driver, connection: Any, target: str = HEAD) -> None:
    """Run alembic on an open connection; another process may have done it while we waited for the lock.

    SQLAlchemy ends whatever transaction a connection brings, so the lock is taken after it has taken over. It wraps the
    errors of the driver, which knows its own only.
    """
    from alembic.operations import Operations  # noqa: PLC0415 (slow to import, and rarely needed)
    from alembic.runtime.migration import MigrationContext  # noqa: PLC0415 (as above)
    from alembic.script import ScriptDirectory  # noqa: PLC0415 (as above)
    from sqlalchemy import create_engine  # noqa: PLC0415 (as above)
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415 (as above)
    from sqlalchemy.pool import StaticPool  # noqa: PLC0415 (as above)

    scripts = ScriptDirectory(str(_MIGRATIONS))
    engine = create_engine(driver.alembic_url(), creator=lambda: connection, poolclass=StaticPool)
    try:
        with engine.connect() as bound:
            bound.exec_driver_sql(driver.migration_lock())
            context = MigrationContext.configure(
                bound,
                opts={"fn": lambda revision, _: scripts._upgrade_revs(target, revision), "transactional_ddl": True},  # noqa: SLF001 (alembic.command.upgrade does the same; it would need an env.py)
            )
            with Operations.context(context):
                context.run_migrations()
            bound.commit()
    except DBAPIError as error:
        raise (error.orig or error) from error
