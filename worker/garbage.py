"""Python's garbage collector, set for what penstock does.

Nearly all that a page leaves is freed by counting references. With Python's defaults the collector looks for cycles
after 700 new objects, some 15 pages, and goes through the batch in hand each time: a seventh of a worker's CPU time.
Of a command's CPU time it is a third: each module that is loaded makes it go through those before, and at the end it
goes through all of them once more.
"""

from __future__ import annotations

import gc
from typing import Final

_NEW_OBJECTS: Final = 50_000  # a batch of 300 pages makes some 20,000
_RUNS: Final = 10  # of a generation before the next older one is gone through


def collect_seldom() -> None:
    """Look for cycles seldom, and never in what was loaded before."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, _RUNS, _RUNS)


def leave_uncollected() -> None:
    """Look at nothing that there is by now any more: it stays to the end, and then the system takes it back at once."""
    gc.freeze()
