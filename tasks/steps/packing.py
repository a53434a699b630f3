"""Bodies packed with zstd, and their size limit.

To make what packs or unpacks takes longer than to unpack a page of 4.5 KB with it, so they are kept. None serves two
threads at once: a thread takes one out of its list, which is one step of the interpreter, or makes one if there is
none, and puts it back when it is done. So there are never more of them than threads at work at the same time, and a
child that is forked while one is out does not have it. What met an error is not put back.
"""

from __future__ import annotations

from typing import Final

import zstandard

from tasks.errors import Malformed, TooLarge, Truncated

# For a page of 4.5 KB, level 1 takes 17 to 21 µs and level 3 26 to 29, and makes it smaller by a hundredth; no level
# makes it smaller by two. For pages of 50 KB it is a twentieth, and they stay in the archive as they were packed.
_FAST: Final = 1
_SMALL: Final = 3
_FAST_UP_TO: Final = 16 * 1024  # bytes
_WORTH: Final = 512  # bytes; below that a frame saves nothing worth its time
_MAX_WINDOW: Final = 8 * 1024 * 1024  # what telling a cut frame from a broken one may take, in bytes
_CHUNK: Final = 64 * 1024
_compressors: Final[dict[int, list[zstandard.ZstdCompressor]]] = {_FAST: [], _SMALL: []}  # by level
_decompressors: Final[list[zstandard.ZstdDecompressor]] = []


def pack(body: bytes) -> tuple[bytes, bool]:
    """Return the body as a zstd frame and True, or as it is and False where that is not smaller."""
    if len(body) < _WORTH:
        return body, False
    level = _FAST if len(body) <= _FAST_UP_TO else _SMALL
    compressor = _compressor(level)
    packed = compressor.compress(body)
    _compressors[level].append(compressor)
    return (packed, True) if len(packed) < len(body) else (body, False)


def frame_of(packed: bytes, body: bytes) -> bytes | None:
    """Return the frame that ``unpack`` turned into ``body``, if it can be kept in place of the body; else None.

    It must be smaller, and say its size: then a plain decompressor takes it, without a bound. A dictionary or a window
    that this one would refuse was refused by ``unpack``.
    """
    if len(packed) >= len(body) or zstandard.get_frame_parameters(packed).content_size != len(body):
        return None
    return packed


def unpack(packed: bytes, max_body: int) -> bytes:
    """Return the content of exactly one zstd frame.

    Raises ``TooLarge`` when it has more than ``max_body`` bytes, having unpacked at most one byte more; ``Truncated``
    when the frame ends early; ``Malformed`` when it is none or something follows it.
    """
    try:
        declared = zstandard.get_frame_parameters(packed).content_size
        if declared in (zstandard.CONTENTSIZE_UNKNOWN, zstandard.CONTENTSIZE_ERROR):
            return _unpack_unsized(packed, max_body)
        check_size(packed, max_body, declared)
        decompressor = _decompressor()
        body = decompressor.decompress(packed, max_output_size=max_body + 1, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise _why(packed, max_body) from error
    _decompressors.append(decompressor)
    return body


def check_size(body: bytes, max_body: int, size: int | None = None) -> bytes:
    """Return the body; raise ``TooLarge`` when it (or ``size``, where given) exceeds ``max_body`` bytes."""
    size = len(body) if size is None else size
    if size > max_body:
        raise TooLarge(f"the body has {size} bytes, the limit is {max_body}", field="body", size=size)
    return body


def _compressor(level: int) -> zstandard.ZstdCompressor:
    try:
        return _compressors[level].pop()
    except IndexError:
        return zstandard.ZstdCompressor(level=level)


def _decompressor() -> zstandard.ZstdDecompressor:
    try:
        return _decompressors.pop()
    except IndexError:
        return zstandard.ZstdDecompressor()


def _unpack_unsized(packed: bytes, max_body: int) -> bytes:
    """Unpack a frame that does not say its size: ``allow_extra_data`` is not looked at there, so look again."""
    body = zstandard.ZstdDecompressor().decompress(packed, max_output_size=max_body + 1)
    check_size(body, max_body)
    frame = _frame(packed)
    if not frame.eof or frame.unused_data:
        raise zstandard.ZstdError("not exactly one frame")
    return body


def _why(packed: bytes, max_body: int) -> Malformed | TooLarge | Truncated:
    """Tell a bomb, a cut frame and a broken one apart: a stream just ends where a frame was cut."""
    size = 0
    try:
        with zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW).stream_reader(packed) as reader:
            while chunk := reader.read(_CHUNK):
                size += len(chunk)
                if size > max_body:
                    return TooLarge(f"the body unpacks to more than {max_body} bytes", field="body")
        if not _frame(packed).eof:
            return Truncated("field 'body': the zstd frame ends early", field="body")
    except zstandard.ZstdError:
        return Malformed("field 'body': not a zstd frame", field="body")
    return Malformed("field 'body': bytes follow the zstd frame", field="body")


def _frame(packed: bytes) -> zstandard.ZstdDecompressionObj:
    """Unpack a frame whose content is known to be small, keeping its end state."""
    frame = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW).decompressobj()
    frame.decompress(packed)
    return frame
