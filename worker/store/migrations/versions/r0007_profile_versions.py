"""With which version of its source's profile a revision was read, and with which one of each workers began last."""

from __future__ import annotations

from alembic import op

revision = "r0007"
down_revision = "r0006"

_TOKENS = {"sqlite": {"INT": "INTEGER", "TEXT": "TEXT"}, "postgresql": {"INT": "bigint", "TEXT": 'text COLLATE "C"'}}
_CHANGES = """
ALTER TABLE revision ADD COLUMN profile_version :TEXT;
CREATE TABLE source_profile (source :TEXT PRIMARY KEY, version :TEXT NOT NULL, since :INT NOT NULL)
"""


def upgrade() -> None:
    """Make the changes."""
    text = _CHANGES
    for token, word in _TOKENS[op.get_bind().dialect.name].items():
        text = text.replace(f":{token}", word)
    for one in text.split(";"):
        op.execute(one)
