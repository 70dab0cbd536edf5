"""What stage 4 remembers about responses to alerts.

State, all MessagePack. Every key begins with a kind and a model name:

    ("responses", model, response)         when it was taken last; "dry run" follows the name of the
                                           response where it was one
    ("episode", model, alert_id)           outcomes recorded for an open episode, by response, real
                                           ones and dry runs apart
    ("automatic", model, version, action)  the last change of the registry that an alert led to
"""

from __future__ import annotations

from typing import Any

import msgspec

from driftline.streams.registry.model_state import Fields
from driftline.streams.stage import State

FORMAT = 1

_encode = msgspec.msgpack.Encoder(order="deterministic").encode


class Taken(msgspec.Struct, frozen=True):
    """When a response was taken.

    Parameters
    ----------
    at_ms, alert_id
        Event time and cause of the last time.
    times
        How often on its day.
    """

    at_ms: int
    alert_id: str
    times: int


class AutomaticChange(msgspec.Struct, frozen=True):
    """A change of the registry that an alert led to.

    Parameters
    ----------
    at_ms, alert_id, revision
        When, because of which episode, and the revision that it led to.
    before, after
        The fields of the alert's version that it changed.
    taken_back_ms, taken_back_by
        When a person took it back, and who; None if nobody did.
    """

    at_ms: int
    alert_id: str
    revision: int
    before: Fields
    after: Fields
    taken_back_ms: int | None = None
    taken_back_by: str = ""


_decode_taken = msgspec.msgpack.Decoder(Taken).decode
_decode_episode = msgspec.msgpack.Decoder(dict[str, list[str]]).decode
_decode_change = msgspec.msgpack.Decoder(AutomaticChange).decode


class StoredResponses:
    """The keys of one model."""

    def __init__(self, state: State, model_name: str) -> None:
        self._state, self._name = state, model_name

    def taken(self, response: str, *, dry_run: bool) -> Taken | None:
        """When a response was taken last; dry runs are counted apart."""
        data = self._state.get(self._taken_key(response, dry_run))
        return None if data is None else _decode_taken(data)

    def put_taken(self, response: str, taken: Taken, *, dry_run: bool) -> None:
        self._state.put(self._taken_key(response, dry_run), _encode(taken))

    def episode(self, alert_id: str) -> dict[str, list[str]]:
        """Outcomes recorded for an episode, by response."""
        data = self._state.get(self._key("episode", alert_id))
        return {} if data is None else _decode_episode(data)

    def put_episode(self, alert_id: str, outcomes: dict[str, list[str]]) -> None:
        self._state.put(self._key("episode", alert_id), _encode(outcomes))

    def forget_episode(self, alert_id: str) -> None:
        """Delete what is known of an episode that has ended."""
        key = self._key("episode", alert_id)
        if self._state.get(key) is not None:
            self._state.delete(key)

    def change(self, version: str, action: str) -> AutomaticChange | None:
        """The last change that an action made because of an alert of a version."""
        data = self._state.get(self._key("automatic", version, action))
        return None if data is None else _decode_change(data)

    def put_change(self, version: str, action: str, change: AutomaticChange) -> None:
        self._state.put(self._key("automatic", version, action), _encode(change))

    def _taken_key(self, response: str, dry_run: bool) -> bytes:
        return self._key("responses", response, *(["dry run"] if dry_run else []))

    def _key(self, kind: str, *parts: Any) -> bytes:
        return _encode((kind, self._name, *parts))
