"""What comes in: predictions, their truths, and ticks, as they stand on the topics.

These types are for writing events and for the published schemas. Reading, with the other accepted
names and all refusals, is `decode.py`.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from driftline.schemas.labels import MAX_LABEL_INTEGER
from driftline.schemas.times import MAX_TIME_MS

__all__ = [
    "FeatureValue",
    "GroundTruth",
    "Label",
    "Latency",
    "Name",
    "Offset",
    "Partition",
    "Prediction",
    "Probability",
    "Revision",
    "Scores",
    "SegmentValue",
    "Status",
    "Tick",
    "Time",
    "Weight",
]

Name = Annotated[str, Meta(min_length=1)]
Time = (
    Annotated[
        str, Meta(extra_json_schema={"format": "date-time"}, description="RFC 3339, any offset")
    ]
    | Annotated[
        int, Meta(ge=0, le=MAX_TIME_MS, description="milliseconds since 1970-01-01T00:00:00Z")
    ]
)
Probability = Annotated[float, Meta(ge=0, le=1)]
Label = str | Annotated[int, Meta(ge=-MAX_LABEL_INTEGER, le=MAX_LABEL_INTEGER - 1)] | bool | float
SegmentValue = str | Annotated[int, Meta(ge=-MAX_LABEL_INTEGER, le=MAX_LABEL_INTEGER - 1)] | bool
FeatureValue = float | str | bool | None
Status = Literal["ok", "error"]
Revision = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Offset = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Partition = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Latency = Annotated[float, Meta(ge=0)]
Weight = Annotated[float, Meta(gt=0)]
Scores = Annotated[dict[str, Probability], Meta(min_length=1)]


class Prediction(Struct, kw_only=True, omit_defaults=True):
    """One prediction of one model version.

    At least one of `prediction`, `score` and `scores` is there, unless `status` is "error".

    Attributes
    ----------
    prediction_id
        What the truth is joined on; a shadow model that scores the same request uses the same id.
    timestamp
        Event time: when the model predicted.
    prediction
        The predicted label, or the predicted number.
    score
        Probability of the positive class.
    scores
        Probability of each class.
    threshold
        The threshold that was used on `score`.
    features
        The model's input; a missing value is null.
    segment
        Values of the dimensions that figures are split by.
    latency_ms
        How long the model took, in milliseconds.
    """

    prediction_id: Name
    model_name: Name
    model_version: Name
    timestamp: Time
    prediction: Label | None = None
    score: Probability | None = None
    scores: Scores | None = None
    threshold: Probability | None = None
    features: dict[str, FeatureValue] | None = None
    segment: dict[str, SegmentValue] | None = None
    latency_ms: Latency | None = None
    status: Status = "ok"
    environment: str | None = None
    variant: str | None = None
    tags: dict[str, Label] | None = None


class GroundTruth(Struct, kw_only=True, omit_defaults=True):
    """What turned out to be true of one prediction; it may come before the prediction, late, or be
    corrected.

    Attributes
    ----------
    prediction_id
        The prediction that it is about.
    timestamp
        Event time: when the truth became known.
    label
        The actual label, or the actual number; not needed in a retraction.
    source
        Who or what said so.
    revision
        Greater revisions win over smaller ones.
    retracted
        True takes the label back: from then on there is none.
    weight
        How much the row counts where a metric is weighted.
    """

    prediction_id: Name
    timestamp: Time
    label: Label | None = None
    source: str | None = None
    revision: Revision = 0
    retracted: bool = False
    weight: Weight = 1.0


class Tick(Struct, kw_only=True, omit_defaults=True):
    """A statement that event time has reached `timestamp` on this partition, though nothing came.

    With `after` it is in force: the worker that owns the partition writes it when it applies it.
    Without, it is a request to that worker, which answers with a tick of its own once nothing is
    unread.

    Attributes
    ----------
    after
        By input topic: the offset from which on rows are judged by this tick.
    ended
        The recorded history ends at this event time: silence after it says nothing.
    reached
        Largest event time that the partition had reached before the tick.
    settled
        Written when a history has ended: the task of this partition of `window-partials` has
        announced everything up to `timestamp`.
    """

    timestamp: Time
    after: dict[str, Offset] | None = None
    ended: Time | None = None
    reached: Time | None = None
    settled: Partition | None = None
