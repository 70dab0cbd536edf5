"""Settings of the C library's allocator for large blocks of memory."""

from __future__ import annotations

import ctypes
from typing import Final

_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
LARGE_BYTES: Final = 256 << 10
ARENAS: Final = 2


def return_large_blocks() -> bool:
    """Have the C library map blocks of 256 KiB and more one by one, and return each to the system
    as soon as it is free.

    By default glibc raises this threshold to as much as 32 MiB after the first such block is freed,
    and gives each thread an arena of its own. Write batches, records and compactions of a large
    state, each short-lived and spread over many threads, then leave as many fragmented arenas.

    Returns
    -------
    bool
        False where the C library has no such settings (musl, macOS); then nothing is changed.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return (
        mallopt is not None
        and mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES) == 1
        and mallopt(_M_ARENA_MAX, ARENAS) == 1
    )
