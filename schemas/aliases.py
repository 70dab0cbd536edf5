"""Names that other systems use, accepted on input; only the canonical names are written."""

from typing import Any

from driftline.schemas.times import parse_time

__all__ = ["ALIASES", "ConflictingFields", "canonical"]

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
    """Two names of one field with different values."""


def canonical(
    event: dict[str, Any], aliases: dict[str, str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """The event under canonical names, and the aliases that were used (alias -> canonical name).

    A name with the value null counts as absent.

    Raises
    ------
    ConflictingFields
        If two names of one field differ in value.

    Examples
    --------
    >>> canonical({"y_true": "yes", "extra": 1}, ALIASES["ground-truth"])
    ({'extra': 1, 'label': 'yes'}, {'y_true': 'label'})
    """
    if event.keys().isdisjoint(aliases):
        return event, {}
    used = {name: aliases[name] for name in event if name in aliases}
    found = {name: value for name, value in event.items() if name not in used}
    source: dict[str, str] = {}
    for alias, name in used.items():
        value = event[alias]
        if value is None:
            continue
        if found.get(name) is None:
            found[name] = value
            source[name] = alias
        elif not _same(name, found[name], value):
            raise ConflictingFields(
                f'fields "{source.get(name, name)}" and "{alias}" both mean {name} and differ'
            )
    return found, used


def _same(name: str, first: Any, second: Any) -> bool:
    if name == "timestamp" and isinstance(first, str | int) and isinstance(second, str | int):
        try:
            return parse_time(first) == parse_time(second)
        except ValueError:
            return bool(first == second)  # neither notation is a time: refused as such later on
    return isinstance(first, bool) == isinstance(second, bool) and bool(first == second)
