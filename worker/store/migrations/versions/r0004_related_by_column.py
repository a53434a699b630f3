"""Related items of a revision by column, in ``revision.packed``.

No table changes, and rows of before stay as they are. A penstock of before cannot read the new ones, and is told so
when it opens the store.
"""

from __future__ import annotations

revision = "r0004"
down_revision = "r0003"


def upgrade() -> None:
    """Change nothing."""
