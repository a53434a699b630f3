"""Every error that penstock tells apart: the transient ones are tried again, the permanent ones are kept.

The class name is what stands on the wire, in the store and on the dashboard, so a class is never renamed.
A foreign error (a driver's, a socket's, a parser's) is mapped to one of these by the adapter that meets it.
"""

from __future__ import annotations

from typing import Any, Self


class PenstockError(Exception):
    """Something went wrong in penstock."""

    def __init__(self, message: str = "", **details: Any) -> None:
        self.message = message or (type(self).__doc__ or type(self).__name__).strip().splitlines()[0]
        self.details = details
        super().__init__(self.message)

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.details)

    @property
    def error_class(self) -> str:
        """The name that is stored and shown, for example ``Truncated``."""
        return type(self).__name__

    @classmethod
    def about(cls, message: str, **details: Any) -> Self:
        """Build the error with the ids that it is about as attributes in ``details``."""
        return cls(message, **details)


def _rebuild(cls: type[PenstockError], message: str, details: dict[str, Any]) -> PenstockError:
    return cls(message, **details)


class Transient(PenstockError):
    """It may work later: the work is given back and tried again."""


class Permanent(PenstockError):
    """It will not work however often it is tried: the payload is kept as a failure."""


class UsageError(PenstockError):
    """The input or the configuration is wrong; the message says what and where."""


# --- around us --------------------------------------------------------------------------------------------------


class StoreUnavailable(Transient):
    """The store does not answer."""


class StoreConflict(Transient):
    """Another worker changed the same rows at the same time; the whole transaction is run again."""


class StreamUnavailable(Transient):
    """Redis does not answer."""


class ArchiveUnavailable(Transient):
    """The archive of what was fetched cannot be written."""


class StreamFull(Transient):
    """The stream is above its high-water mark, or Redis is out of memory; push again later."""


class SourcePaused(Transient):
    """The source is paused: nothing of it is taken in until it is resumed."""


class Undecided(Transient):
    """The process that parsed a suspect page ended by something that need not be the page; it is tried again."""


class SandboxAway(Transient):
    """The process that parses suspect pages does not start, or the worker stops."""


# --- payloads ---------------------------------------------------------------------------------------------------


class Truncated(Permanent):
    """The payload ends before its own format says that it ends."""


class Malformed(Permanent):
    """The payload breaks the rules of its format."""


class UnknownFormat(Permanent):
    """No parser recognises the payload."""


class TooLarge(Permanent):
    """The payload is larger than the limit."""


class Undecodable(Permanent):
    """The bytes are not text in any encoding that was declared or detected."""


class Poison(Permanent):
    """The payload was delivered several times and each time the process that handled it died."""


class TimeLimit(Permanent):
    """Parsing took longer than the limit."""


class MemoryLimit(Permanent):
    """Parsing took more memory than the limit."""


class ParserCrash(Permanent):
    """A parser raised an error that is not one of ours."""


# --- fetching ---------------------------------------------------------------------------------------------------


class Throttled(Transient):
    """The host asked us to slow down (429, or 503 with Retry-After)."""


class HostBusy(Transient):
    """The host's next free slot is too far away to wait for; ``details["until_us"]`` says when to come again."""


class HostDown(Transient):
    """The host cannot be reached."""


class FetchTimeout(Transient):
    """The answer did not arrive in time."""


class HttpError(Transient):
    """The host answered with an error status."""


class Disallowed(Permanent):
    """robots.txt does not allow the URL."""


class Unsafe(Permanent):
    """The URL leads to an address that must not be fetched."""


class Gone(Permanent):
    """The page does not exist (404 or 410)."""
