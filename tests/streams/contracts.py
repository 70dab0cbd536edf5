"""Contract of every plug-in, as checks that raise AssertionError with its name.

`test_contract.py` runs them on every plug-in of the catalogue and shows that each check fails on a
planted fault.
"""

from __future__ import annotations

import doctest
import inspect
import warnings
from collections.abc import Iterator
from dataclasses import fields, replace
from types import ModuleType

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftline.streams.drift.comparison import DriftTest
from driftline.streams.intervals import Interval
from driftline.streams.lanes import ARRIVALS, DECISIONS, TRAFFIC
from driftline.streams.metrics.counts import Counts, SparseHistogram
from driftline.streams.metrics.metric import Metric
from driftline.streams.metrics.score_cells import ScoreCells
from driftline.streams.summaries import loglinear
from tests.streams.rows import score_cells
from tests.streams.summaries import pairs

Column = NDArray[np.int64] | SparseHistogram | ScoreCells


def full_counts(seed: int, labels: tuple[str, ...], series: int = 12) -> Counts:
    """Counts with all fields. The first series is empty, the second has only predictions, the third
    only one class.
    """
    rng = np.random.default_rng(seed)
    k = len(labels)
    matrix = rng.integers(0, 60, (series, k, k))
    matrix[:2] = 0
    matrix[2, 1:] = 0
    cells: list[tuple[int, float, bool]] = []
    sums = np.zeros((2, series, k), dtype=np.int64)
    for s in range(series):
        for label in range(k):
            scores = rng.beta(2 + label, 3, int(matrix[s, label].sum()))
            cells += [(s, score, label == 1) for score in scores.tolist()]
            sums[:, s, label] = round(scores.sum() * 1e6), round((scores**2).sum() * 1e6)
    n = matrix.sum(axis=(1, 2))
    predictions = n + rng.integers(0, 50, series)
    predictions[0], predictions[1] = 0, 9
    bins = loglinear.bin_of(np.array([3, 90, 1500, 40_000]))
    histogram = SparseHistogram(
        bins, rng.integers(1, 30, (series, len(bins))) * (predictions > 0)[:, np.newaxis]
    )
    return Counts(
        labels=labels,
        positive=1 if k == 2 else None,
        matrix=matrix,
        n_predictions=predictions,
        errors=predictions // 7,
        score_cells=score_cells(series, cells) if k == 2 else None,
        score_sum=sums[0] if k == 2 else None,
        score_squares=sums[1] if k == 2 else None,
        delay=histogram,
        latency=histogram,
        window_ms=np.full(series, 3_600_000),
    )


def examples() -> Iterator[Counts]:
    """Two and three labels with all fields, one label, no label, matrices alone."""
    for seed in range(3):
        yield full_counts(seed, ("no", "yes"))
        yield full_counts(seed, ("a", "b", "c"))
    bare = full_counts(3, ("no", "yes"))
    yield Counts(
        labels=bare.labels, positive=1, matrix=bare.matrix, n_predictions=bare.n_predictions
    )
    yield Counts(
        labels=("only",),
        positive=None,
        matrix=np.array([[[0]], [[5]]]),
        n_predictions=np.array([0, 7]),
    )
    yield Counts(
        labels=(),
        positive=None,
        matrix=np.zeros((3, 0, 0), dtype=np.int64),
        n_predictions=np.array([0, 1, 500]),
    )


def rows_of(counts: Counts, at: slice) -> Counts:
    """The same counts for the series in `at`."""
    return replace(counts, **{name: _cut(value, at) for name, value in _arrays(counts)})


def times(counts: Counts, factor: int) -> Counts:
    """Every row `factor` times."""
    scaled = {}
    for name, value in _arrays(counts):
        if name != "window_ms":
            scaled[name] = (
                SparseHistogram(value.bins, value.counts * factor)
                if isinstance(value, SparseHistogram)
                else replace(
                    value, negatives=value.negatives * factor, positives=value.positives * factor
                )
                if isinstance(value, ScoreCells)
                else value * factor
            )
    return replace(counts, **scaled)


def check_metric(metric: Metric) -> None:
    """Check the contract of a metric."""
    check_docstring(type(metric))
    assert set(metric.lanes) <= {TRAFFIC, DECISIONS, ARRIVALS}, (
        f"{metric.name}: unknown lane in {metric.lanes}"
    )
    assert metric.lanes, f"{metric.name}: no lane"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for counts in examples():
            before = _bytes(counts)
            values, interval, bounds = (
                metric.value(counts),
                metric.interval(counts),
                metric.bounds(counts),
            )
            assert _bytes(counts) == before, f"{metric.name}: changes its input"
            assert values.shape == (counts.series,), (
                f"{metric.name}: shape {values.shape} for {counts.series} series"
            )
            assert values.dtype == np.float64, f"{metric.name}: {values.dtype} instead of float64"
            assert not np.isinf(values).any(), f"{metric.name}: infinite value"
            # Bounds may exist without a value: without truths everything is possible.
            assert interval is None or np.isnan(interval[0][np.isnan(values)]).all(), (
                f"{metric.name}: an interval without a value"
            )
            for limits in (interval, bounds):
                if limits is not None:
                    check_limits(metric, values, limits)
            check_series_do_not_mix(metric, counts, values, interval)
            if metric.unit != "1/s":
                check_rows_twice(metric, counts, values, interval)
            assert all(metric.null_reasons(counts, np.flatnonzero(np.isnan(values)))), (
                f"{metric.name}: null without a reason"
            )


def check_docstring(plugin: type[msgspec.Struct]) -> None:
    """The docstring has a range, a runnable example, and every parameter."""
    text, name = inspect.getdoc(plugin) or "", plugin.__name__
    assert plugin.__doc__ is not None, f"{name}: no docstring of its own"
    for section in ("Returns\n-------", "Examples\n--------"):
        assert section in text, f"{name}: the docstring has no section {section.split()[0]}"
    module = inspect.getmodule(plugin)
    assert isinstance(module, ModuleType)
    tests = doctest.DocTestFinder(recurse=False).find(plugin, name, module=module)
    assert any(test.examples for test in tests), f"{name}: no example that runs"
    for test in tests:
        failed = (
            doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
            .run(test, out=lambda _: None)
            .failed
        )
        assert failed == 0, f"{name}: the example gives something else"
    for parameter in plugin.__struct_fields__:
        assert parameter in text, f"{name}: the docstring does not explain {parameter}"


def check_limits(metric: Metric, values: NDArray[np.float64], limits: Interval) -> None:
    """Limits enclose the value, and those of a share are within [0, 1]."""
    low, high = limits
    known = ~np.isnan(low) & ~np.isnan(high)
    assert low.shape == high.shape == values.shape, (
        f"{metric.name}: limits of another shape than the value"
    )
    known &= ~np.isnan(values)
    assert (low[known] <= values[known] + 1e-12).all(), (
        f"{metric.name}: a lower limit above the value"
    )
    assert (high[known] >= values[known] - 1e-12).all(), (
        f"{metric.name}: an upper limit below the value"
    )
    if metric.unit == "share":
        inside = (low[known] >= -1e-12).all() and (high[known] <= 1 + 1e-12).all()
        assert inside, f"{metric.name}: limits of a share outside [0, 1]"


def check_series_do_not_mix(
    metric: Metric, counts: Counts, values: NDArray[np.float64], interval: Interval | None
) -> None:
    """All series at once give the same bits as each alone: a figure must not depend on which
    windows are computed together.
    """
    for series in range(counts.series):
        alone = rows_of(counts, slice(series, series + 1))
        one, many = metric.value(alone), values[series : series + 1]
        assert np.array_equal(one, many, equal_nan=True), (
            f"{metric.name}: value {one} alone, {many} among others"
        )
        if interval is not None:
            limits = metric.interval(alone)
            assert limits is not None, (
                f"{metric.name}: an interval for many series and none for one"
            )
            for limit, limits_of_all in zip(limits, interval, strict=True):
                many = limits_of_all[series : series + 1]
                assert np.array_equal(limit, many, equal_nan=True), (
                    f"{metric.name}: limit {limit} alone, {many} among others"
                )


def check_rows_twice(
    metric: Metric, counts: Counts, values: NDArray[np.float64], interval: Interval | None
) -> None:
    """Every row twice leaves the value unchanged and widens no interval: a metric is a function of
    shares.
    """
    twice = times(counts, 2)
    _same(metric, "value of doubled counts", metric.value(twice), values)
    limits = metric.interval(twice)
    if interval is not None and limits is not None:
        widths, narrower = interval[1] - interval[0], limits[1] - limits[0]
        known = ~np.isnan(widths)
        assert (narrower[known] <= widths[known] + 1e-12).all(), (
            f"{metric.name}: twice the rows widen the interval"
        )


def check_drift_test(test: DriftTest) -> None:
    """Check the contract of a drift test."""
    check_docstring(type(test))
    assert list(test.cutoffs) == sorted(test.cutoffs), f"{test.name}: cut-offs do not rise"
    for reference, current, same in pairs():
        before = reference.to_dict(), current.to_dict()
        result = test.compare(reference, current)
        assert (reference.to_dict(), current.to_dict()) == before, f"{test.name}: changes its input"
        if result is None:
            continue
        assert result == test.compare(reference, current), (
            f"{test.name}: another result the second time"
        )
        assert (result.n_reference, result.n_current) == (reference.total, current.total), (
            f"{test.name}: wrong sizes"
        )
        if min(reference.total, current.total) < test.min_samples:
            assert result.level == "insufficient_data", (
                f"{test.name}: a verdict from too few samples"
            )
        if result.p_value is not None:
            assert 0 <= result.p_value <= 1, f"{test.name}: p-value {result.p_value}"
            weaker = test.compare(
                reference,
                current,
                reference_size=reference.total / 3,
                current_size=current.total / 3,
            )
            assert weaker is not None, f"{test.name}: no result at a smaller effective size"
            assert weaker.p_value is None or weaker.p_value >= result.p_value, (
                f"{test.name}: fewer independent rows make it more certain"
            )
        if same:
            assert result.level in ("none", "insufficient_data", "identifier"), (
                f"{test.name}: {result.level} between equal summaries"
            )


def _same(metric: Metric, what: str, one: NDArray[np.float64], other: NDArray[np.float64]) -> None:
    assert np.allclose(one, other, rtol=1e-12, atol=1e-15, equal_nan=True), (
        f"{metric.name}: {what} {one} instead of {other}"
    )


def _arrays(counts: Counts) -> Iterator[tuple[str, Column]]:
    for field in fields(counts):
        value = getattr(counts, field.name)
        if isinstance(value, np.ndarray | SparseHistogram | ScoreCells):
            yield field.name, value


def _cut(value: Column, at: slice) -> Column:
    if isinstance(value, ScoreCells):
        return ScoreCells.joined([(value, number) for number in range(value.series_count)[at]])
    return (
        SparseHistogram(value.bins, value.counts[at])
        if isinstance(value, SparseHistogram)
        else value[at]
    )


def _bytes(counts: Counts) -> list[bytes]:
    return [
        part.tobytes()
        for _, value in _arrays(counts)
        for part in (
            (value.counts,)
            if isinstance(value, SparseHistogram)
            else (value.series, value.bins, value.negatives, value.positives)
            if isinstance(value, ScoreCells)
            else (value,)
        )
    ]
