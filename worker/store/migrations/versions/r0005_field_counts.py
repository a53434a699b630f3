"""What is found of each source's fields, by spans of three hours, and where that broke."""

from __future__ import annotations

from alembic import op

revision = "r0005"
down_revision = "r0004"

_TOKENS = {
    "sqlite": {"INT": "INTEGER", "TEXT": "TEXT"},
    "postgresql": {"INT": "bigint", "TEXT": 'text COLLATE "C"'},
}
_CHANGES = """
CREATE TABLE field_count (
  source :TEXT NOT NULL, span :INT NOT NULL, field :TEXT NOT NULL,
  pages :INT NOT NULL, filled :INT NOT NULL, size :INT NOT NULL,
  PRIMARY KEY (source, span, field)
);
CREATE INDEX field_count_by_span ON field_count (span);
CREATE TABLE field_drift (
  source :TEXT NOT NULL, field :TEXT NOT NULL, kind :TEXT NOT NULL, since :INT NOT NULL,
  pages :INT NOT NULL, filled :INT NOT NULL, size :INT NOT NULL,
  now_pages :INT NOT NULL, now_filled :INT NOT NULL, now_size :INT NOT NULL,
  PRIMARY KEY (source, field, kind)
)
"""


def upgrade() -> None:
    """Make the tables."""
    text = _CHANGES
    for token, word in _TOKENS[op.get_bind().dialect.name].items():
        text = text.replace(f":{token}", word)
    for one in text.split(";"):
        op.execute(one)
