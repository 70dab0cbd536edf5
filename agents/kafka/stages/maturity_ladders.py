"""Maturity ladder with which each model of a task was counted, kept in the task's state.

Counts are kept by rung, so the ladder of a model, with its label horizon, cannot change while the
counts exist. The default ladder is part of the shape of the whole state (`state_format.py`). A
model with its own ladder can be added at any time.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from driftline.agents.kafka.changelog.state_format import StateFormatError
from driftline.schemas.settings import Config
from driftline.schemas.times import format_duration
from driftline.streams.stage import State

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[str, list[int]]).decode


class MaturityLadders:
    """The ladders of one task.

    Parameters
    ----------
    state, key
        State that holds the ladders, and their key.

    Raises
    ------
    StateFormatError
        If the configuration has another ladder for a model that was counted.
    """

    def __init__(self, config: Config, state: State, key: bytes) -> None:
        self._config = config
        self._state = state
        self._key = key
        held = state.get(key)
        self._held = {} if held is None else _decode(held)
        for model, found in sorted(self._held.items()):
            wanted = self._wanted(model)
            if found != wanted:
                raise StateFormatError(
                    f'model "{model}" was counted at maturity {_ladder_text(found)}; the '
                    f"configuration now has {_ladder_text(wanted)}. Restore its "
                    "maturity and label_horizon, or give the program another kafka.app, under "
                    "which it starts anew from the "
                    "input topics"
                )

    def note(self, models: Iterable[str]) -> None:
        """Record the ladders of models that are counted for the first time."""
        new = {model: self._wanted(model) for model in models if model not in self._held}
        if new:
            self._held |= new
            self._state.put(self._key, _encode(self._held))

    def _wanted(self, model: str) -> list[int]:
        return [rung.ms for rung in self._config.for_model(model).maturity]


def _ladder_text(ladder_ms: list[int]) -> str:
    return " and ".join(map(format_duration, ladder_ms))
