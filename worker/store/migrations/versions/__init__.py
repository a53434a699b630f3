"""One file per step; its name begins with the revision that it leads to."""
