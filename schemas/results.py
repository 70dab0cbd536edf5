"""Output records as they are on the topics: figures, drift, alerts, recommendations, outcomes, and
the records of the registry.

A field `*_ms` of type `EpochMs` is an integer here and RFC 3339 text in UTC on the topic, under its
name without the unit; the registry's records carry text. Every type gives its topic key. What the
figures mean and how they are computed is `streams`.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Literal, TypeVar
from urllib.parse import quote

import msgspec
from msgspec import Struct

from driftline.schemas.labels import PositiveBasis
from driftline.schemas.times import EpochMs, format_time

__all__ = [
    "WHOLE",
    "WHOLE_SHARE",
    "Acknowledgement",
    "Alert",
    "AlertChange",
    "Artifact",
    "Drift",
    "Expected",
    "Histogram",
    "LostRows",
    "ModelLabels",
    "ModelRules",
    "Outcome",
    "Recommendation",
    "ReferenceProfile",
    "RegistryCommand",
    "RegistryEffect",
    "RegistryEntry",
    "RegistryEvent",
    "RuleLevel",
    "RuleWindow",
    "RuleWindows",
    "SettledLabels",
    "WindowFigures",
    "decoder",
    "describe_losses",
    "encode",
    "from_plain",
    "key_of",
    "to_plain",
]

Interval = tuple[float, float]
WHOLE = 1.0
"""`covered_share` of a window that data cover from end to end. A default is left out where it is
this very object.
"""
WHOLE_SHARE = 0.95
"""A window that data cover to this share is judged as a whole one: the rows of its ends seldom lie
at its very edges. Of 7 days, 8 hours may be without data.
"""
NO_MATURITY = "-"
"""Replaces the maturity in the keys of lanes without a maturity."""


@lru_cache(maxsize=65_536)
def _quoted(part: str) -> str:
    return quote(part, safe="=:,@")


def key_of(parts: Iterable[str]) -> str:
    """A topic key: the parts, percent-encoded where needed, joined by slashes.

    Examples
    --------
    >>> key_of(["churn", "1.4.2", "plan=pro", "7d/1d"])
    'churn/1.4.2/plan=pro/7d%2F1d'
    """
    return "/".join(map(_quoted, parts))


_T = TypeVar("_T")
_time_text = lru_cache(maxsize=4096)(format_time)


def _text_of(value: object) -> str:
    if isinstance(value, EpochMs):
        return _time_text(value)
    raise NotImplementedError(f"{type(value).__name__} has no form on a topic")


def _time_of(type_: type, value: object) -> EpochMs:
    if type_ is not EpochMs:
        raise NotImplementedError(f"{value!r} is not a {type_.__name__}")
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not an RFC 3339 time")
    return EpochMs.of(value)


encode = msgspec.json.Encoder(order="deterministic", enc_hook=_text_of).encode
"""One line of JSON, the same bytes for equal values: fields in the order of declaration, mappings
sorted by key, floats in their shortest exact form, times as RFC 3339 text.
"""


def to_plain(value: Struct) -> dict[str, Any]:
    """The dictionary that `encode` writes as one line."""
    plain: dict[str, Any] = msgspec.to_builtins(value, enc_hook=_text_of)
    return plain


def from_plain(type_: type[_T], plain: object) -> _T:
    """The inverse of `to_plain`.

    Raises
    ------
    msgspec.ValidationError
        If it has another shape.

    Examples
    --------
    >>> from_plain(Expected, {"metric": "f1", "from": 0.5, "to": 0.6}).to
    0.6
    """
    return msgspec.convert(plain, type_, dec_hook=_time_of)


def decoder(type_: type[_T]) -> msgspec.json.Decoder[_T]:
    """A decoder of the lines that `encode` writes.

    Examples
    --------
    >>> line = encode(Expected(metric="f1", from_=0.5, to=0.6))
    >>> decoder(Expected).decode(line).to
    0.6
    """
    return msgspec.json.Decoder(type_, dec_hook=_time_of)


class LostRows(Struct, kw_only=True, frozen=True, rename={"from_ms": "from", "until_ms": "until"}):
    """Rows of an input that were lost before they were read. It is not known which of them belong
    to which model, version or segment.

    Attributes
    ----------
    topic
        The input.
    from_ms, until_ms
        Event time in which they lie, both included.
    records
        Number of lost records, in this window or beside it; null if it is not known.
    """

    topic: str
    from_ms: EpochMs
    until_ms: EpochMs
    records: int | None


def describe_losses(losses: Iterable[LostRows]) -> str:
    """How many rows of which inputs were lost, in words.

    Examples
    --------
    >>> start, end = EpochMs(0), EpochMs(60_000)
    >>> describe_losses(
    ...     [
    ...         LostRows(topic="ground-truth", from_ms=start, until_ms=end, records=None),
    ...         LostRows(topic="predictions", from_ms=start, until_ms=end, records=2000),
    ...     ]
    ... )
    'an unknown number of ground-truth, 2,000 of predictions'
    """
    return ", ".join(
        f"{'an unknown number' if loss.records is None else f'{loss.records:,}'} of {loss.topic}"
        for loss in losses
    )


class WindowFigures(
    Struct,
    kw_only=True,
    omit_defaults=True,
    rename={
        "window_start_ms": "window_start",
        "window_end_ms": "window_end",
        "complete_at_ms": "complete_at",
    },
):
    """The figures of one series in one window at one maturity.

    Attributes
    ----------
    segment
        "all" or "dimension=value".
    maturity
        Name of the rung, in the decisions lane only.
    revision
        Number of this announcement of the window, from 1.
    registry_revision
        Registry revision of the model that was in force.
    n_predictions
        Number of predictions in the window.
    n
        Number of those predictions that have a label at this maturity.
    label_coverage
        n / n_predictions; null without predictions.
    covered_share
        Share of the window that is covered by data, in [0, 1]: from the first prediction of the
        version to the last one of a recorded log. Below 0.95 it is not judged against a baseline.
        1, which is left out, in the arrivals lane and where the window has no length of time.
    completeness
        Share of the final labels that is usually known at this maturity, estimated from earlier
        windows; null without any.
    matrix
        matrix[i][j] is the number of rows with actual label i and predicted label j, in the order
        of `labels`.
    tn, fp, fn, tp
        Counts for two labels, one of which is known to be positive.
    positive_label, positive_basis
        The positive label of two, and how it is known: by the configuration, by the registry
        command `set_labels`, by the scores of the predicted labels, or because the pair of labels
        is evident. null if it is not known; then figures that need it are null.
    strays
        Number of rows with a label that is none of `labels`, by that label; they are in no cell of
        the matrix and not in `n`. "(other)" has those without an entry of their own.
    ci
        95 % confidence intervals, by metric.
    bounds
        Values if all missing labels were wrong, and if all were right, by metric.
    counts
        Other counters, such as errors, late and duplicate, by name.
    null_reasons
        Why a metric is null, by metric.
    losses
        By input, the lost rows that may belong to the window: the figures lack them.
    complete_at_ms
        Frontier at which these figures are complete.
    """

    model_name: str
    model_version: str
    segment: str
    lane: Literal["traffic", "decisions", "arrivals"]
    window: str
    kind: Literal["tumbling", "sliding", "since_deployment", "last_n"]
    window_start_ms: EpochMs
    window_end_ms: EpochMs
    maturity: str | None
    final: bool
    provisional: bool
    revision: int
    registry_revision: int
    n_predictions: int
    n: int
    label_coverage: float | None
    completeness: float | None
    covered_share: float = WHOLE
    labels: list[str] = []
    matrix: list[list[int]] = []
    tn: int | None = None
    fp: int | None = None
    fn: int | None = None
    tp: int | None = None
    positive_label: str | None = None
    positive_basis: PositiveBasis | None = None
    strays: dict[str, int] = {}
    metrics: dict[str, float | None]
    ci: dict[str, Interval] = {}
    bounds: dict[str, Interval] = {}
    counts: dict[str, int] = {}
    null_reasons: dict[str, str] = {}
    losses: list[LostRows] = []
    complete_at_ms: EpochMs

    def key(self) -> str:
        """model/version/segment/lane/window/maturity/window start; "-" for no maturity."""
        return key_of(
            (
                self.model_name,
                self.model_version,
                self.segment,
                self.lane,
                self.window,
                self.maturity or NO_MATURITY,
                _time_text(self.window_start_ms),
            )
        )


class Histogram(
    Struct,
    kw_only=True,
    omit_defaults=True,
    rename={"window_start_ms": "window_start", "window_end_ms": "window_end"},
):
    """Sparse score histograms of one `WindowFigures`, split into two halves by a hash of the id.

    Attributes
    ----------
    fit, holdout
        Counts by actual label and score bin: "0.31" has the scores that are equal to 0.31, "0.31+"
        those above it and below the next edge (`driftline.streams.score_bins`). Empty bins are left
        out.
    losses
        As in `WindowFigures`.
    """

    model_name: str
    model_version: str
    segment: str
    lane: Literal["traffic", "decisions", "arrivals"]
    window: str
    window_start_ms: EpochMs
    window_end_ms: EpochMs
    maturity: str | None
    final: bool
    registry_revision: int
    labels: list[str]
    positive_label: str | None
    fit: dict[str, dict[str, int]]
    holdout: dict[str, dict[str, int]]
    losses: list[LostRows] = []

    def key(self) -> str:
        """See `WindowFigures.key`."""
        return key_of(
            (
                self.model_name,
                self.model_version,
                self.segment,
                self.lane,
                self.window,
                self.maturity or NO_MATURITY,
                _time_text(self.window_start_ms),
            )
        )


class Drift(
    Struct,
    kw_only=True,
    omit_defaults=True,
    rename={"window_start_ms": "window_start", "window_end_ms": "window_end"},
):
    """One test of one target in the detection window against the reference in force.

    Attributes
    ----------
    target
        "feature:NAME", "score", "prediction" or "label".
    method
        Name of the test.
    covered_share
        Share of the window that is covered by data, in [0, 1]: from the first prediction of the
        version to the last one of a recorded log. Below 0.95 there is no verdict.
    p_value, p_adjusted
        p-value of the test alone, and adjusted within the false-alarm budget that all tests of the
        window share; null if the method has none.
    level
        Size of the shift in words; `effect` is the size in the unit of the method.
        "insufficient_data" means no verdict.
    n_effective
        Number of independent rows with the same information.
    reason
        Why there is no verdict, or what decided the level.
    losses
        As in `WindowFigures`.
    reference_losses
        As `losses`, of the span of the reference.
    """

    model_name: str
    model_version: str
    segment: str
    target: str
    method: str
    window: str
    window_start_ms: EpochMs
    window_end_ms: EpochMs
    covered_share: float
    statistic: float | None
    p_value: float | None
    level: Literal["none", "mild", "moderate", "severe", "insufficient_data"]
    effect: float | None
    n_reference: int
    n_current: int
    n_effective: float | None
    reference_id: str | None
    registry_revision: int
    p_adjusted: float | None = None
    action: str = ""
    reason: str = ""
    details: dict[str, Any] = {}
    losses: list[LostRows] = []
    reference_losses: list[LostRows] = []

    def key(self) -> str:
        """model/version/segment/target/method/window/window start."""
        return key_of(
            (
                self.model_name,
                self.model_version,
                self.segment,
                self.target,
                self.method,
                self.window,
                _time_text(self.window_start_ms),
            )
        )


AlertChange = Literal[
    "firing",
    "escalated",
    "joined",
    "acknowledged",
    "unacknowledged",
    "silenced",
    "unsilenced",
    "accepted",
    "resolved",
]


class Acknowledgement(
    Struct, kw_only=True, frozen=True, omit_defaults=True, rename={"at_ms": "at"}
):
    """Who has taken on an alert, when and why."""

    by: str
    at_ms: EpochMs
    reason: str = ""


class Alert(
    Struct,
    kw_only=True,
    omit_defaults=True,
    rename={"starts_at_ms": "starts_at", "at_ms": "at", "ends_at_ms": "ends_at"},
):
    """One change of an alert's state. There is one `fingerprint` per model, version, segment and
    rule, and one `alert_id` per episode. An episode has one record with the change "firing", the
    first one, and one with the status "resolved", the last one.

    Attributes
    ----------
    status
        "resolved" after the end. Before it, "silenced" where a silence matches, else "acknowledged"
        where a person has taken it on, else "firing".
    change
        What this record announces: "joined" and "escalated" are news of an open episode;
        "acknowledged", "unacknowledged" and "accepted" are acts of people, "accepted" ends the
        episode; "silenced" and "unsilenced" say that a silence began, changed or ended.
    summary
        One sentence for a person.
    metric, value, baseline, threshold, comparator
        The value that was judged, and what it was compared with.
    at_ms
        Event time of this change.
    silenced_by
        Ids of the silences that match the alert; empty if none does.
    acknowledged
        Who has taken on the episode; null if nobody has.
    group_id
        The same for episodes of one version that probably have one cause: the `alert_id` of the one
        that fired first.
    """

    fingerprint: str
    alert_id: str
    group_id: str
    model_name: str
    model_version: str
    segment: str
    rule: str
    status: Literal["firing", "acknowledged", "silenced", "resolved"]
    change: AlertChange
    severity: Literal["info", "warning", "error", "critical"]
    summary: str
    starts_at_ms: EpochMs
    at_ms: EpochMs
    ends_at_ms: EpochMs | None = None
    metric: str | None = None
    value: float | None = None
    baseline: float | None = None
    threshold: float | None = None
    comparator: str | None = None
    n: int | None = None
    ci: Interval | None = None
    window: str | None = None
    maturity: str | None = None
    runbook_url: str | None = None
    silenced_by: list[str] = []
    acknowledged: Acknowledgement | None = None
    details: dict[str, Any] = {}

    def key(self) -> str:
        """model/version/segment/rule."""
        return key_of((self.model_name, self.model_version, self.segment, self.rule))


class Expected(Struct, kw_only=True, rename={"from_": "from"}):
    """Expected effect of a recommendation on one metric: present value, new value, and an interval
    of the gain.
    """

    metric: str
    from_: float | None
    to: float | None
    ci: Interval | None = None


class Recommendation(
    Struct, kw_only=True, omit_defaults=True, rename={"at_ms": "at", "expires_at_ms": "expires_at"}
):
    """A proposed change with its evidence. A later record with the same id and another status
    reports what happened to it.

    Attributes
    ----------
    status
        "open" at first; "applied" when its threshold is in force, "rolled_back" when another one
        replaced it by hand, "superseded" by a clearly better one, "expired", and "outcome" when
        what both thresholds did afterwards is known.
    """

    recommendation_id: str
    model_name: str
    model_version: str
    action: str
    params: dict[str, Any]
    expected: Expected
    evidence: dict[str, Any]
    reason: str
    status: str
    at_ms: EpochMs
    expires_at_ms: EpochMs | None = None

    def key(self) -> str:
        """model/version."""
        return key_of((self.model_name, self.model_version))


class Outcome(
    Struct,
    kw_only=True,
    omit_defaults=True,
    rename={"timestamp_ms": "timestamp", "known_at_ms": "known_at"},
):
    """A prediction joined with the truth in force, or a later change of that truth.

    Attributes
    ----------
    cell
        "tp", "fp", "fn" or "tn" for two labels, else "actual>predicted".
    delay_ms
        Time from the prediction until the truth counts as known, in milliseconds.
    correction
        Null for the first truth, else "corrected" or "retracted".
    """

    prediction_id: str
    model_name: str
    model_version: str
    timestamp_ms: EpochMs
    known_at_ms: EpochMs
    prediction: str | None
    label: str | None
    correct: bool | None
    delay_ms: int
    score: float | None = None
    segment: dict[str, str] = {}
    cell: str | None = None
    maturity: str | None = None
    correction: Literal["corrected", "retracted"] | None = None

    def key(self) -> str:
        """model/version."""
        return key_of((self.model_name, self.model_version))


class RegistryCommand(Struct, kw_only=True, omit_defaults=True):
    """A request to change the registry.

    Attributes
    ----------
    command_id
        Makes the command safe to send twice: the second one has no effect.
    timestamp
        When the change was asked for. Over fed history, the event time at which it is carried out.
    requested_by
        Who sent it; "driftline" for an automatic command.
    model_version
        The version to change; null for a rollback of the whole model.
    params
        Parameters of the command, by name.
    expected_revision
        Rejects the command if the model is at another revision.
    dry_run
        Answers with the event and changes nothing.
    """

    command_id: str
    command: str
    model_name: str
    timestamp: str
    requested_by: str
    model_version: str | None = None
    params: dict[str, Any] = {}
    expected_revision: int | None = None
    reason: str = ""
    dry_run: bool = False

    def key(self) -> str:
        """model."""
        return key_of((self.model_name,))


class RegistryEvent(Struct, kw_only=True, omit_defaults=True):
    """The answer to a command: a change with the fields before and after it, or a rejection.

    Attributes
    ----------
    event
        Name of the accepted command, or "rejected".
    revision
        Revision of the model that the change leads to; of a rejection, the one in force.
    at
        Time of the command.
    before, after
        By model version, the fields that changed; null is a field without a value. A version that
        `before` leaves out is new. Fields of the model itself stand under "".
    cause
        Id of the alert or recommendation behind an automatic change.
    reason
        Why the sender wants the change.
    error
        Why the command was rejected.
    dry_run
        Whether the command only asked what it would change: nothing changed, and the revision
        belongs to the next accepted command.
    """

    event: str
    model_name: str
    revision: int
    command_id: str
    at: str
    requested_by: str
    model_version: str | None = None
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    cause: str | None = None
    reason: str = ""
    error: str | None = None
    dry_run: bool = False

    def key(self) -> str:
        """model."""
        return key_of((self.model_name,))


class RegistryEffect(Struct, kw_only=True, omit_defaults=True):
    """The frontier from which stage 2 used a registry revision of a model, or from which changed
    settings are in force.

    Attributes
    ----------
    model_name
        Empty for the settings of the whole program, which a worker records when it starts with
        others than before; they are in force for what follows on the topic.
    frontier
        1970 where nothing of the model had been counted yet.
    settings
        What is in force: of a model its rules, default_rules, false_alarms_per_year, tuner, policy
        and responses; of the program all settings that results depend on. Null for an effect of a
        registry revision.
    settings_before
        What was in force until then, of a model.
    """

    model_name: str
    revision: int
    frontier: str
    settings: dict[str, Any] | None = None
    settings_before: dict[str, Any] | None = None

    def key(self) -> str:
        """model."""
        return key_of((self.model_name,))


class Artifact(Struct, kw_only=True, omit_defaults=True):
    """Location of a model version's files, and their SHA-256 in hexadecimal."""

    location: str
    sha256: str | None = None


class RegistryEntry(Struct, kw_only=True, omit_defaults=True):
    """The state in force of one model version.

    Attributes
    ----------
    revision
        Revision of the model that changed this version last.
    threshold
        Decision threshold. Counts follow the threshold that predictions carry.
    reference_id
        Name of the profile in `reference-profiles` that drift compares with.
    baselines
        Performance to compare with, by maturity; "-" for the traffic lane.
    deployed_at, promoted_by
        Time and sender of the last promotion to production.
    deleted_at
        Time of the deletion of an archived version, which verbs leave out from then on; null
        without one.
    """

    model_name: str
    model_version: str
    stage: Literal["development", "staging", "production", "archived"]
    revision: int
    threshold: float | None = None
    reference_id: str | None = None
    baselines: dict[str, dict[str, Any]] = {}
    registered_at: str | None = None
    deployed_at: str | None = None
    promoted_by: str | None = None
    deleted_at: str | None = None
    type: Literal["supervised", "unsupervised", "semi-supervised", "reinforcement"] | None = None
    framework: str | None = None
    owner: str | None = None
    environment: str | None = None
    tags: dict[str, str] = {}
    configuration: dict[str, Any] | None = None
    artifact: Artifact | None = None

    def key(self) -> str:
        """model/version."""
        return key_of((self.model_name, self.model_version))


class SettledLabels(Struct, kw_only=True, omit_defaults=True):
    """The classes of a model, once its events have settled them.

    Attributes
    ----------
    labels
        The classes, in the order of a confusion matrix. Every other label is a stray.
    positive_label, positive_basis
        As in `WindowFigures`; null where they are not known.
    """

    labels: list[str]
    positive_label: str | None = None
    positive_basis: PositiveBasis | None = None


class RuleWindow(Struct, kw_only=True, omit_defaults=True):
    """The window that a rule reads.

    Attributes
    ----------
    window
        Name of the window.
    min_samples
        Least number of rows of a window that is judged.
    judges
        Whether the window usually holds as many rows: in at least half of the windows with
        predictions, of this week and the one before. Null if it is not known yet.
    n_windows, n_enough
        Number of these windows, and of those with enough rows.
    reason
        Why the rule cannot judge; null if it can, or if that is not known yet.
    """

    window: str
    min_samples: int
    judges: bool | None
    n_windows: int
    n_enough: int
    reason: str | None = None


class RuleWindows(Struct, kw_only=True, rename={"at_ms": "at"}):
    """The windows that the alert rules of a series read, and the rules that cannot judge.

    A rule that names no window reads the smallest one that usually holds enough rows. Rules without
    a least number of rows are left out.

    Attributes
    ----------
    segment
        "all" or "dimension=value".
    at_ms
        Event time of the change.
    rules
        By name of the rule.
    """

    model_name: str
    model_version: str
    segment: str
    at_ms: EpochMs
    rules: dict[str, RuleWindow]

    def key(self) -> str:
        """model/version/segment."""
        return key_of((self.model_name, self.model_version, self.segment))


class ModelLabels(Struct, kw_only=True, omit_defaults=True):
    """The labels of a model: what the command `set_labels` has set, and what the events settled.

    Attributes
    ----------
    revision
        Revision of the model that changed them last.
    labels
        The classes; every other label is a stray. Null if the events decide.
    positive_label
        The positive label; null if the events or the labels themselves decide.
    set_by
        Who sent the command; null without one, or after a rollback to a revision before any.
    settled
        The classes in force when they were settled last: after 100 truths in complete windows.
        `labels` and `positive_label`, if set later, come before them.
    """

    model_name: str
    revision: int
    labels: list[str] | None = None
    positive_label: str | None = None
    set_by: str | None = None
    settled: SettledLabels | None = None

    def key(self) -> str:
        """model."""
        return key_of((self.model_name,))


class RuleLevel(Struct, kw_only=True, omit_defaults=True):
    """What the command `set_rule_level` has set of one alert rule.

    Attributes
    ----------
    values
        By key of the rule's table in the configuration, the value in its place; null takes the
        value of the configuration away. With `type`, the command created the rule.
    instead_of
        The values of these keys without the command; null for a key without a value.
    revision
        Revision of the model with which it was set.
    set_by, set_at, reason
        Who set it, when and why.
    """

    values: dict[str, Any]
    instead_of: dict[str, Any] = {}
    revision: int
    set_by: str
    set_at: str
    reason: str = ""


class ModelRules(Struct, kw_only=True, omit_defaults=True):
    """The levels of a model's alert rules that commands have set.

    Attributes
    ----------
    revision
        Revision of the model that changed them last.
    rules
        By name of the rule; all others are as the configuration has them.
    """

    model_name: str
    revision: int
    rules: dict[str, RuleLevel] = {}

    def key(self) -> str:
        """model."""
        return key_of((self.model_name,))


class ReferenceProfile(Struct, kw_only=True, omit_defaults=True):
    """A reference profile: the summaries that drift compares with.

    Registry entries name it by `reference_id`. A profile never changes: another one of the model
    has another `reference_id`.

    Attributes
    ----------
    created_at
        Time of the command that recorded it.
    span
        Event time of its rows, start and end, end excluded; null for an uploaded profile.
    profile
        The summaries by segment and target.
    losses
        As in `WindowFigures`, of the span.
    """

    model_name: str
    reference_id: str
    created_at: str
    span: tuple[str, str] | None
    profile: dict[str, Any]
    losses: list[LostRows] = []

    def key(self) -> str:
        """model/reference_id."""
        return key_of((self.model_name, self.reference_id))
