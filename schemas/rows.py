"""Rows: events as the stages get them, checked, with times in milliseconds and labels as text.

Decoding them from bytes is `decode.py`.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta, Struct, field

from driftline.schemas.events import (
    FeatureValue,
    Latency,
    Offset,
    Partition,
    Probability,
    Revision,
    Status,
    Weight,
)
from driftline.schemas.labels import MAX_FEATURES, MAX_TEXT_CHARACTERS

if TYPE_CHECKING:
    EventTimeMs = int
    TimeMs = int
    LabelText = str
    SegmentText = str
    TagText = str
else:
    # On the wire these have several forms. The decoder accepts them into the row and replaces them
    # by the canonical form in place: a second struct per row would cost as much as the decoding.
    from driftline.schemas.events import Integer
    from driftline.schemas.events import StreamTime as TimeMs
    from driftline.schemas.events import Time as EventTimeMs

    LabelText = TagText = str | Integer | bool | float
    SegmentText = str | Integer | bool

__all__ = ["LossRow", "PredictionRow", "TickRow", "TruthRow", "exceeds_limits"]

# The greatest lengths are not part of these types: a key of a mapping with a greatest length is
# decoded at three times the cost, because msgspec keeps only unconstrained keys.
Name = Annotated[str, Meta(min_length=1)]


class PredictionRow(Struct, kw_only=True, gc=False, forbid_unknown_fields=True):
    """An accepted prediction. Fields as in `events.Prediction`; missing ones are None.

    `timestamp_ms` is in milliseconds since the epoch, `prediction` and the values of `segment` and
    `tags` are canonical text.
    """

    prediction_id: Name
    model_name: Name
    model_version: Name
    timestamp_ms: EventTimeMs = field(name="timestamp")
    prediction: LabelText | None = None
    score: Probability | None = None
    scores: Annotated[dict[str, Probability], Meta(min_length=1)] | None = None
    threshold: Probability | None = None
    features: dict[str, FeatureValue] | None = None
    segment: dict[str, SegmentText] | None = None
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
    timestamp_ms: EventTimeMs = field(name="timestamp")
    source: str | None = None
    revision: Revision = 0
    retracted: bool = False
    weight: Weight = 1.0


class LossRow(Struct, kw_only=True, gc=False, forbid_unknown_fields=True):
    """A loss in a tick. Fields as in `events.Loss`; times are in milliseconds since the epoch."""

    topic: str
    fault: Literal["deleted", "made_anew", "truncated"]
    position: Offset
    resumed_at: Offset
    from_ms: TimeMs = field(name="from")
    until_ms: TimeMs = field(name="until")
    records: Offset | None


class TickRow(Struct, kw_only=True, gc=False, forbid_unknown_fields=True):
    """An accepted tick. Fields as in `events.Tick`; times are in milliseconds since the epoch."""

    timestamp_ms: TimeMs = field(name="timestamp")
    after: dict[str, Offset] | None = None
    ended_ms: TimeMs | None = field(name="ended", default=None)
    reached_ms: TimeMs | None = field(name="reached", default=None)
    settled: Partition | None = None
    lost: list[LossRow] = []


def exceeds_limits(row: PredictionRow | TruthRow) -> bool:
    """Whether a text that becomes a key is too long, or there are too many features.

    Rows whose value has at most `MAX_TEXT_CHARACTERS` bytes cannot, and need not be asked.
    """
    texts: list[object] = [row.prediction_id]
    if isinstance(row, TruthRow):
        texts.append(row.label)
    else:
        texts += (row.model_name, row.model_version, row.prediction)
        if row.features is not None:
            if len(row.features) > MAX_FEATURES:
                return True
            texts += row.features
        if row.segment is not None:
            texts += row.segment
            texts += row.segment.values()
        if row.scores is not None:
            texts += row.scores
    return any(isinstance(text, str) and len(text) > MAX_TEXT_CHARACTERS for text in texts)
