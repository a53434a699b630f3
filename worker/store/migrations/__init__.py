"""The steps by which the tables came to be, one file each, run by alembic in order."""
