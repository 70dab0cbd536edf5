"""Stage 4: the registry. Keeps the log and the state of every model and answers each command with
one event.

State, all MessagePack: the model at its newest revision, one key per event of its log, and one per
command id that was seen.
"""

from __future__ import annotations

from typing import Any

import msgspec
import xxhash

from driftline.schemas import topics
from driftline.schemas.results import RegistryCommand, RegistryEvent
from driftline.schemas.settings import Config
from driftline.streams.registry.commands import Log, event_of
from driftline.streams.registry.model_state import REJECTED, Model, apply
from driftline.streams.registry.policy import build_policy, command_of
from driftline.streams.stage import Batch, Record, State

STATE_VERSION = 1

_encode = msgspec.msgpack.Encoder().encode
_content = msgspec.msgpack.Encoder(order="deterministic").encode
_decode_model = msgspec.msgpack.Decoder(tuple[int, Model]).decode
_decode_event = msgspec.msgpack.Decoder(RegistryEvent).decode


class Registry:
    """Commands and recommendations in, registry events and the state in force out.

    A command id that was seen before leads to nothing, so a command may be sent twice; the same id
    with another content is rejected. A dry run answers with the event that would be and is not
    remembered.
    """

    name = "registry"
    inputs: tuple[str, ...] = (topics.REGISTRY_COMMANDS, topics.RECOMMENDATIONS, topics.ALERTS)

    def __init__(self, config: Config) -> None:
        self._config = config

    def process(self, batch: Batch, state: State) -> list[Record]:
        """Events in the order of the commands, each followed by the entries that it changed;
        commands first, then recommendations.

        Alerts are read but lead to nothing yet: automatic responses come with the policy for them.
        """
        records: list[Record] = []
        for command in batch.records.get(topics.REGISTRY_COMMANDS, ()):
            records += self._carry_out(command, state)
        for recommendation in batch.records.get(topics.RECOMMENDATIONS, ()):
            policy = build_policy(self._config.for_model(recommendation.model_name))
            automatic = command_of(recommendation, policy)
            if automatic is not None:
                records += self._carry_out(automatic, state, cause=recommendation.recommendation_id)
        return records

    def _carry_out(
        self, command: RegistryCommand, state: State, *, cause: str | None = None
    ) -> list[Record]:
        name = command.model_name
        seen_key, content = (
            _key("command", name, command.command_id),
            xxhash.xxh64_digest(_content(command)),
        )
        seen = state.get(seen_key)
        if seen == content:
            return []
        model = load(state, name)
        event = event_of(model, command, _log(state, name), cause=cause)
        if seen is not None:
            event = msgspec.structs.replace(
                event,
                event=REJECTED,
                revision=model.revision,
                before=None,
                after=None,
                error=f"{command.command}: command_id {command.command_id!r} was another command's; give every command an id of its own",
            )
        records = [Record(topics.REGISTRY_EVENTS, event)]
        if command.dry_run:
            return records
        if seen is None:
            state.put(seen_key, content)
        changed = apply(model, event)
        if changed is not model:
            state.put(_key("event", name, event.revision), _encode(event))
            state.put(_key("model", name), _encode((STATE_VERSION, changed)))
            entries = [changed.entry(version) for version in event.after or {}]
            records += [Record(topics.REGISTRY, entry) for entry in entries]
        return records


def load(state: State, model_name: str) -> Model:
    """The model at its newest revision; an unknown one has no versions.

    Raises
    ------
    ValueError
        If the state was written by another version of this stage.
    """
    held = state.get(_key("model", model_name))
    if held is None:
        return Model(model_name)
    version, model = _decode_model(held)
    if version != STATE_VERSION:
        raise ValueError(
            f"registry state of {model_name} has format {version}, needed {STATE_VERSION}; replay registry-commands anew"
        )
    return model


def _log(state: State, model_name: str) -> Log:
    def event_at(revision: int) -> RegistryEvent:
        held = state.get(_key("event", model_name, revision))
        if held is None:
            raise ValueError(
                f"registry of {model_name}: the event of revision {revision} is missing from the state"
            )
        return _decode_event(held)

    return event_at


def _key(*parts: Any) -> bytes:
    return _encode(parts)
