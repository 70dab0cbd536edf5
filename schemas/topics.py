"""The topics: names, keys, partition counts, cleanup policies and value types in one table.

Creating and checking them on a broker is left to `agents`.
"""

from msgspec import Struct

from driftline.schemas.events import GroundTruth, Prediction, Tick
from driftline.schemas.results import (
    Alert,
    Drift,
    Histogram,
    Outcome,
    Recommendation,
    ReferenceProfile,
    RegistryCommand,
    RegistryEffect,
    RegistryEntry,
    RegistryEvent,
    WindowFigures,
)
from driftline.schemas.times import DAY_MS

__all__ = [
    "ALERTS",
    "DLQ_RETENTION_MS",
    "DRIFT",
    "GROUND_TRUTH",
    "HISTOGRAMS",
    "INPUT_PARTITIONS",
    "JOINED",
    "METRICS",
    "OUTCOMES",
    "PREDICTIONS",
    "RECOMMENDATIONS",
    "REFERENCE_PROFILES",
    "REGISTRY",
    "REGISTRY_COMMANDS",
    "REGISTRY_EFFECTS",
    "REGISTRY_EVENTS",
    "RESULT_PARTITIONS",
    "TICKS",
    "TOPICS",
    "WINDOW_PARTIALS",
    "Topic",
    "dlq_name",
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
RECOMMENDATIONS = "recommendations"
REGISTRY_COMMANDS = "registry-commands"
REGISTRY_EVENTS = "registry-events"
REGISTRY_EFFECTS = "registry-effects"
REGISTRY = "registry"
REFERENCE_PROFILES = "reference-profiles"

JOINED = (PREDICTIONS, GROUND_TRUTH, TICKS)
"""Input topics of stage 1; one task reads the same partition of each. All other topics are
partitioned by model name.
"""

INPUT_PARTITIONS = 8
RESULT_PARTITIONS = 4
DLQ_RETENTION_MS = 14 * DAY_MS


class Topic(Struct, frozen=True, kw_only=True):
    """One topic.

    Attributes
    ----------
    key
        Format of the record key, as field names. The topics in `JOINED` are partitioned by it, all
        others by model name.
    partitions
        Default number; the one on a broker is set under [kafka].
    cleanup
        Kafka's `cleanup.policy`.
    retention_ms
        How long Kafka keeps a record; None for ever.
    type
        Type of the value; None for an internal topic that is not JSON (`window-partials`).
    stage
        Name of the stage that writes it; "input" for topics that others write.
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


_FIGURE_KEY = "model_name/model_version/segment/lane/window/maturity/window_start"
_VERSION_KEY = "model_name/model_version"


def _table() -> dict[str, Topic]:
    rows: tuple[tuple[str, str, int, str, int | None, type[Struct] | None, str], ...] = (
        (PREDICTIONS, "prediction_id", INPUT_PARTITIONS, "delete", 7, Prediction, "input"),
        (GROUND_TRUTH, "prediction_id", INPUT_PARTITIONS, "delete", 30, GroundTruth, "input"),
        (TICKS, "partition number", INPUT_PARTITIONS, "delete", 7, Tick, "input"),
        (WINDOW_PARTIALS, "model_name", RESULT_PARTITIONS, "delete", 7, None, "join"),
        (OUTCOMES, _VERSION_KEY, RESULT_PARTITIONS, "delete", 30, Outcome, "join"),
        (METRICS, _FIGURE_KEY, RESULT_PARTITIONS, "compact,delete", 30, WindowFigures, "measure"),
        (HISTOGRAMS, _FIGURE_KEY, RESULT_PARTITIONS, "compact,delete", 30, Histogram, "measure"),
        (
            DRIFT,
            "model_name/model_version/segment/target/method/window/window_start",
            RESULT_PARTITIONS,
            "compact,delete",
            30,
            Drift,
            "measure",
        ),
        (
            ALERTS,
            "model_name/model_version/segment/rule",
            RESULT_PARTITIONS,
            "compact,delete",
            30,
            Alert,
            "decide",
        ),
        (RECOMMENDATIONS, _VERSION_KEY, RESULT_PARTITIONS, "delete", 30, Recommendation, "decide"),
        (
            REGISTRY_COMMANDS,
            "model_name",
            RESULT_PARTITIONS,
            "delete",
            30,
            RegistryCommand,
            "input",
        ),
        (
            REGISTRY_EVENTS,
            "model_name",
            RESULT_PARTITIONS,
            "delete",
            None,
            RegistryEvent,
            "registry",
        ),
        (
            REGISTRY_EFFECTS,
            "model_name",
            RESULT_PARTITIONS,
            "delete",
            None,
            RegistryEffect,
            "measure",
        ),
        (REGISTRY, _VERSION_KEY, RESULT_PARTITIONS, "compact", None, RegistryEntry, "registry"),
        (
            REFERENCE_PROFILES,
            "model_name/reference_id",
            RESULT_PARTITIONS,
            "compact",
            None,
            ReferenceProfile,
            "registry",
        ),
    )
    return {
        name: Topic(
            name=name,
            key=key,
            partitions=partitions,
            cleanup=cleanup,
            retention_ms=None if days is None else days * DAY_MS,
            type=value,
            stage=stage,
        )
        for name, key, partitions, cleanup, days, value, stage in rows
    }


TOPICS: dict[str, Topic] = _table()
"""All topics by name, inputs first, in the order of the data flow."""
