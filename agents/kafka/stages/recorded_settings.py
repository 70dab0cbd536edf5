"""The settings with which a task counts, kept in its state.

A task that starts with other settings than it counted with refuses those that the counts depend on,
names each with both values, and takes over the others. `driftline.schemas.setting_changes` says
which is which. A model that was not counted yet can have any settings.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from driftline.agents.kafka.changelog.state_format import StateFormatError
from driftline.schemas.setting_changes import (
    Change,
    changes_of,
    decisions_of,
    recorded_settings,
)
from driftline.schemas.settings import Config
from driftline.streams.lanes import NO_MODEL
from driftline.streams.stage import State

_MOST_NAMED: Final = 5

_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_decode_settings = msgspec.msgpack.Decoder(dict[str, Any]).decode
_decode_models = msgspec.msgpack.Decoder(list[str]).decode


class RecordedSettings:
    """The settings of one task.

    Parameters
    ----------
    config
        The settings of this start.
    state, key
        State that holds the record, and the beginning of its keys.

    Attributes
    ----------
    settings
        The settings of this start, see `setting_changes.recorded_settings`.
    changes
        Changes since the last start that are in force from this one on.
    decisions
        By counted model, what stages 3 and 4 read of its settings: before and now, where it was
        changed.
    is_new
        Whether the state does not hold these settings yet.

    Raises
    ------
    StateFormatError
        If a setting was changed that the counts depend on; the message names each of them with its
        values.
    """

    def __init__(self, config: Config, state: State, key: bytes) -> None:
        self._state = state
        self._settings_key, self._models_key = key + b"settings", key + b"models"
        self.settings = recorded_settings(config, partitions=True)
        held = state.get(self._settings_key)
        before = None if held is None else _decode_settings(held)
        names = state.get(self._models_key)
        self._models = [] if names is None else _decode_models(names)
        self._known = frozenset(self._models)
        self.is_new = before != self.settings
        self._is_first = before is None
        self.changes: list[Change] = []
        self.decisions: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
        if before is not None and self.is_new:
            self._compare(before)

    def _compare(self, before: dict[str, Any]) -> None:
        self.changes = changes_of(before, self.settings, [NO_MODEL, *self._models])
        refused = [change for change in self.changes if change.effect == "refused"]
        if refused:
            shown = "; ".join(map(str, refused[:_MOST_NAMED]))
            more = len(refused) - _MOST_NAMED
            raise StateFormatError(
                f"the state was counted with other settings: {shown}"
                f"{f'; and {more} more' if more > 0 else ''}. Restore them, or give the program "
                "another kafka.app, under which it starts anew from the input topics"
            )
        for model in self._models:
            was, is_now = (decisions_of(each, model) for each in (before, self.settings))
            if was != is_now:
                self.decisions[model] = (was, is_now)

    @property
    def is_due(self) -> bool:
        """Whether changed settings have to be recorded without waiting for rows."""
        return self.is_new and not self._is_first

    def note(self, models: Iterable[str]) -> None:
        """Record the settings, and the names of models that are counted for the first time."""
        if self.is_new:
            self._state.put(self._settings_key, _encode(self.settings))
            self.is_new = False
        new = sorted({model for model in models if model and model not in self._known})
        if new:
            self._models = [*self._models, *new]
            self._known = frozenset(self._models)
            self._state.put(self._models_key, _encode(self._models))
