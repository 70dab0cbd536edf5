"""The garbage collector runs less often within the context, and as before after it."""

from __future__ import annotations

import gc

import pytest

from driftline.agents.garbage_collection import NEW_OBJECTS, rarely_collecting


def test_the_threshold_is_restored_after_success_and_after_an_error() -> None:
    before = gc.get_threshold()
    with rarely_collecting():
        assert gc.get_threshold() == (NEW_OBJECTS, *before[1:])
        assert gc.isenabled()
    assert gc.get_threshold() == before
    with pytest.raises(OSError, match="disk full"), rarely_collecting():
        raise OSError("disk full")
    assert gc.get_threshold() == before
