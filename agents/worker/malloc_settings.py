"""How the C library of the process deals with large pieces of memory."""

from __future__ import annotations

import ctypes
from typing import Final

_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
LARGE_BYTES: Final = 256 << 10
HEAPS: Final = 2


def give_back_large() -> bool:
    """Have the C library take pieces of 256 KiB and more from the system one by one, and give each
    back as soon as it is free.

    By itself glibc raises this limit to as much as 32 MiB after the first such piece, and gives
    each thread a heap of its own. Then write batches, records and compactions of a large state,
    which live on many threads for a moment each, leave as many heaps with holes.

    Returns
    -------
    bool
        False where there are no such settings (musl, macOS); then nothing is changed.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return (
        mallopt is not None
        and mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES) == 1
        and mallopt(_M_ARENA_MAX, HEAPS) == 1
    )
