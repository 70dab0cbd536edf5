"""How the C library of the process deals with large pieces of memory."""

from __future__ import annotations

import ctypes
from typing import Final

_M_MMAP_THRESHOLD: Final = -3
LARGE_BYTES: Final = 1 << 20


def give_back_large() -> bool:
    """Have the C library take pieces of 1 MiB and more from the system one by one, and give each back as soon as it is free.

    By itself glibc raises this limit to as much as 32 MiB after the first such piece. Then write batches, records and compactions of a
    large state, which live on many threads for a moment each, lie in as many heaps with holes of their size.

    Returns
    -------
    bool
        False where there is no such setting (musl, macOS); then nothing is changed.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES) == 1
