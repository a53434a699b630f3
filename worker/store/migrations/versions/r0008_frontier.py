"""The frontier: rows that wait for their time are not ``due``, pages are fetched again, hosts are known.

Few rows change: of those that were due only the ones that wait for another try, found by their index. Nothing but
``item`` is locked, so that whatever is in flight ends before or after it.
"""

from __future__ import annotations

from alembic import op

revision = "r0008"
down_revision = "r0007"

_TOKENS = {
    "sqlite": {"INT": "INTEGER", "TEXT": "TEXT", "NOW": "CAST(strftime('%s', 'now') AS INTEGER) * 1000000"},
    "postgresql": {"INT": "bigint", "TEXT": 'text COLLATE "C"', "NOW": "extract(epoch FROM now()) * 1000000"},
}
_CHANGES = """
ALTER TABLE item ADD COLUMN recrawl_us :INT;
ALTER TABLE item ADD COLUMN checked_at :INT;
ALTER TABLE item ADD COLUMN gone_at :INT;
ALTER TABLE item ADD COLUMN bound :TEXT;
UPDATE item SET state = 'scheduled' WHERE state = 'due' AND next_fetch_at > :NOW;
CREATE INDEX item_scheduled ON item (next_fetch_at)
  WHERE state IN ('scheduled', 'fetched') AND next_fetch_at IS NOT NULL;
CREATE TABLE day_fetch (day :INT NOT NULL, source :TEXT NOT NULL, n :INT NOT NULL, PRIMARY KEY (day, source));
CREATE TABLE robots (
  origin :TEXT PRIMARY KEY, state :TEXT NOT NULL, status :INT, body :TEXT, fetched_at :INT NOT NULL,
  expires_at :INT NOT NULL
);
CREATE TABLE host_pause (host :TEXT PRIMARY KEY, until :INT NOT NULL, reason :TEXT NOT NULL, since :INT NOT NULL)
"""


def upgrade() -> None:
    """Make the changes."""
    text = _CHANGES
    for token, word in _TOKENS[op.get_bind().dialect.name].items():
        text = text.replace(f":{token}", word)
    for one in text.split(";"):
        op.execute(one)
