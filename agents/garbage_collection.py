"""How often the interpreter looks for garbage that counting references does not free."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

NEW_OBJECTS: Final = 20_000


@contextmanager
def rarely_collecting() -> Iterator[None]:
    """Meanwhile, have the collector run after 20,000 new containers instead of 700.

    A read makes a mapping or two for each of its 2,000 rows, all of them gone before the next read,
    and none of them in a cycle: by default the collector looks through them six times a read.
    """
    before = gc.get_threshold()
    gc.set_threshold(NEW_OBJECTS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
