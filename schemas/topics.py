"""The topics: names, keys, partition counts, cleanup policies and value types in one table.

Creating and checking them on a broker is left to `agents`.
"""

from msgspec import Struct

from driftline.schemas.actions import Action
from driftline.schemas.alert_commands import AlertCommand, AlertEvent
from driftline.schemas.events import GroundTruth, Prediction, Tick
from driftline.schemas.notifications import Notification
from driftline.schemas.reports import JobRun, WorkerMetrics
from driftline.schemas.results import (
    Alert,
    Drift,
    Histogram,
    ModelLabels,
    ModelRules,
    Outcome,
    Recommendation,
    ReferenceProfile,
    RegistryCommand,
    RegistryEffect,
    RegistryEntry,
    RegistryEvent,
    RuleWindows,
    WindowFigures,
)
from driftline.schemas.times import DAY_MS

__all__ = [
    "ACTIONS",
    "ALERTS",
    "ALERT_COMMANDS",
    "ALERT_EVENTS",
    "COMMANDS",
    "DLQ_RETENTION_MS",
    "DRIFT",
    "GROUND_TRUTH",
    "HISTOGRAMS",
    "INPUT_PARTITIONS",
    "JOB_RUNS",
    "JOINED",
    "METRICS",
    "MODEL_LABELS",
    "MODEL_RULES",
    "NOTIFICATIONS",
    "OUTCOMES",
    "PREDICTIONS",
    "PROGRAM_TOPICS",
    "RECOMMENDATIONS",
    "REFERENCE_PROFILES",
    "REGISTRY",
    "REGISTRY_COMMANDS",
    "REGISTRY_EFFECTS",
    "REGISTRY_EVENTS",
    "REPORTS",
    "RESULT_PARTITIONS",
    "RULE_WINDOWS",
    "SIDE_INPUTS",
    "SOURCES",
    "TICKS",
    "TOPICS",
    "WINDOW_PARTIALS",
    "WORKER_METRICS",
    "Topic",
    "dlq_name",
    "is_dlq_name",
    "read_as",
    "rekeyed_name",
]

PREDICTIONS = "predictions"
GROUND_TRUTH = "ground-truth"
TICKS = "ticks"
WINDOW_PARTIALS = "window-partials"
OUTCOMES = "outcomes"
METRICS = "metrics"
HISTOGRAMS = "histograms"
DRIFT = "drift"
ALERTS = "alerts"
ALERT_COMMANDS = "alert-commands"
ALERT_EVENTS = "alert-events"
NOTIFICATIONS = "notifications"
RECOMMENDATIONS = "recommendations"
RULE_WINDOWS = "rule-windows"
REGISTRY_COMMANDS = "registry-commands"
REGISTRY_EVENTS = "registry-events"
REGISTRY_EFFECTS = "registry-effects"
REGISTRY = "registry"
ACTIONS = "actions"
MODEL_LABELS = "model-labels"
MODEL_RULES = "model-rules"
REFERENCE_PROFILES = "reference-profiles"
WORKER_METRICS = "worker-metrics"
JOB_RUNS = "job-runs"

JOINED = (PREDICTIONS, GROUND_TRUTH, TICKS)
"""Input topics of stage 1; one task reads the same partition of each. All other topics are
partitioned by model name, except `notifications`, which is partitioned by its key.
"""

COMMANDS = (REGISTRY_COMMANDS, ALERT_COMMANDS)
"""Topics of what people ask for. Commands of one time are carried out in the order of their topics
here.
"""

REPORTS = (WORKER_METRICS, JOB_RUNS)
"""Topics of what reports about itself. Nothing of a model depends on them, and of each only the
order of its own records counts.
"""

SIDE_INPUTS = (*COMMANDS, *REPORTS)
"""Inputs of stages 3 and 4 that do not come through stage 1."""

PROGRAM_TOPICS = (TICKS, WINDOW_PARTIALS)
"""Topics between the stages of one program. Their names on a broker carry the program's name
(`kafka.app`), so that another program on the same inputs reads none of them.
"""

SOURCES = {PREDICTIONS: "predictions-source", GROUND_TRUTH: "ground-truth-source"}
"""What producers write, where records are given another key before stage 1 (`kafka.rekey`): then
`predictions` and `ground-truth` are topics between two steps of one program, and these are the
names of what such a program reads. On a broker they are called as without re-keying.
"""

INPUT_PARTITIONS = 8
RESULT_PARTITIONS = 4
DLQ_RETENTION_MS = 14 * DAY_MS


class Topic(Struct, frozen=True, kw_only=True):
    """One topic.

    Attributes
    ----------
    key
        Format of the record key, as field names. The topics in `JOINED` and `notifications` are
        partitioned by it, all others by model name.
    partitions
        Default number; the one on a broker is set under [kafka].
    cleanup
        Kafka's `cleanup.policy`.
    retention_ms
        How long Kafka keeps a record; None for ever.
    type
        Type of the value; None for an internal topic that is not JSON (`window-partials`).
    stage
        Name of the stage that writes it; "input" for topics that others write, "notify" for
        what the notifier writes.
    """

    name: str
    key: str
    partitions: int
    cleanup: str
    retention_ms: int | None
    type: type[Struct] | None
    stage: str


def dlq_name(topic: str) -> str:
    """Name of the dead-letter topic of an input topic.

    Examples
    --------
    >>> dlq_name("predictions")
    'predictions.dlq'
    """
    return f"{topic}.dlq"


def is_dlq_name(topic: str) -> bool:
    """Whether a topic, named without the prefix, holds dead letters.

    Examples
    --------
    >>> is_dlq_name("predictions.dlq"), is_dlq_name("predictions")
    (True, False)
    """
    return topic.endswith(".dlq")


def rekeyed_name(topic: str) -> str:
    """Name of the re-keyed log of an input topic.

    Examples
    --------
    >>> rekeyed_name("predictions")
    'predictions-rekeyed'
    """
    return f"{topic}-rekeyed"


def read_as(topic: str) -> str:
    """The input topic as which a source is read; any other topic itself.

    Examples
    --------
    >>> read_as("predictions-source"), read_as("ticks")
    ('predictions', 'ticks')
    """
    return _READ_AS.get(topic, topic)


_READ_AS = {source: topic for topic, source in SOURCES.items()}

_MODEL_KEY = "model_name"
_VERSION_KEY = "model_name/model_version"
_FIGURE_KEY = "model_name/model_version/segment/lane/window/maturity/window_start"
_DRIFT_KEY = "model_name/model_version/segment/target/method/window/window_start"
_COMPACTED = "compact,delete"


def _topic(
    name: str,
    value: type[Struct] | None,
    stage: str,
    key: str,
    *,
    days: int | None,
    cleanup: str = "delete",
) -> Topic:
    """A topic with a retention in days."""
    return Topic(
        name=name,
        key=key,
        partitions=INPUT_PARTITIONS if name in JOINED else RESULT_PARTITIONS,
        cleanup=cleanup,
        retention_ms=None if days is None else days * DAY_MS,
        type=value,
        stage=stage,
    )


TOPICS: dict[str, Topic] = {
    topic.name: topic
    for topic in (
        _topic(PREDICTIONS, Prediction, "input", "prediction_id", days=7),
        _topic(GROUND_TRUTH, GroundTruth, "input", "prediction_id", days=30),
        _topic(TICKS, Tick, "input", "partition number", days=7),
        _topic(WINDOW_PARTIALS, None, "join", _MODEL_KEY, days=7),
        _topic(OUTCOMES, Outcome, "join", _VERSION_KEY, days=30),
        _topic(METRICS, WindowFigures, "measure", _FIGURE_KEY, days=30, cleanup=_COMPACTED),
        _topic(HISTOGRAMS, Histogram, "measure", _FIGURE_KEY, days=30, cleanup=_COMPACTED),
        _topic(DRIFT, Drift, "measure", _DRIFT_KEY, days=30, cleanup=_COMPACTED),
        _topic(
            ALERTS, Alert, "decide", f"{_VERSION_KEY}/segment/rule", days=30, cleanup=_COMPACTED
        ),
        _topic(ALERT_COMMANDS, AlertCommand, "input", _MODEL_KEY, days=30),
        _topic(ALERT_EVENTS, AlertEvent, "decide", _MODEL_KEY, days=None),
        _topic(NOTIFICATIONS, Notification, "notify", "notification_id", days=30),
        _topic(RECOMMENDATIONS, Recommendation, "decide", _VERSION_KEY, days=30),
        _topic(
            RULE_WINDOWS,
            RuleWindows,
            "decide",
            f"{_VERSION_KEY}/segment",
            days=None,
            cleanup="compact",
        ),
        _topic(WORKER_METRICS, WorkerMetrics, "input", "driftline-workers", days=30),
        _topic(JOB_RUNS, JobRun, "input", "driftline-jobs", days=30),
        _topic(REGISTRY_COMMANDS, RegistryCommand, "input", _MODEL_KEY, days=30),
        _topic(REGISTRY_EVENTS, RegistryEvent, "registry", _MODEL_KEY, days=None),
        _topic(REGISTRY_EFFECTS, RegistryEffect, "measure", _MODEL_KEY, days=None),
        _topic(REGISTRY, RegistryEntry, "registry", _VERSION_KEY, days=None, cleanup="compact"),
        _topic(ACTIONS, Action, "registry", _VERSION_KEY, days=30),
        _topic(MODEL_LABELS, ModelLabels, "registry", _MODEL_KEY, days=None, cleanup="compact"),
        _topic(MODEL_RULES, ModelRules, "registry", _MODEL_KEY, days=None, cleanup="compact"),
        _topic(
            REFERENCE_PROFILES,
            ReferenceProfile,
            "registry",
            "model_name/reference_id",
            days=None,
            cleanup="compact",
        ),
    )
}
"""All topics by name, inputs first, in the order of the data flow."""
