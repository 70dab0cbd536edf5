"""Input events as they are on the topics: predictions, ground truth and ticks.

These types serve to write events and to publish schemas. Decoding, with aliases and rejection, is
`decode.py`.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from driftline.schemas.labels import MAX_FEATURES, MAX_LABEL_INTEGER, MAX_TEXT_CHARACTERS
from driftline.schemas.times import MAX_TIME_MS

__all__ = [
    "FeatureValue",
    "Features",
    "GroundTruth",
    "Id",
    "Integer",
    "Label",
    "Latency",
    "Loss",
    "Name",
    "Offset",
    "Partition",
    "Prediction",
    "Probability",
    "Revision",
    "Scores",
    "SegmentValue",
    "Status",
    "TagValue",
    "Text",
    "Tick",
    "Time",
    "Weight",
]

Name = Annotated[str, Meta(min_length=1, max_length=MAX_TEXT_CHARACTERS)]
Id = (
    Name
    | Annotated[int, Meta(description='read as its digits in decimal: 123 and "123" are equal')]
)
Text = Annotated[str, Meta(max_length=MAX_TEXT_CHARACTERS)]
StreamTime = (
    Annotated[
        str, Meta(extra_json_schema={"format": "date-time"}, description="RFC 3339, any offset")
    ]
    | Annotated[
        int, Meta(ge=0, le=MAX_TIME_MS, description="milliseconds since 1970-01-01T00:00:00Z")
    ]
)
"""A time in a record that operators and Driftline write."""
Time = (
    Annotated[
        str,
        Meta(extra_json_schema={"format": "date-time"}, description="RFC 3339; without offset UTC"),
    ]
    | Annotated[
        int,
        Meta(
            ge=0,
            le=2**63 - 1,
            description="time since 1970-01-01T00:00:00Z in seconds, ms, microseconds or ns, which "
            "its size tells; or a date such as 20260105",
        ),
    ]
    | Annotated[float, Meta(ge=0, description="as the integer, with decimals")]
)
"""The event time of a row, as `driftline.schemas.times.parse_event_time` reads it."""
Probability = Annotated[float, Meta(ge=0, le=1)]
Integer = Annotated[int, Meta(ge=-MAX_LABEL_INTEGER, le=MAX_LABEL_INTEGER - 1)]
Label = Text | Integer | bool | float
SegmentValue = Text | Integer | bool
TagValue = str | Integer | bool | float
FeatureValue = float | str | bool | None
Status = Literal["ok", "error"]
Revision = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Offset = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Partition = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Latency = Annotated[float, Meta(ge=0)]
Weight = Annotated[float, Meta(gt=0)]
Scores = Annotated[dict[Text, Probability], Meta(min_length=1)]
Features = Annotated[dict[Text, FeatureValue], Meta(max_length=MAX_FEATURES)]


class Prediction(Struct, kw_only=True, omit_defaults=True):
    """One prediction of one model version.

    At least one of `prediction`, `score` and `scores` is needed, unless `status` is "error".

    Attributes
    ----------
    prediction_id
        Joins the prediction with its ground truth. A shadow model that predicts for the same
        request uses the same id.
    timestamp
        Event time: when the model predicted.
    prediction
        Predicted label, or predicted number.
    score
        Predicted probability of the positive class.
    scores
        Predicted probability of each class.
    threshold
        The threshold that turned `score` into the label.
    features
        Input of the model; null for a missing value.
    segment
        Values of the dimensions by which figures are split.
    latency_ms
        Latency of the model, in milliseconds.
    """

    prediction_id: Id
    model_name: Id
    model_version: Id
    timestamp: Time
    prediction: Label | None = None
    score: Probability | None = None
    scores: Scores | None = None
    threshold: Probability | None = None
    features: Features | None = None
    segment: dict[Text, SegmentValue] | None = None
    latency_ms: Latency | None = None
    status: Status = "ok"
    environment: str | None = None
    variant: str | None = None
    tags: dict[str, TagValue] | None = None


class GroundTruth(Struct, kw_only=True, omit_defaults=True):
    """The actual outcome of one prediction. It may arrive before the prediction or long after it,
    and may be corrected or retracted.

    Attributes
    ----------
    prediction_id
        Id of the prediction.
    timestamp
        Event time: when the truth became known.
    label
        Actual label, or actual number; not needed in a retraction.
    source
        Person or system that supplied the truth.
    revision
        Of several truths, the one with the greatest revision is in force.
    retracted
        True withdraws the label; the prediction is then without truth.
    weight
        Weight of the row in weighted metrics.
    """

    prediction_id: Id
    timestamp: Time
    label: Label | None = None
    source: str | None = None
    revision: Revision = 0
    retracted: bool = False
    weight: Weight = 1.0


class Loss(Struct, kw_only=True, rename={"from_": "from"}):
    """Records of one partition of an input that were lost before they were read.

    Attributes
    ----------
    topic
        The input, without prefix.
    fault
        "deleted" by retention, "made_anew" if the topic was, "truncated" if the log ended before
        the position.
    position, resumed_at
        Next offset before the loss, and the offset from which reading went on.
    from_, until
        Event time in which the lost records lie, both included, unless they were late.
    records
        Number of lost records; null if it is not known.
    """

    topic: str
    fault: Literal["deleted", "made_anew", "truncated"]
    position: Offset
    resumed_at: Offset
    from_: StreamTime
    until: StreamTime
    records: Offset | None


class Tick(Struct, kw_only=True, omit_defaults=True):
    """Advances event time on an idle partition to `timestamp`.

    A tick with `after` is in force: the worker that owns the partition writes it when it applies
    it. A tick without `after` is a request to that worker, which answers with a tick of its own
    once it has read its inputs to the end.

    Attributes
    ----------
    after
        By input topic: the first offset whose rows are judged by this tick.
    ended
        Event time at which the recorded history ends; silence after it is no sign of missing data.
    reached
        Watermark of the partition before the tick.
    settled
        Written after the end of a history: the task of this partition of `window-partials` has
        emitted all results up to `timestamp`.
    lost
        Losses of the partition whose event time is known now. Such a tick advances nothing.
    """

    timestamp: StreamTime
    after: dict[str, Offset] | None = None
    ended: StreamTime | None = None
    reached: StreamTime | None = None
    settled: Partition | None = None
    lost: list[Loss] = []
