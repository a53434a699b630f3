"""Revisions in one packed column, and less to write for each page.

``revision.packed`` takes the place of ``fields`` and ``related``, which stay for the rows that have them. PostgreSQL
would store such values apart, with an index of their own: two more rows to write for each page. ``page`` is updated
whenever a page is seen again; with room in its blocks no index has to hear of that. The hash of a content is longer
than what tells contents apart.
"""

from __future__ import annotations

from alembic import op

revision = "r0003"
down_revision = "r0002"

# In the order in which a commit takes the tables.
_CHANGES = {
    "sqlite": """
DROP INDEX page_by_content;
CREATE INDEX page_by_content ON page (substr(content_hash, 3, 12));
ALTER TABLE revision ADD COLUMN packed BLOB
""",
    "postgresql": """
DROP INDEX page_by_content;
CREATE INDEX page_by_content ON page (substr(content_hash, 3, 12));
ALTER TABLE page SET (fillfactor = 90);
ALTER TABLE revision ADD COLUMN packed bytea;
ALTER TABLE revision ALTER COLUMN packed SET STORAGE EXTERNAL, SET (toast_tuple_target = 8160);
ALTER TABLE payload SET (toast_tuple_target = 8160)
""",
}


def upgrade() -> None:
    """Make the changes."""
    for one in _CHANGES[op.get_bind().dialect.name].split(";"):
        op.execute(one)
