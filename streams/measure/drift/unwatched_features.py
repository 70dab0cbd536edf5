"""What is told about the features that are not watched for drift.

Which those are is `driftline.streams.summaries.feature_limits` and `profiles.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

import msgspec

from driftline.streams.lanes import ALL
from driftline.streams.measure.counts.model import MeasuredModel
from driftline.streams.summaries.feature_limits import LEFT_OUT
from driftline.streams.summaries.feature_table import FeatureTable

UNWATCHED_FEATURES: Final = "unwatched-features"
"""Side output of stage 2: records for the driver's log, which are written to no topic."""


class UnwatchedFeatures(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Values of the features of a version that are not watched, in a span of time.

    Attributes
    ----------
    reason
        - crowded: the span has more features than are kept; those of the fewest rows are left out.
        - rare: the span is the reference, and hardly any row of it has the feature.
    start_ms, end_ms
        The span: start (included) and end (excluded).
    values
        Number of values.
    example
        The name of a feature; "" if none is known.
    """

    model_name: str
    model_version: str
    reason: Literal["crowded", "rare"]
    start_ms: int
    end_ms: int
    values: int
    example: str


def left_out_features(
    model: MeasuredModel, before: FeatureTable, after: FeatureTable, start_ms: int, end_ms: int
) -> Iterator[UnwatchedFeatures]:
    """What the summaries of a span leave out, by version; `before` may have features that left."""
    rest = after.feature == after.names.index(LEFT_OUT)
    for series, values in zip(after.series[rest].tolist(), after.total[rest].tolist(), strict=True):
        version, segment = model.series.names[series]
        if segment == ALL:
            kept = set(_names_of(after, series))
            gone = (name for name in _names_of(before, series) if name not in kept)
            yield UnwatchedFeatures(
                model_name=model.name,
                model_version=version,
                reason="crowded",
                start_ms=start_ms,
                end_ms=end_ms,
                values=values,
                example=min(gone, default=""),
            )


def _names_of(table: FeatureTable, series: int) -> list[str]:
    features = table.feature[table.series == series].tolist()
    return list(map(table.names.__getitem__, features))
