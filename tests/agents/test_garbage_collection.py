"""The garbage collector runs less often meanwhile, and as before afterwards."""

from __future__ import annotations

import gc

import pytest

from driftline.agents.garbage_collection import NEW_OBJECTS, rarely_collecting


def test_the_collector_is_as_before_afterwards_whatever_happened() -> None:
    before = gc.get_threshold()
    with rarely_collecting():
        assert gc.get_threshold() == (NEW_OBJECTS, *before[1:])
        assert gc.isenabled()
    assert gc.get_threshold() == before
    with pytest.raises(OSError, match="disk full"), rarely_collecting():
        raise OSError("disk full")
    assert gc.get_threshold() == before
