"""``dataclass`` for values that are made for each page.

They are frozen for the type checker, which every change passes, and not once more when the program runs: a value of
eleven fields takes 3.6 µs to make if it is, else 1.3, and those of one page have some seventy.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

__all__ = ["dataclass"]

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(*, frozen: bool, **options: Any) -> Any:
        """Make a dataclass as ``dataclasses`` does; with ``frozen`` it can be hashed, and is not frozen."""
        return dataclasses.dataclass(unsafe_hash=frozen and options.get("eq", True), **options)
