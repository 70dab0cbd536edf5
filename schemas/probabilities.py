"""Probabilities as senders write them: rounding errors are removed, and what is sent instead of a
probability is named.
"""

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["TOLERANCE", "clipped_probabilities", "describe_scale", "describe_sum"]

TOLERANCE: Final = 1e-6
"""How far outside [0, 1] a probability may be to count as 0 or 1. The sum of a softmax in 32-bit
floats is off by up to 1e-7 for each class, that of 64-bit floats by 1e-16.
"""

SUM_TOLERANCE: Final = 0.01
"""How far from 1 probabilities of several classes may add up; 0.005 for each class if that is more,
as each may be rounded to two decimals.
"""

ONE_OF_TWO: Final = 0.5
"""The more probable of two classes has at least this probability."""

_FIELDS: Final = ("score", "threshold")


def clipped_probabilities(event: dict[str, Any]) -> dict[str, Any]:
    """The event of a prediction with the probabilities that are outside [0, 1] by at most
    `TOLERANCE` as 0 or 1.

    Parameters
    ----------
    event
        The event under canonical names; it is not changed.

    Examples
    --------
    >>> clipped_probabilities({"score": 1.0000001, "scores": {"yes": -1e-17, "no": 1.1}})
    {'score': 1.0, 'scores': {'yes': 0.0, 'no': 1.1}}
    """
    clipped: dict[str, Any] = {name: _clipped(event[name]) for name in _FIELDS if name in event}
    scores = event.get("scores")
    if isinstance(scores, dict):
        clipped["scores"] = {name: _clipped(value) for name, value in scores.items()}
    return event | clipped


def _clipped(value: Any) -> Any:
    if isinstance(value, float):
        if 1 < value <= 1 + TOLERANCE:
            return 1.0
        if -TOLERANCE <= value < 0:
            return 0.0
    return value


def describe_sum(scores: Mapping[str, float]) -> str | None:
    """A sentence about probabilities of classes that do not add up to 1; None if they do.

    One class alone has to have less than 0.5: then another one is as probable, unless there are
    more than two and the others were left out.

    Examples
    --------
    >>> describe_sum({"a": 0.9, "b": 0.8})
    'field "scores": the probabilities of 2 classes add up to 1.7, not to 1'
    >>> describe_sum({"a": 0.33, "b": 0.33, "c": 0.33})
    >>> describe_sum({"a": 0.1})
    'field "scores": the only class has the probability 0.1, and counts as the predicted one'
    >>> describe_sum({"a": 0.6})
    """
    total = sum(scores.values())
    if len(scores) == 1:
        if total >= ONE_OF_TWO:
            return None
        return (
            f'field "scores": the only class has the probability {total:.4g}, and counts as the'
            " predicted one"
        )
    if abs(total - 1) <= max(SUM_TOLERANCE, 0.005 * len(scores)) + 1e-9:
        return None
    return (
        f'field "scores": the probabilities of {len(scores):,} classes add up to {total:.4g},'
        " not to 1"
    )


def describe_scale(value: float) -> str:
    """What a number far outside [0, 1] seems to be, and what to send instead.

    Examples
    --------
    >>> describe_scale(87.5)
    'if it is a percentage, send 0.875, if a logit, 1 / (1 + exp(-x))'
    >>> describe_scale(-2.5)
    'if it is a logit, send 1 / (1 + exp(-x))'
    """
    if 1 < value <= 100:
        return f"if it is a percentage, send {value / 100:g}, if a logit, 1 / (1 + exp(-x))"
    return "if it is a logit, send 1 / (1 + exp(-x))"
