"""Feature summaries as columns: sums, selections and encoding."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.streams.summaries.feature_summary import FeatureSummary
from driftline.streams.summaries.feature_table import (
    EMPTY,
    FORMAT,
    FeatureTable,
    concatenate_tables,
)
from driftline.streams.summaries.numeric_bins import NumericSummary
from driftline.streams.summaries.text_summary import StringSummary
from tests.streams.summaries import names, summary_of, table_of, tables, values

Rows = list[tuple[int, str, FeatureSummary]]
Values = tuple[list[float], list[str]]


def rows_of(table: FeatureTable) -> Rows:
    return [
        (*key, summary)
        for part in table.split(range(len(table) + 1))
        for key, summary in part.summaries().items()
    ]


@given(st.lists(st.lists(st.tuples(st.integers(0, 3), names, values), max_size=6), max_size=4))
def test_tables_add_up_to_the_summaries_of_all_their_values(
    parts: list[list[tuple[int, str, Values]]],
) -> None:
    all_values: dict[tuple[int, str], Values] = {}
    for series, name, (numbers, texts) in (row for part in parts for row in part):
        all_numbers, all_texts = all_values.setdefault((series, name), ([], []))
        all_numbers.extend(numbers)
        all_texts.extend(texts)
    made = [
        table_of([(series, name, summary_of(*drawn)) for series, name, drawn in part])
        for part in parts
    ]
    added = concatenate_tables(made).summed()
    assert added.summaries() == {key: summary_of(*drawn) for key, drawn in all_values.items()}
    assert len(added) == len(all_values)
    assert (
        concatenate_tables(
            [concatenate_tables(made[:1]).summed(), concatenate_tables(made[1:]).summed()]
        )
        .summed()
        .summaries()
        == added.summaries()
    )


def test_only_groups_with_too_many_bins_or_texts_become_coarser() -> None:
    draw = np.random.default_rng(3)
    parts = [draw.normal(size=400) for _ in range(4)]
    texts = [[f"user {number}" for number in draw.integers(0, 5000, 900)] for _ in range(4)]
    rows = [(0, "x", summary_of(part, words)) for part, words in zip(parts, texts, strict=True)]
    summaries = table_of([*rows, (1, "x", rows[0][2])]).summed().summaries()
    assert summaries == {
        (0, "x"): summary_of(
            np.concatenate(parts).tolist(), [text for words in texts for text in words]
        ),
        (1, "x"): rows[0][2],
    }
    assert (summaries[0, "x"].numbers.shift > 0, summaries[0, "x"].texts.identifier) == (True, True)
    assert (summaries[1, "x"].numbers.shift, summaries[1, "x"].texts.identifier) == (0, False)


@given(tables(3))
def test_a_table_survives_encoding(table: FeatureTable) -> None:
    read = FeatureTable.decode(table.encode())
    assert (read.names, read.words, rows_of(read)) == (table.names, table.words, rows_of(table))
    assert read.encode() == table.encode()


def test_counts_of_any_size_are_encoded() -> None:
    for count in (1, 255, 256, 65_536, 1 << 40):
        rows = [
            (
                0,
                "x",
                FeatureSummary(
                    NumericSummary(0, np.array([7]), np.array([count])),
                    StringSummary(0, {"a": count}, count),
                ),
            )
        ]
        assert rows_of(FeatureTable.decode(table_of(rows).encode())) == rows


@given(tables(3), st.data())
def test_rows_are_selected_with_their_bins_and_texts(
    table: FeatureTable, data: st.DataObject
) -> None:
    rows = rows_of(table)
    at = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=9)) if rows else []
    assert rows_of(table.take(np.array(at, np.int64))) == [rows[i] for i in at]
    edges = [0, *sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=3))), len(rows)]
    assert [rows_of(part) for part in table.split(edges)] == [
        rows[begin:end] for begin, end in pairwise(edges)
    ]


@given(tables(3), tables(3))
def test_a_trimmed_table_has_the_names_and_words_of_its_rows(
    one: FeatureTable, other: FeatureTable
) -> None:
    both = concatenate_tables([one, other])
    part = both.split([0, len(one)])[0].trimmed()
    assert rows_of(part) == rows_of(one)
    assert sorted(part.names) == sorted({name for _, name, _ in rows_of(one)})
    assert sorted(part.words) == sorted(
        {text for *_, summary in rows_of(one) for text in summary.texts.values}
    )


def test_no_tables_join_to_an_empty_one() -> None:
    assert concatenate_tables([]).summed().summaries() == EMPTY.summaries() == {}
    assert rows_of(concatenate_tables([EMPTY, table_of([(2, "x", summary_of([1.0], []))])])) == [
        (2, "x", summary_of([1.0], []))
    ]


def test_other_formats_and_damaged_tables_are_rejected() -> None:
    table = table_of([(0, "age", summary_of([1.0, 2.0], ["n/a"]))])
    fields = msgspec.msgpack.decode(table.encode())
    with pytest.raises(ValueError, match=f"format 99, this release reads format {FORMAT}"):
        FeatureTable.decode(msgspec.msgpack.encode([99, *fields[1:]]))
    nameless = [*fields[:1], [], *fields[2:]]
    rowless = [*fields[:3], [b""] * len(fields[3]), *fields[4:]]
    truncated = [*fields[:4], fields[4][:-8], *fields[5:]]
    for damaged in (nameless, rowless, truncated):
        with pytest.raises(ValueError, match="damaged"):
            FeatureTable.decode(msgspec.msgpack.encode(damaged))
