"""Probabilities as senders write them: rounding errors are removed, and what is sent instead of a
probability is named.
"""

from typing import Any, Final

__all__ = ["TOLERANCE", "clipped_probabilities", "describe_scale"]

TOLERANCE: Final = 1e-6
"""How far outside [0, 1] a probability may be to count as 0 or 1. The sum of a softmax in 32-bit
floats is off by up to 1e-7 for each class, that of 64-bit floats by 1e-16.
"""

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
