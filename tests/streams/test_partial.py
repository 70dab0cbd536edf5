"""Format of `window-partials`: decoding restores what was encoded, and errors say what is wrong."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from driftline.streams.partial import (
    COUNT_COLUMNS,
    RECENT_COLUMNS,
    Columns,
    LostSpan,
    Partial,
    PartialValue,
    Watermarks,
    decode,
    encode,
)
from driftline.streams.summaries.feature_summary import FeatureSummary
from driftline.streams.summaries.feature_table import FeatureTable
from driftline.streams.summaries.numeric_bins import NumericSummary
from tests.streams.summaries import table_of, tables

texts = st.text(max_size=5)
times = st.integers(0, 1 << 50)


def table(
    wanted: tuple[tuple[str, type[np.generic]], ...], series: int
) -> st.SearchStrategy[Columns]:
    """Columns of one length with any numbers of their types, and existing series."""

    def of_length(rows: int) -> st.SearchStrategy[Columns]:
        numbers = {"series": st.integers(0, max(series - 1, 0))}
        return st.fixed_dictionaries(
            {name: arrays(dtype, rows, elements=numbers.get(name)) for name, dtype in wanted}
        )

    return st.integers(0, 20 if series else 0).flatmap(of_length)


@st.composite
def partials(draw: st.DrawFn) -> Partial:
    series = draw(st.lists(st.tuples(texts, texts, texts), max_size=4))
    features = draw(tables(len(series)))
    return Partial(
        partition=draw(st.integers(0, 1 << 15)),
        series=series,
        labels=draw(st.lists(texts, max_size=4)),
        counts=draw(table(COUNT_COLUMNS, len(series))),
        features=features,
        feature_panes=draw(arrays(np.int64, len(features), elements=times)),
        recent=draw(table(RECENT_COLUMNS, len(series))),
    )


def assert_equal(one: PartialValue, other: PartialValue) -> None:
    for field in one.__struct_fields__:
        ours, theirs = getattr(one, field), getattr(other, field)
        if isinstance(ours, FeatureTable):
            ours, theirs = (
                {name: getattr(table, name) for name in table.__struct_fields__}
                for table in (ours, theirs)
            )
        if not isinstance(ours, dict):
            ours, theirs = {"": ours}, {"": theirs}
        assert ours.keys() == theirs.keys()
        for name, column in ours.items():
            np.testing.assert_array_equal(
                column,
                theirs[name],
                err_msg=f"{field}.{name}",
                strict=isinstance(column, np.ndarray),
            )


@given(partials())
def test_a_partial_survives_encoding(partial: Partial) -> None:
    data = encode(partial)
    assert_equal(decode(data), partial)
    assert encode(decode(data)) == data


@given(
    st.builds(Watermarks, st.integers(0, 99), st.integers(1, 99), times, times, st.none() | times)
)
def test_watermarks_survive_encoding(marks: Watermarks) -> None:
    assert decode(encode(marks)) == marks


@given(
    st.builds(
        LostSpan,
        st.sampled_from(("predictions", "ground-truth")),
        st.integers(0, 99),
        st.integers(0, 2**60),
        times,
        times,
        st.none() | st.integers(0, 2**60),
    )
)
def test_losses_survive_encoding(span: LostSpan) -> None:
    assert decode(encode(span)) == span


def small() -> Partial:
    """One count, one outcome, one feature."""
    return Partial(
        partition=3,
        series=[("churn", "1.0.0", "all")],
        labels=["yes", "no"],
        counts={
            name: np.array([1 if name == "count" else 0], dtype) for name, dtype in COUNT_COLUMNS
        },
        features=table_of([(0, "age", FeatureSummary(NumericSummary.of(np.array([41.0]))))]),
        feature_panes=np.array([60_000]),
        recent={name: np.zeros(1, dtype) for name, dtype in RECENT_COLUMNS},
    )


def test_columns_are_encoded_as_little_endian_blocks() -> None:
    partial = small()
    partial.counts["b"] = np.array([0x01020304], np.uint32)
    plain = msgspec.msgpack.decode(encode(partial))
    assert bytes([4, 3, 2, 1]) in plain[1][4]


@pytest.mark.parametrize(
    "value", [small(), Watermarks(0, 1, 5, 6), LostSpan("predictions", 0, 9, 5, 6, None)]
)
def test_error_for_a_record_of_another_format_names_both_formats(
    value: PartialValue,
) -> None:
    fields = msgspec.msgpack.decode(encode(value))
    for other in ([fields[0] + 1, *fields[1:]], [fields[0] + 1, ["another form"]]):
        with pytest.raises(
            ValueError,
            match=rf"format {fields[0] + 1}, this release reads format {fields[0]}; run the"
            r" same release",
        ):
            decode(msgspec.msgpack.encode(other))


def test_a_truncated_record_is_rejected() -> None:
    data = encode(small())
    for length in range(len(data)):
        with pytest.raises(ValueError, match="damaged"):
            decode(data[:length])


def test_columns_that_do_not_fit_each_other_are_rejected() -> None:
    fields = msgspec.msgpack.decode(encode(small()))
    for place in (4, 7):
        blocks = fields[1][place]
        for wrong in (
            blocks[:-1],
            [*blocks[:-1], blocks[-1] * 2],
            [*blocks[:-1], blocks[-1] + b"x"],
        ):
            damaged = [fields[0], [*fields[1][:place], wrong, *fields[1][place + 1 :]]]
            with pytest.raises(ValueError, match="damaged: "):
                decode(msgspec.msgpack.encode(damaged))


def test_rows_of_a_series_that_is_not_listed_are_rejected() -> None:
    partial = small()
    partial.counts["series"] = np.array([1], np.uint32)
    with pytest.raises(ValueError, match="counts names series 1 of 1"):
        decode(encode(partial))
    partial = small()
    partial.features.series = np.array([1])
    with pytest.raises(ValueError, match="1 feature summaries do not fit its panes or series"):
        decode(encode(partial))


def test_a_column_of_another_type_or_length_is_not_encoded() -> None:
    for wrong in (np.zeros(1, np.int32), np.zeros(2, np.uint8), np.zeros((1, 1), np.uint8)):
        partial = small()
        partial.counts["rung"] = wrong
        with pytest.raises(ValueError, match=r"counts.rung must be uint8 of shape \(1,\), got"):
            encode(partial)
