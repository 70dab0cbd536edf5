"""Invalid lines of every kind that occurs in practice."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

Event = dict[str, Any]


def wrong_prediction(event: Event, random: Random) -> bytes:
    """An invalid line made from a prediction."""
    return random.choice(PREDICTION_FAULTS)(event)


def wrong_truth(event: Event, random: Random) -> bytes:
    """An invalid line made from a truth."""
    return random.choice(TRUTH_FAULTS)(event)


def _json(event: Event, **changed: Any) -> bytes:
    return json.dumps({**event, **changed}, ensure_ascii=False).encode()


def _without(event: Event, name: str) -> bytes:
    return _json({key: value for key, value in event.items() if key != name})


_FAULTS: list[Callable[[Event], bytes]] = [
    lambda event: _json(event)[:-1],
    lambda event: b"not json at all",
    lambda event: b"[" + _json(event) + b"]",
    lambda event: b"null",
    lambda event: json.dumps(event).encode("utf-16"),
    lambda event: _json(event).replace(b"{", b'{"source": "caf\xe9", ', 1),  # Latin-1
    lambda event: _without(event, "prediction_id"),
    lambda event: _without(event, "timestamp"),
    lambda event: _json(event, prediction_id=1.5),
    lambda event: _json(event, timestamp="yesterday"),
    lambda event: _json(event, timestamp=True),
    lambda event: _json(event, timestamp="2054-01-01T00:00:00Z"),
    lambda event: _json(event, timestamp="1970-01-01T00:00:00Z"),
    lambda event: _json(event, timestamp=0),
]
PREDICTION_FAULTS: list[Callable[[Event], bytes]] = [
    *_FAULTS,
    lambda event: _without(event, "model_name"),
    lambda event: _without(event, "model_version"),
    lambda event: _json(event, score=float("nan")),
    lambda event: _json(event, score=float("inf")),
    lambda event: _json(event, score=1.7),
    lambda event: _json(event, score="0.3"),
    lambda event: _json(event, threshold=-0.1),
    lambda event: _json(event, features=[1, 2]),
    lambda event: _json(event, scores={"a": 1.5}),
    lambda event: _json(
        {
            name: event[name]
            for name in ("prediction_id", "model_name", "model_version", "timestamp")
        }
    ),
]
TRUTH_FAULTS: list[Callable[[Event], bytes]] = [
    *_FAULTS,
    lambda event: _json({**event, "retracted": False, "label": None}),
    lambda event: _json(event, label=[1], retracted=False),
    lambda event: _json(event, label="NaN", retracted=False),
    lambda event: _json(event, label="  ", retracted=False),
    lambda event: _json(event, label=float("nan"), retracted=False),
    lambda event: _json(event, label=1, revision="two"),
    lambda event: _json(event, label=1, retracted="yes"),
]
