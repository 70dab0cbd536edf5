"""What was understood of one value, for people who connect a system:

`driftline schema validate`.
"""

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from driftline.schemas.aliases import ALIASES, ConflictingFields, canonical
from driftline.schemas.decode import (
    decode_commands,
    decode_predictions,
    decode_ticks,
    decode_truths,
)
from driftline.schemas.envelope import read_event
from driftline.schemas.rejects import FIELDS, InvalidEvent, Reason
from driftline.schemas.topics import GROUND_TRUTH, PREDICTIONS, REGISTRY_COMMANDS, TICKS

__all__ = ["EXPLAINED", "Explanation", "explain"]

_DECODERS: dict[str, Callable[..., Any]] = {
    PREDICTIONS: decode_predictions,
    GROUND_TRUTH: decode_truths,
    TICKS: decode_ticks,
    REGISTRY_COMMANDS: decode_commands,
}
EXPLAINED = tuple(_DECODERS)
"""The topics that `explain` knows: all inputs."""


class Explanation(Struct, frozen=True, kw_only=True):
    """How one value was read.

    Attributes
    ----------
    reason, error
        Code and sentence of the refusal; None where the value is accepted.
    aliases
        Other systems' names that were understood: alias -> canonical name.
    ignored
        Fields that are not known and therefore left alone, sorted.
    row
        What the stages will see; None where the value is refused.
    """

    reason: Reason | None
    error: str | None
    aliases: dict[str, str]
    ignored: tuple[str, ...]
    row: Any


def explain(value: bytes, topic: str, *, latest_ms: int | None = None) -> Explanation:
    """Read one value as the stages would, and tell how.

    Raises
    ------
    ValueError
        If the topic is no input topic.

    Examples
    --------
    >>> found = explain(b'{"request_id": "a", "y_true": 1, "ts": 0, "clerk": 7}', "ground-truth")
    >>> found.aliases, found.ignored, found.error
    ({'request_id': 'prediction_id', 'y_true': 'label', 'ts': 'timestamp'}, ('clerk',), None)
    """
    if topic not in _DECODERS:
        raise ValueError(f"{topic!r} is not an input topic; known are {', '.join(EXPLAINED)}")
    rows, _, rejects = _DECODERS[topic]([value], [0], latest_ms)
    aliases, ignored = _names(value, topic)
    reject = rejects[0] if rejects else None
    return Explanation(
        reason=reject.reason if reject else None,
        # The caller knows the line; position and destination in the sentence are the stream's.
        error=reject.error.removeprefix(f"{topic}@0: ").rpartition("; record sent to ")[0]
        if reject
        else None,
        aliases=aliases,
        ignored=ignored,
        row=rows[0] if rows else None,
    )


def _names(value: bytes, topic: str) -> tuple[dict[str, str], tuple[str, ...]]:
    if topic not in FIELDS:
        return {}, ()
    try:
        event, aliases = canonical(read_event(value), ALIASES[topic])
    except (InvalidEvent, ConflictingFields):
        return {}, ()
    return aliases, tuple(sorted(event.keys() - FIELDS[topic].keys()))
