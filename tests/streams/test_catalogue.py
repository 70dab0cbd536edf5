"""The catalogue needs nothing but the file of a plug-in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from driftline.streams.catalogue import drift_plugins, metric_plugins
from driftline.streams.metrics.counts import Counts
from tests.streams.contracts import check_metric

OWN_METRIC = '''
"""Negative predictive value: the share of predicted negatives that are negative."""

from typing import ClassVar

from driftline.streams.metrics.metric import Proportion


class NegativePredictiveValue(Proportion, frozen=True, tag="npv"):
    """Share of the predicted negatives that are negative: tn / (tn + fn).

    Returns
    -------
    In [0, 1], with Wilson's interval; null without predicted negatives.

    Examples
    --------
    >>> import numpy as np
    >>> from driftline.streams.metrics.counts import Counts
    >>> counts = Counts(
    ...     labels=("no", "yes"),
    ...     positive=1,
    ...     matrix=np.array([[[50, 10], [5, 35]]]),
    ...     n_predictions=np.array([120]),
    ... )
    >>> NegativePredictiveValue().value(counts).round(4).tolist()
    [0.9091]
    """

    binary: ClassVar[bool] = True
    undefined: ClassVar[str] = "nothing predicted negative"

    def rows(self, counts):
        tn, _, fn, _ = counts.binary_cells()
        return tn, tn + fn
'''


def test_metrics_and_drift_tests_are_ordered_by_name() -> None:
    for plugins in (metric_plugins(), drift_plugins()):
        names = [plugin.name for plugin in plugins]
        assert names == sorted(names)
        assert len(names) == len(dict.fromkeys(names))


def test_new_metric_is_one_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "own_metrics"
    folder.mkdir()
    (folder / "npv.py").write_text(OWN_METRIC)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = {metric.name for metric in metric_plugins()}
    own = {metric.name: metric for metric in metric_plugins(["own_metrics"])}
    assert own.keys() - before == {"npv"}
    check_metric(own["npv"])
    counts = Counts(
        labels=("no", "yes"),
        positive=1,
        matrix=np.array([[[50, 10], [5, 35]]]),
        n_predictions=np.array([120]),
    )
    assert own["npv"].value(counts).tolist() == [50 / 55]


def test_two_plugins_with_one_name_are_rejected_with_both_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "clashing_metrics.py").write_text(OWN_METRIC.replace('tag="npv"', 'tag="f1"'))
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(
        ValueError,
        match=r'"f1" is taken by driftline\.streams\.metrics\.f1\.F1; give clashing_metrics\.Neg',
    ):
        metric_plugins(["clashing_metrics"])


def test_package_that_cannot_be_imported_is_named() -> None:
    with pytest.raises(ValueError, match='cannot import "no_such_metrics"'):
        metric_plugins(["no_such_metrics"])
