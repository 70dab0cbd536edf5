"""What a log will be understood as: the document of `driftline check --json`."""

from typing import Literal

from msgspec import Struct

from driftline.schemas.check_result import CheckResult

__all__ = [
    "ClassRead",
    "ColumnRead",
    "Delays",
    "FeatureRead",
    "InputCheck",
    "LabelRead",
    "ModelRead",
    "NotCounted",
    "TopicRead",
    "VersionRead",
    "WindowRead",
    "WithinRung",
]

FeatureKind = Literal["numbers", "texts", "numbers and texts"]
LabelKind = Literal["true or false", "whole number", "number", "text"]


class TopicRead(Struct, frozen=True, kw_only=True):
    """The rows of one input topic.

    Attributes
    ----------
    lines
        Lines, or records of a broker, that were read.
    accepted
        Those that are not rejected; late and repeated ones are among them.
    first_event, last_event
        Smallest and largest event time of a valid row, in RFC 3339; null without one.
    days, per_day
        Number of days (UTC) with rows, and the median number of rows on them.
    behind, most_behind_ms
        Rows of a plain file that are behind rows before them by more than the grace, and by how
        much at most; null where the order was not looked at.
    sorted
        Whether a replay reads the rows in order of event time instead of that of the file.
    """

    topic: str
    lines: int
    accepted: int
    first_event: str | None
    last_event: str | None
    days: int
    per_day: float
    behind: int | None = None
    most_behind_ms: int | None = None
    sorted: bool = False


class ColumnRead(Struct, frozen=True, kw_only=True):
    """A column of a table.

    Attributes
    ----------
    field
        What the column is read as; null if it is left out.
    kind
        Kind of its values.
    why
        Reason, for people.
    """

    table: str
    column: str
    field: str | None
    kind: str
    why: str


class LabelRead(Struct, frozen=True, kw_only=True):
    """A label as it is written.

    Attributes
    ----------
    predictions
        Predictions with this label.
    truths
        Truths with this label whose prediction came.
    """

    label: str
    kind: LabelKind
    predictions: int
    truths: int


class FeatureRead(Struct, frozen=True, kw_only=True):
    """A feature of a model version.

    Attributes
    ----------
    missing_share
        Share of the predictions without a value.
    first_event, last_event
        Event times of the first and the last prediction with a value.
    """

    name: str
    kind: FeatureKind
    missing_share: float
    first_event: str
    last_event: str


class WithinRung(Struct, frozen=True, kw_only=True):
    """Share of the labels that are known within a rung of the maturity ladder."""

    maturity: str
    share: float


class Delays(Struct, frozen=True, kw_only=True):
    """From a prediction to the time at which its truth is known, in milliseconds.

    Attributes
    ----------
    p50_ms, p90_ms, p99_ms
        Quantiles, exact to 1 %.
    max_ms
        The longest one.
    no_delay
        Share of the truths that count as known at the time of their prediction: they are dated at
        or before it.
    horizon_ms
        The label horizon: truths that are known later do not count.
    within
        Share that each rung has.
    """

    p50_ms: int
    p90_ms: int
    p99_ms: int
    max_ms: int
    no_delay: float
    horizon_ms: int
    within: list[WithinRung]


class WindowRead(Struct, frozen=True, kw_only=True):
    """A window of a model's settings.

    Attributes
    ----------
    whole
        Number of such windows of which the data, from the first to the last event, cover at least
        95 %; others are covered in part, and their drift is not judged.
    """

    window: str
    whole: int


class VersionRead(Struct, frozen=True, kw_only=True):
    """The predictions of a model version.

    Attributes
    ----------
    predictions
        Valid rows, repeated ones too.
    labelled
        Predictions that have met a truth.
    first_event, last_event, days, per_day
        As those of a topic.
    with_label, with_score
        Predictions with a label of their own, and with a score.
    score_low, score_high
        Least and greatest score; null without one.
    delays
        Null without labelled predictions.
    windows
        Those of the settings, by length.
    features
        By name, at most 4,096.
    further_features
        Number of values of others.
    """

    model_name: str
    model_version: str
    predictions: int
    labelled: int
    first_event: str
    last_event: str
    days: int
    per_day: float
    with_label: int
    with_score: int
    score_low: float | None
    score_high: float | None
    delays: Delays | None
    windows: list[WindowRead]
    features: list[FeatureRead]
    further_features: int


class ClassRead(Struct, frozen=True, kw_only=True):
    """A class of a model.

    Attributes
    ----------
    name
        Its label in the records.
    actual, predicted
        Its text in truths and in predictions; null before one came.
    """

    name: str
    actual: str | None
    predicted: str | None


class ModelRead(Struct, frozen=True, kw_only=True):
    """The labels of a model.

    Attributes
    ----------
    labels
        As they are written, most rows first, at most 100.
    further_labels
        Number of rows with others.
    classes
        The labels that figures are about.
    strays
        Labels whose rows are in no figure.
    positive_label, positive_basis
        Which class is positive, and how that is known; null if it is not.
    problem
        Why figures that need labels are withheld; null if they are not.
    doubt
        Why figures that are given may not be those that were meant.
    """

    model_name: str
    labels: list[LabelRead]
    further_labels: int
    classes: list[ClassRead]
    strays: list[str]
    positive_label: str | None
    positive_basis: str | None
    problem: str | None
    doubt: str | None


class NotCounted(Struct, frozen=True, kw_only=True):
    """Rows of a topic that do not count, or not everywhere, for one reason.

    Attributes
    ----------
    example
        The first of them: its place, and what decided.
    remedy
        What to do about it.
    """

    topic: str
    reason: str
    rows: int
    example: str
    remedy: str


class InputCheck(Struct, frozen=True, kw_only=True):
    """What a replay of a log will understand.

    Attributes
    ----------
    topics
        Predictions and ground truth.
    columns
        What becomes of each column of a table; empty for a log.
    models, versions
        By name.
    rejected
        Rejected lines, by topic and reason.
    not_counted
        As the table at the end of a replay, most rows first.
    findings
        What is to be known (note) and what is to be set or mended (problem).
    """

    topics: list[TopicRead]
    columns: list[ColumnRead]
    models: list[ModelRead]
    versions: list[VersionRead]
    rejected: dict[str, dict[str, int]]
    not_counted: list[NotCounted]
    findings: list[CheckResult]

    @property
    def is_understood(self) -> bool:
        """Whether nothing is to be set or mended."""
        return all(finding.level != "problem" for finding in self.findings)
