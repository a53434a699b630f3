"""Around the pure steps for one page: limits, and every bug turned into that page's own failure."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress

from tasks.errors import MemoryLimit, ParserCrash, PenstockError, Permanent
from tasks.steps.page import PageResult, Payload, SourceProfile
from tasks.steps.parse import choose
from tasks.steps.understand import understand


def guarded(
    payload: Payload, profile: SourceProfile, limited: Callable[[], AbstractContextManager[None]]
) -> PageResult:
    """Understand one page within its limits; a bug of ours that this page meets becomes its own failure.

    Raises ``Permanent`` only, with the ``parser`` in its details where one was chosen: the parsers' errors as they
    are, what ``limited`` raises, and ``MemoryLimit`` or ``ParserCrash`` for all others. After a ``MemoryError`` the
    process goes on: what the steps held is let go.
    """
    try:
        with limited():
            return understand(payload, profile)
    except Permanent as error:
        named(error, payload, profile)
        raise
    except MemoryError as error:
        traceback.clear_frames(error.__traceback__)
        raise named(MemoryLimit("the page took more memory than there is"), payload, profile) from error
    except Exception as error:
        raise named(ParserCrash(f"{type(error).__name__}: {error}"[:500]), payload, profile) from error


def named(error: Permanent, payload: Payload, profile: SourceProfile) -> Permanent:
    """Return the error with the name of the parser that the payload was for."""
    if "parser" not in error.details:
        with suppress(PenstockError):
            error.details["parser"] = profile.parser or choose(payload, profile)
    return error
