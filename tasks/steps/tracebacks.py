"""Tracebacks as text, for the failures that are kept."""

from __future__ import annotations

import traceback
from types import CodeType, TracebackType
from typing import Final

from tasks.errors import PenstockError

_MEMO: Final = 512  # frames; all that our own errors pass through are some dozens
_HEAD: Final = "Traceback (most recent call last):\n"
_texts: Final[dict[tuple[CodeType, int], str]] = {}


def traceback_of(error: BaseException) -> str:
    """Return what ``traceback.format_exception`` writes of the error.

    That function reads and parses the lines of every frame again, which takes as long as two pages. Pages mostly fail
    by an error of ours, where others failed before, so the text of such a frame is kept.
    """
    frames = _frames(error.__traceback__)
    if not frames or not _is_plain(error) or _recurs(frames):
        return "".join(traceback.format_exception(error))
    return "".join([_HEAD, *map(_text, frames), *traceback.format_exception_only(error)])


def _frames(at: TracebackType | None) -> list[TracebackType]:
    found = []
    while at is not None:
        found.append(at)
        at = at.tb_next
    return found


def _is_plain(error: BaseException) -> bool:
    """Tell whether the error is one of ours, and no other is told with it."""
    alone = error.__cause__ is None and (error.__suppress_context__ or error.__context__ is None)
    return alone and isinstance(error, PenstockError)


def _recurs(frames: list[TracebackType]) -> bool:
    """Tell whether a line stands there twice: where it does so more often, the text says how often."""
    return len({(at.tb_frame.f_code, at.tb_lineno) for at in frames}) < len(frames)


def _text(at: TracebackType) -> str:
    key = at.tb_frame.f_code, at.tb_lasti
    text = _texts.get(key)
    if text is None:
        text = "".join(traceback.format_tb(at, limit=1))
        if len(_texts) >= _MEMO:
            _texts.clear()
        _texts[key] = text
    return text
