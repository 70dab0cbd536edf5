"""How one input value is decoded, for people who connect a system (`driftline schema validate`)."""

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from driftline.schemas.aliases import ALIASES, ConflictingFields, resolve_aliases
from driftline.schemas.decode import (
    SIDE_DECODERS,
    decode_predictions,
    decode_ticks,
    decode_truths,
)
from driftline.schemas.envelope import read_event
from driftline.schemas.rejects import FIELD_CHECKS, InvalidEvent, Reason
from driftline.schemas.topics import GROUND_TRUTH, PREDICTIONS, TICKS

__all__ = ["EXPLAINED_TOPICS", "Explanation", "explain"]

_DECODERS: dict[str, Callable[..., Any]] = {
    PREDICTIONS: decode_predictions,
    GROUND_TRUTH: decode_truths,
    TICKS: decode_ticks,
    **SIDE_DECODERS,
}
EXPLAINED_TOPICS = tuple(_DECODERS)
"""The topics whose values can be explained: all input topics."""


class Explanation(Struct, frozen=True, kw_only=True):
    """How one value was decoded.

    Attributes
    ----------
    reason, error
        Code of the rejection and a sentence about it; None if the value is accepted.
    aliases
        Field names of other systems that the value uses: alias -> canonical name.
    ignored
        Unknown fields, which are ignored, sorted.
    row
        The row that the stages get; None if the value is rejected.
    """

    reason: Reason | None
    error: str | None
    aliases: dict[str, str]
    ignored: tuple[str, ...]
    row: Any


def explain(value: bytes, topic: str, *, latest_ms: int | None = None) -> Explanation:
    """Decode one value exactly as for the stages, and report how.

    Raises
    ------
    ValueError
        If the topic is not an input topic.

    Examples
    --------
    >>> value = b'{"request_id": "a", "y_true": 1, "ts": 1e9, "clerk": 7}'
    >>> explanation = explain(value, "ground-truth")
    >>> explanation.aliases, explanation.ignored, explanation.error
    ({'request_id': 'prediction_id', 'y_true': 'label', 'ts': 'timestamp'}, ('clerk',), None)
    """
    if topic not in _DECODERS:
        raise ValueError(
            f"{topic!r} is not an input topic; there are {', '.join(EXPLAINED_TOPICS)}"
        )
    rows, _, rejects = _DECODERS[topic]([value], [0], latest_ms)
    aliases, ignored = _classify_names(value, topic)
    reject = rejects[0] if rejects else None
    return Explanation(
        reason=reject.reason if reject else None,
        # Offset and destination in the sentence belong to the stream; the caller knows the line.
        error=reject.error.removeprefix(f"{topic}@0: ").rpartition("; record sent to ")[0]
        if reject
        else None,
        aliases=aliases,
        ignored=ignored,
        row=rows[0] if rows else None,
    )


def _classify_names(value: bytes, topic: str) -> tuple[dict[str, str], tuple[str, ...]]:
    if topic not in FIELD_CHECKS:
        return {}, ()
    try:
        event, aliases = resolve_aliases(read_event(value, allow_non_finite=True), ALIASES[topic])
    except (InvalidEvent, ConflictingFields):
        return {}, ()
    return aliases, tuple(sorted(event.keys() - FIELD_CHECKS[topic].keys()))
