"""What alerts lead to by themselves: the records of `actions`.

Which action an alert leads to is configured under `responses` and decided by stage 4
(`driftline.streams.registry.responses`). Changes of the registry are made there as well.
`escalate` is for the notifier (`driftline.streams.notify`), every other action for the serving
side; both read the topic.
"""

from typing import Any, Literal

from msgspec import Struct

from driftline.schemas.results import key_of
from driftline.schemas.times import EpochMs

__all__ = ["REGISTRY_ACTIONS", "Action", "ActionName", "ActionOutcome"]

ActionName = Literal[
    "log",
    "attempt_recovery",
    "rollback_configuration",
    "rollback_version",
    "pause_rollout",
    "request_retraining",
    "escalate",
    "restart_worker",
    "clear_cache",
]

REGISTRY_ACTIONS: tuple[ActionName, ...] = ("rollback_configuration", "rollback_version")
"""Actions that Driftline carries out itself, as changes of the registry."""

ActionOutcome = Literal[
    "taken", "dry_run", "silenced", "held_off", "cool_down", "most_a_day", "not_possible"
]


class Action(Struct, kw_only=True, omit_defaults=True, rename={"at_ms": "at"}):
    """What was decided about one response to one alert. A response is taken at most once in an
    episode; that it is not taken is recorded once for each outcome.

    Attributes
    ----------
    action_id
        Idempotency key: 16 hexadecimal digits, a hash of episode, response and outcome.
    action
        What to do.
    response
        Name of the response in the configuration.
    model_name, model_version, segment, rule, alert_id, severity
        The alert that led to it, as it was then.
    outcome
        "taken": to be done, or, of a change of the registry, done. "dry_run": it would have been
        taken. Otherwise why it is not taken: a silence matches the alert; a person took the same
        change back ("held_off"); the response was taken too recently, or as often as a day allows;
        the registry has nothing to go back to ("not_possible").
    dry_run
        Whether the response takes no action, whatever the outcome.
    at_ms
        Event time of the alert's change that led to it.
    reason
        One sentence for a person.
    params
        Those of the configuration; of a change of the registry "revision" and "after", as in its
        event.
    """

    action_id: str
    action: ActionName
    response: str
    model_name: str
    model_version: str
    segment: str
    rule: str
    alert_id: str
    severity: Literal["info", "warning", "error", "critical"]
    outcome: ActionOutcome
    dry_run: bool
    at_ms: EpochMs
    reason: str
    params: dict[str, Any] = {}

    def key(self) -> str:
        """model/version."""
        return key_of((self.model_name, self.model_version))
