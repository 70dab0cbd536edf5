"""Every plug-in of the catalogue fulfils its contract, and each check can fail."""

from __future__ import annotations

from typing import ClassVar

import msgspec
import numpy as np
import pytest

from driftline.streams.catalogue import drift_plugins, metric_plugins
from driftline.streams.drift.comparison import DriftTest
from driftline.streams.drift.reference_groups import Summary
from driftline.streams.intervals import Floats, Interval, Ints, divided
from driftline.streams.metrics.counts import Counts
from driftline.streams.metrics.metric import Metric, Proportion
from tests.streams.contracts import check_docstring, check_drift_test, check_metric

FULL = """Share of correct rows.

Returns
-------
In [0, 1].

Examples
--------
>>> 1 + 1
2
"""


@pytest.mark.parametrize("metric", metric_plugins(), ids=lambda metric: metric.name)
def test_metric_fulfils_the_contract(metric: Metric) -> None:
    check_metric(metric)


@pytest.mark.parametrize("test", drift_plugins(), ids=lambda test: test.name)
def test_drift_test_fulfils_the_contract(test: DriftTest) -> None:
    check_drift_test(test)


@pytest.mark.parametrize(
    "plugin", [*metric_plugins(), *drift_plugins()], ids=lambda plugin: plugin.name
)
def test_plugin_is_frozen_and_survives_the_configuration(plugin: Metric | DriftTest) -> None:
    assert plugin.__struct_config__.frozen
    assert msgspec.json.decode(msgspec.json.encode(plugin), type=type(plugin)) == plugin


class Right(Proportion, frozen=True, tag="right"):
    __doc__ = FULL

    def rows(self, counts: Counts) -> tuple[Ints, Ints]:
        return counts.correct, counts.n


class ChangesInput(Right, frozen=True, tag="changes"):
    __doc__ = FULL

    def value(self, counts: Counts) -> Floats:
        counts.n_predictions[:] += 1
        return super().value(counts)


class MixesSeries(Right, frozen=True, tag="mixes"):
    __doc__ = FULL

    def value(self, counts: Counts) -> Floats:
        return (
            divided(counts.correct, counts.n.sum(keepdims=True))
            if counts.n.any()
            else np.full(counts.series, np.nan)
        )

    def interval(self, counts: Counts) -> Interval | None:
        return None


class DividesByZero(Right, frozen=True, tag="divides"):
    __doc__ = FULL

    def value(self, counts: Counts) -> Floats:
        ratio: Floats = counts.correct / counts.n
        return ratio


class WrongShape(Right, frozen=True, tag="shape"):
    __doc__ = FULL

    def value(self, counts: Counts) -> Floats:
        return super().value(counts)[:1]


class ShiftedInterval(Right, frozen=True, tag="shifted"):
    __doc__ = FULL

    def interval(self, counts: Counts) -> Interval | None:
        low, high = super().interval(counts) or (np.zeros(0), np.zeros(0))
        return low + 0.6, high + 0.6


class GrowsWithRows(Right, frozen=True, tag="grows"):
    __doc__ = FULL

    def value(self, counts: Counts) -> Floats:
        return counts.correct.astype(np.float64)

    def interval(self, counts: Counts) -> Interval | None:
        return None


class WithoutReason(Right, frozen=True, tag="without_reason"):
    __doc__ = FULL
    needs: ClassVar[tuple[str, ...]] = ()
    undefined: ClassVar[str] = ""


class WithoutLane(Right, frozen=True, tag="without_lane"):
    __doc__ = FULL
    lanes: ClassVar[tuple[int, ...]] = ()


def test_sound_metric_passes() -> None:
    check_metric(Right())


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (ChangesInput(), "changes its input"),
        (MixesSeries(), "among others"),
        (WrongShape(), "shape"),
        (ShiftedInterval(), "a lower limit above the value"),
        (GrowsWithRows(), "value of doubled counts"),
        (WithoutReason(), "null without a reason"),
        (WithoutLane(), "no lane"),
    ],
    ids=lambda part: part.name if isinstance(part, Metric) else "",
)
def test_planted_fault_in_a_metric_is_caught(fault: Metric, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_metric(fault)


def test_metric_that_warns_is_caught() -> None:
    with pytest.raises(RuntimeWarning, match="invalid value"):
        check_metric(DividesByZero())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no docstring of its own"),
        (FULL.replace("Returns", "Yields"), "no section Returns"),
        (FULL.replace(">>> 1 + 1\n2", "none"), "no example that runs"),
        (FULL.replace("\n2\n", "\n3\n"), "the example gives something else"),
        (FULL, "does not explain strictness"),
    ],
)
def test_incomplete_docstring_is_caught(text: str | None, message: str) -> None:
    parameters, namespace = [("strictness", float, 0.5)], {"__doc__": text}
    plugin = msgspec.defstruct(
        "Sloppy", parameters, bases=(Right,), frozen=True, tag="sloppy", namespace=namespace
    )
    plugin.__module__ = __name__
    with pytest.raises(AssertionError, match=message):
        check_docstring(plugin)


class TooSure(DriftTest, frozen=True, tag="too_sure"):
    """Severe drift for any input.

    Parameters
    ----------
    min_samples, min_effective
        As in `DriftTest`.

    Returns
    -------
    Always "severe".

    Examples
    --------
    >>> 1 + 1
    2
    """

    def judge(
        self, reference: Summary, current: Summary, reference_size: float, current_size: float
    ) -> tuple[float, float, float]:
        return 1.0, 1e-9, 1.0


class SurerWithLess(TooSure, frozen=True, tag="surer_with_less"):
    __doc__ = TooSure.__doc__

    def judge(
        self, reference: Summary, current: Summary, reference_size: float, current_size: float
    ) -> tuple[float, float, float]:
        return 0.0, min(1.0, reference_size / 1e6), 0.0


class Unrepeatable(TooSure, frozen=True, tag="unrepeatable"):
    __doc__ = TooSure.__doc__

    def judge(
        self, reference: Summary, current: Summary, reference_size: float, current_size: float
    ) -> tuple[float, float, float]:
        seen.append(1)
        return float(len(seen)), 1.0, 0.0


seen: list[int] = []


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (TooSure(), "severe between equal summaries"),
        (SurerWithLess(), "fewer independent rows make it more certain"),
        (Unrepeatable(), "another result the second time"),
    ],
    ids=lambda part: part.name if isinstance(part, DriftTest) else "",
)
def test_planted_fault_in_a_drift_test_is_caught(fault: DriftTest, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_drift_test(fault)
