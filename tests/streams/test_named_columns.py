"""Named values as arrays: each row has the values of its mapping."""

from __future__ import annotations

from typing import Any
from unittest import mock

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from driftline.streams import named_columns
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


few = st.sampled_from([1, 2, 4, 16])
"""A name has a column if one row in so many has it: with 1, only the names that all rows have."""


@given(rows, few)
def test_rows_have_the_values_of_their_mappings(
    row_mappings: list[dict[str, Any] | None], few: int
) -> None:
    with mock.patch.object(named_columns, "FEW", few):
        named = Named.of(row_mappings)
    assert mappings_of(named) == [expected(row) for row in row_mappings]
    assert named.words == list(dict.fromkeys(named.words))
    assert named.hashes().tolist() == [int(Named.of([row]).hashes()[0]) for row in row_mappings]
    for name in "abc":
        words = named.texts_of(name)
        texts = [None] * len(named) if words is None else [[*named.words, None][w] for w in words]
        of_rows = (expected(row).get(name) for row in row_mappings)
        assert texts == [text if isinstance(text, str) else None for text in of_rows]


@given(st.lists(rows, min_size=1, max_size=4), few, few, st.data())
def test_parts_are_joined_and_rows_selected(
    parts: list[list[dict[str, Any] | None]], few: int, few_together: int, data: st.DataObject
) -> None:
    whole = [row for part in parts for row in part]
    with mock.patch.object(named_columns, "FEW", few):
        of_parts = [Named.of(part) for part in parts]
    with mock.patch.object(named_columns, "FEW", few_together):
        named = Named.concatenate(of_parts)
    assert mappings_of(named) == [expected(row) for row in whole]
    assert named.hashes().tolist() == Named.of(whole).hashes().tolist()
    at = data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=5)) if whole else []
    assert mappings_of(named.take(np.array(at, np.int64))) == [expected(whole[i]) for i in at]
    assert mappings_of(named.take(slice(1, 3))) == [expected(row) for row in whole[1:3]]


def test_names_of_few_rows_take_no_column() -> None:
    rows = [{"age": i, "plan": "pro"} for i in range(2_000)]
    wide = [{f"n{i}_{k}": k for k in range(500)} for i in range(20)]
    named = Named.concatenate([Named.of(rows[:1_000] + wide), Named.of(rows[1_000:])])
    assert (named.numeric, named.textual) == (["age"], ["plan"])
    assert len(named.few) == 20 * 500
    single = Named.concatenate([Named.of(rows), *(Named.of([row]) for row in wide)])
    assert (single.numeric, single.textual) == (["age"], ["plan"])
    assert mappings_of(single)[-20:] == [expected(row) for row in wide]
