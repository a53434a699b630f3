"""Texts that are nearly the same: what is kept of a text to find them and to tell.

A text is a sequence of tokens, the words of its normalised body without case and punctuation; of scripts without blanks
each ideograph, kana or Hangul syllable. Two things are kept of it:

- *Values*: 128 minimal hashes of its pairs of neighbouring tokens, eight bits of each ("b-bit minwise hashing", Li and
  König 2010). The share of equal ones estimates the Jaccard similarity of the sets of pairs.
- *Keys*, by which similar texts are found: the ten pairs with the least hashes are *anchors*, which a text that was
  edited mostly still has, and a key is the hash of the six tokens that an anchor begins ("spot signatures", Theobald
  and others 2008, with anchors by hash). Texts that share one of ten keys are compared.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from operator import add
from typing import Final

from rensa import RMinHash

from tasks.steps.fingerprint import normalise

VERSION: Final = 1  # of everything that a sketch depends on; one of another version is similar to none
LEAST_TOKENS: Final = 50  # a shorter text has too few pairs to be estimated by; it has exact duplicates only
MOST_CHARACTERS: Final = 100_000  # of a text that are looked at
THRESHOLD: Final = 0.45  # the estimated similarity from which on texts are nearly the same

_VERSION: Final = bytes((VERSION,))
_VALUES: Final = 128
_ANCHORS: Final = 10
_CONTEXT: Final = 6  # tokens
_SEED: Final = 1
_CHANCE: Final = 1 / 256  # that two values of eight bits are equal
_UPPER: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_ASCII_MARKS: Final = b"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
_PLAIN: Final = bytes.maketrans(_UPPER + _ASCII_MARKS, _UPPER.lower() + b" " * len(_ASCII_MARKS))
# Punctuation of Latin-1, of all scripts, Arabic, Indic, CJK, and the wide forms of ASCII.
_MARKS: Final = re.compile(
    "[\u00a1\u00a7\u00ab\u00b6\u00b7\u00bb\u00bf\u2010-\u205e\u060c\u061b\u061f\u06d4\u0964\u0965\u3000-\u303f"
    "\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65]+"
)
_SYLLABLE: Final = re.compile(
    "[\u1100-\u11ff\u3040-\u30ff\u3130-\u318f\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
    "\uff66-\uffdc\U00020000-\U0003ffff]"
)
_as_values: Final = struct.Struct(f"<{_VALUES}I")
_HEAD: Final = 1 + _VALUES


def sketch(paragraphs: Sequence[str]) -> bytes | None:
    """Return what is kept of a text: version, values, keys; 209 bytes, or less where it repeats itself.

    None where it is too short to tell.
    """
    words = tokens(paragraphs)
    if len(words) < LEAST_TOKENS:
        return None
    pairs = list(map(add, words, words[1:]))
    minimal = RMinHash(num_perm=_VALUES, seed=_SEED)
    minimal.update(pairs)
    contexts = [b" ".join(words[at : at + _CONTEXT]) for at in _anchors(pairs)]
    found = _hashes(contexts)
    return _VERSION + _as_values.pack(*minimal.digest())[::4] + struct.pack(f"<{len(found)}Q", *found)


def tokens(paragraphs: Sequence[str]) -> list[bytes]:
    """Return the tokens of a text in UTF-8."""
    text = normalise(" ".join(paragraphs)[:MOST_CHARACTERS]).casefold()
    if not text.isascii():
        text = _SYLLABLE.sub(r" \g<0> ", _MARKS.sub(" ", text))
    return text.encode(errors="replace").translate(_PLAIN).split()


def keys(of: bytes) -> tuple[int, ...]:
    """Return the keys of a sketch, as signed 64-bit numbers; none where its version is another one."""
    if of[:1] != _VERSION:
        return ()
    return tuple(dict.fromkeys(struct.unpack(f"<{(len(of) - _HEAD) // 8}q", of[_HEAD:])))


def similarity(one: bytes, other: bytes) -> float:
    """Return the estimated Jaccard similarity of two sketches, from 0 to 1."""
    if one[:1] != _VERSION or other[:1] != _VERSION:
        return 0.0
    differing = int.from_bytes(one[1:_HEAD]) ^ int.from_bytes(other[1:_HEAD])  # all at once
    equal = differing.to_bytes(_VALUES).count(0)
    return max(0.0, (equal / _VALUES - _CHANCE) / (1 - _CHANCE))


def _anchors(pairs: Sequence[bytes]) -> list[int]:
    """Return where the pairs with the least hashes stand first."""
    hashes = _hashes(pairs)
    bound = (3 * _ANCHORS << 64) // len(hashes)  # most are above it, and need not be sorted
    return _least(hashes, bound) or _least(hashes, 1 << 64)


def _least(hashes: Sequence[int], bound: int) -> list[int]:
    first: dict[int, int] = {}
    for value, at in sorted([(value, at) for at, value in enumerate(hashes) if value < bound]):
        first.setdefault(value, at)
    return list(first.values())[:_ANCHORS] if len(first) >= _ANCHORS or bound >> 64 else []


def _hashes(of: Sequence[bytes]) -> list[int]:
    found: list[int] = RMinHash.hash_token_sets([of])[0]
    return found
