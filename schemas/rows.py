"""Rows: events as the stages get them, checked, with times in milliseconds and labels as text.

Decoding them from bytes is `decode.py`.
"""

from typing import TYPE_CHECKING

from msgspec import Struct, field

from driftline.schemas.events import (
    FeatureValue,
    Latency,
    Name,
    Offset,
    Partition,
    Probability,
    Revision,
    Scores,
    Status,
    Text,
    Weight,
)

if TYPE_CHECKING:
    TimeMs = int
    LabelText = str
    SegmentText = str
    TagText = str
else:
    # On the wire these have several forms. The decoder accepts them into the row and replaces them
    # by the canonical form in place: a second struct per row would cost as much as the decoding.
    from driftline.schemas.events import Label as LabelText
    from driftline.schemas.events import SegmentValue as SegmentText
    from driftline.schemas.events import TagValue as TagText
    from driftline.schemas.events import Time as TimeMs

__all__ = ["PredictionRow", "TickRow", "TruthRow"]


class PredictionRow(Struct, kw_only=True, gc=False, forbid_unknown_fields=True):
    """An accepted prediction. Fields as in `events.Prediction`; missing ones are None.

    `timestamp_ms` is in milliseconds since the epoch, `prediction` and the values of `segment` and
    `tags` are canonical text.
    """

    prediction_id: Name
    model_name: Name
    model_version: Name
    timestamp_ms: TimeMs = field(name="timestamp")
    prediction: LabelText | None = None
    score: Probability | None = None
    scores: Scores | None = None
    threshold: Probability | None = None
    features: dict[Text, FeatureValue] | None = None
    segment: dict[Text, SegmentText] | None = None
    latency_ms: Latency | None = None
    status: Status = "ok"
    environment: str | None = None
    variant: str | None = None
    tags: dict[str, TagText] | None = None


class TruthRow(Struct, kw_only=True, gc=False, forbid_unknown_fields=True):
    """An accepted truth. Fields as in `events.GroundTruth`; `label` is None exactly if `retracted`
    is true.
    """

    prediction_id: Name
    label: LabelText | None = None
    timestamp_ms: TimeMs = field(name="timestamp")
    source: str | None = None
    revision: Revision = 0
    retracted: bool = False
    weight: Weight = 1.0


class TickRow(Struct, kw_only=True, gc=False, forbid_unknown_fields=True):
    """An accepted tick. Fields as in `events.Tick`; times are in milliseconds since the epoch."""

    timestamp_ms: TimeMs = field(name="timestamp")
    after: dict[str, Offset] | None = None
    ended_ms: TimeMs | None = field(name="ended", default=None)
    reached_ms: TimeMs | None = field(name="reached", default=None)
    settled: Partition | None = None
