"""What a person does about an alert, by the type of its rule."""

from __future__ import annotations

from typing import Final

from driftline.schemas.results import Alert
from driftline.schemas.settings import ModelConfig
from driftline.streams.decide.rule_builder import build_rules

_PERFORMANCE: Final = (
    "Look where it is worse: the segments of the window, and the features that drifted.",
    "Compare the threshold in force with the proposed one: a shifted base rate needs another.",
    "If the model has become worse for good, retrain it or go back to the version before.",
    "If the new level is meant, accept the alert: its baseline begins anew.",
)
_BY_TYPE: Final[dict[str, tuple[str, ...]]] = {
    "performance_drop": _PERFORMANCE,
    "degradation": _PERFORMANCE,
    "threshold": _PERFORMANCE[:3],
    "drift": (
        "Look at the targets that drifted, and whether performance has moved with them.",
        "If a feature is filled in another way than before, correct its source.",
        "If the change is meant, record a new reference.",
    ),
    "coverage": (
        "Ask whether truths come later, or not at all: the delay curve shows which.",
        "Read no figure of early rungs until they are back: they rest on fewer truths.",
    ),
    "no_labels": (
        "Ask the source of truths whether it still sends, and under the same prediction ids.",
    ),
    "no_data": ("Ask whether the service still runs and sends predictions.",),
    "error_rate": ("Read the log of the service: predictions end in errors.",),
    "latency": ("Look at the load of the service: predictions take longer than allowed.",),
    "traffic": ("Ask whether the service was meant to get more or fewer requests.",),
    "data_quality": (
        "Look at the feature: values are missing, or categories came that were never seen.",
        "Correct its source, or record a new reference if the change is meant.",
    ),
    "system": (
        "Look at the worker and its machine: make room, or add a worker.",
        "driftline doctor lists what else it finds.",
    ),
    "failed_job": ("Read the message of the last run, and run the job again.",),
    "tuning_stagnation": (
        "No threshold helps any more: look at the features that drifted, and retrain.",
    ),
    "composite": ("Look at the alerts that it names.",),
}
_OTHERS: Final = ("Look at the evidence, and at what changed in the registry before it began.",)


def what_to_do(alert: Alert, config: ModelConfig) -> list[str]:
    """Advice on an alert, one sentence each.

    Parameters
    ----------
    config
        Settings of the model, which name the type of the rule.
    """
    kinds = {rule.name: rule.kind for rule in build_rules(config)}
    advice = _BY_TYPE.get(kinds.get(alert.rule, alert.rule), _OTHERS)
    runbook = [f"Follow the runbook: {alert.runbook_url}"] if alert.runbook_url else []
    return [*runbook, *advice]
