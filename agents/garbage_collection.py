"""Thresholds of the cyclic garbage collector."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

NEW_OBJECTS: Final = 20_000


@contextmanager
def rarely_collecting() -> Iterator[None]:
    """Within the context, collect after 20,000 new containers instead of 700.

    A read makes one or two mappings for each of its 2,000 rows. None is part of a cycle and all are
    freed before the next read, but by default the collector scans them six times per read.
    """
    before = gc.get_threshold()
    gc.set_threshold(NEW_OBJECTS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
