"""Named values as arrays: each row has the values of its mapping."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from driftline.streams.named_columns import Named
from tests.streams.named_rows import mappings_of

texts = st.text(max_size=3)
mappings = st.none() | st.dictionaries(
    st.sampled_from("abc"),
    st.none()
    | st.booleans()
    | st.floats(allow_nan=False)
    | st.integers(-(1 << 60), 1 << 60)
    | texts,
)
rows = st.lists(mappings, max_size=8)


def expected(mapping: dict[str, Any] | None) -> dict[str, Any]:
    plain = {
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in (mapping or {}).items()
    }
    return {
        name: float(value) if isinstance(value, int) else value
        for name, value in plain.items()
        if value is not None
    }


@given(rows)
def test_rows_have_the_values_of_their_mappings(row_mappings: list[dict[str, Any] | None]) -> None:
    named = Named.of(row_mappings)
    assert mappings_of(named) == [expected(row) for row in row_mappings]
    assert named.words == list(dict.fromkeys(named.words))


@given(st.lists(rows, min_size=1, max_size=4), st.data())
def test_parts_are_joined_and_rows_selected(
    parts: list[list[dict[str, Any] | None]], data: st.DataObject
) -> None:
    whole = [row for part in parts for row in part]
    named = Named.concatenate([Named.of(part) for part in parts])
    assert mappings_of(named) == [expected(row) for row in whole]
    at = data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=5)) if whole else []
    assert mappings_of(named.take(np.array(at, np.int64))) == [expected(whole[i]) for i in at]
    assert mappings_of(named.take(slice(1, 3))) == [expected(row) for row in whole[1:3]]
