"""Field names of other systems, accepted on input; only the canonical names are written."""

from typing import Any

from driftline.schemas.times import parse_time

__all__ = ["ALIASES", "ConflictingFields", "resolve_aliases"]

_ID = dict.fromkeys(("inference_id", "request_id", "identifier"), "prediction_id")
_TIME = dict.fromkeys(("ts", "event_time", "timestamp_ms"), "timestamp")

ALIASES: dict[str, dict[str, str]] = {
    "predictions": {
        **_ID,
        **dict.fromkeys(("model", "model_id"), "model_name"),
        "version": "model_version",
        **_TIME,
        **dict.fromkeys(("probability", "prediction_proba", "y_pred_proba"), "score"),
        **dict.fromkeys(("y_pred", "predicted_label"), "prediction"),
    },
    "ground-truth": {
        **_ID,
        **_TIME,
        **dict.fromkeys(("target", "y_true", "ground_truth", "actual"), "label"),
    },
    "ticks": _TIME,
}
"""By topic: alias -> canonical name."""


class ConflictingFields(ValueError):
    """An event has two names of one field with different values."""


def resolve_aliases(
    event: dict[str, Any], aliases: dict[str, str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """The event with canonical names, and the aliases that it used (alias -> canonical name).

    A field with the value null counts as absent.

    Raises
    ------
    ConflictingFields
        If two names of one field have different values.

    Examples
    --------
    >>> resolve_aliases({"y_true": "yes", "extra": 1}, ALIASES["ground-truth"])
    ({'extra': 1, 'label': 'yes'}, {'y_true': 'label'})
    """
    if event.keys().isdisjoint(aliases):
        return event, {}
    used = {name: aliases[name] for name in event if name in aliases}
    resolved = {name: value for name, value in event.items() if name not in used}
    source: dict[str, str] = {}
    for alias, name in used.items():
        value = event[alias]
        if value is None:
            continue
        if resolved.get(name) is None:
            resolved[name] = value
            source[name] = alias
        elif not _same(name, resolved[name], value):
            raise ConflictingFields(
                f'fields "{source.get(name, name)}" and "{alias}" both mean {name} and differ'
            )
    return resolved, used


def _same(name: str, first: Any, second: Any) -> bool:
    if name == "timestamp" and isinstance(first, str | int) and isinstance(second, str | int):
        try:
            return parse_time(first) == parse_time(second)
        except ValueError:
            return bool(first == second)  # not a time: rejected later
    return isinstance(first, bool) == isinstance(second, bool) and bool(first == second)
