"""Stage 4: the registry.

Answers each command with one event, and keeps the log and the state in force of every model.

State, all MessagePack. Every key begins with a kind and a model name:

    ("model", model)                  `ModelHead`, with the format of the state
    ("version", model, version)       `VersionState`; of the model itself with the version ""
    ("event", model, revision)        the event of that revision
    ("profile", model, reference_id)  digest of the reference profile of that name
    ("command", model, command_id)    digest of a command that was answered

and those of `response_state.py`. A command reads and writes a fixed number of these keys, whatever
the number of versions. Only a rollback to a revision reads more: the events after it.
"""

from __future__ import annotations

from typing import Any

import msgspec
import xxhash

from driftline.schemas import topics
from driftline.schemas.results import Alert, ReferenceProfile, RegistryCommand, RegistryEvent
from driftline.schemas.settings import Config
from driftline.streams.registry import response_state
from driftline.streams.registry.commands import event_of, profile_of
from driftline.streams.registry.model_state import (
    REJECTED,
    ModelHead,
    RegisteredModel,
    VersionState,
)
from driftline.streams.registry.policy import build_policy, command_of
from driftline.streams.registry.response import build_responses
from driftline.streams.registry.responses import Responses, note_taken_back
from driftline.streams.stage import Batch, Record, State
from driftline.streams.work_slices import WorkSlices, in_slices, run_slices

STATE_VERSION = 3

_encode = msgspec.msgpack.Encoder().encode
_content = msgspec.msgpack.Encoder(order="deterministic").encode
_decode_head = msgspec.msgpack.Decoder(tuple[int, msgspec.Raw]).decode
_decode_version = msgspec.msgpack.Decoder(VersionState).decode
_decode_event = msgspec.msgpack.Decoder(RegistryEvent).decode


class Registry:
    """Commands, recommendations and alerts in; registry events, entries, reference profiles and
    actions out.

    A command id counts once: the same command sent again leads to nothing, another command under
    the same id is rejected. A dry run is answered with the event that the command would lead to; it
    changes nothing and does not use up its id.

    Raises
    ------
    ValueError
        If a response of the configuration is invalid; the message begins with its path in the file.
    """

    name = "registry"
    inputs: tuple[str, ...] = (topics.REGISTRY_COMMANDS, topics.RECOMMENDATIONS, topics.ALERTS)
    state_format: tuple[int, ...] = (STATE_VERSION, response_state.FORMAT)

    def __init__(self, config: Config) -> None:
        self._config = config
        self._default = build_responses(config.defaults)
        self._responses = {name: build_responses(model) for name, model in config.models.items()}

    def process(self, batch: Batch, state: State) -> list[Record]:
        """Answer the commands of a batch, then apply the recommendations that the policy allows,
        then respond to alerts.

        Each event follows the reference profile that its command carries, and precedes the entries
        that it changed; an action follows the change of the registry that it is about.
        """
        return run_slices(self.work(batch, state))

    def work(self, batch: Batch, state: State) -> WorkSlices[list[Record]]:
        """As `process`, in slices of some commands each."""
        records: list[Record] = []
        for commands in in_slices(batch.records.get(topics.REGISTRY_COMMANDS, ())):
            for command in commands:
                records += self._carry_out(command, state)
            yield
        for recommendation in batch.records.get(topics.RECOMMENDATIONS, ()):
            policy = build_policy(self._config.for_model(recommendation.model_name))
            automatic = command_of(recommendation, policy)
            if automatic is not None:
                records += self._carry_out(automatic, state, cause=recommendation.recommendation_id)
        for alert in batch.records.get(topics.ALERTS, ()):
            records += self._respond(alert, state)
        return records

    def _respond(self, alert: Alert, state: State) -> list[Record]:
        responses = self._responses.get(alert.model_name, self._default)
        if not responses:
            return []

        def carry_out(command: RegistryCommand, cause: str) -> list[Record]:
            return self._carry_out(command, state, cause=cause)

        return list(Responses(alert.model_name, responses, state, carry_out).answer(alert))

    def _carry_out(
        self, command: RegistryCommand, state: State, *, cause: str | None = None
    ) -> list[Record]:
        stored = _StoredModel(state, command.model_name)
        content = xxhash.xxh64_digest(_content(command))
        answered = stored.answered(command.command_id)
        if answered == content:
            return []
        model = stored.model()
        config = self._config.for_rules(command.model_name)
        event = event_of(model, command, stored, config, cause=cause)
        if answered is not None:
            event = msgspec.structs.replace(
                event,
                event=REJECTED,
                revision=model.revision,
                before=None,
                after=None,
                error=f"{command.command}: command_id {command.command_id!r} was another "
                "command's; give every command an id of its own",
            )
        records = [Record(topics.REGISTRY_EVENTS, event)]
        if command.dry_run:
            return records
        if answered is None:
            stored.put_answered(command.command_id, content)
        changed = model.apply(event)
        if changed:
            stored.write(model, event, changed)
            note_taken_back(event, command, state)
            records += model.in_force(event)
            profile = profile_of(command)
            if profile is not None and stored.put_profile(profile):
                records.insert(0, Record(topics.REFERENCE_PROFILES, profile))
        return records


class _StoredModel:
    """The keys of one model in the state of the stage."""

    def __init__(self, state: State, name: str) -> None:
        self._state = state
        self._name = name

    def model(self) -> RegisteredModel:
        """The model at its newest revision, with versions that are read when asked for.

        Raises
        ------
        ValueError
            If the state was written in another format.
        """
        data = self._state.get(self._key("model"))
        head = None
        if data is not None:
            version, raw = _decode_head(data)
            if version != STATE_VERSION:
                raise ValueError(
                    f"registry state of {self._name} has format {version}, needed {STATE_VERSION}; "
                    "replay the log into a new folder, or reset the state and read the topics anew"
                )
            head = msgspec.msgpack.decode(raw, type=ModelHead)
        return RegisteredModel(self._name, head, self._version)

    def _version(self, version: str) -> VersionState | None:
        data = self._state.get(self._key("version", version))
        return None if data is None else _decode_version(data)

    def write(self, model: RegisteredModel, event: RegistryEvent, changed: list[str]) -> None:
        """Write an event, the head after it, and the versions that it changed."""
        self._state.put(self._key("event", event.revision), _encode(event))
        self._state.put(self._key("model"), _encode((STATE_VERSION, model.head)))
        for version in changed:
            self._state.put(self._key("version", version), _encode(model.version(version)))

    def event(self, revision: int) -> RegistryEvent:
        """The event of a revision.

        Raises
        ------
        ValueError
            If the state lacks it.
        """
        data = self._state.get(self._key("event", revision))
        if data is None:
            raise ValueError(
                f"registry of {self._name}: the event of revision {revision} is missing from the "
                "state"
            )
        return _decode_event(data)

    def answered(self, command_id: str) -> bytes | None:
        """Digest of the command that was answered under an id; None for a new id."""
        return self._state.get(self._key("command", command_id))

    def put_answered(self, command_id: str, content: bytes) -> None:
        self._state.put(self._key("command", command_id), content)

    def profile_differs(self, profile: ReferenceProfile) -> bool:
        """Whether another profile of the model was recorded under this reference_id."""
        known = self._state.get(self._key("profile", profile.reference_id))
        return known is not None and known != _digest(profile)

    def put_profile(self, profile: ReferenceProfile) -> bool:
        """Note the content of a profile; False where it was recorded before."""
        key = self._key("profile", profile.reference_id)
        if self._state.get(key) is not None:
            return False
        self._state.put(key, _digest(profile))
        return True

    def _key(self, kind: str, *parts: str | int) -> bytes:
        return _encode((kind, self._name, *parts))


def _digest(profile: ReferenceProfile) -> bytes:
    """Digest of span and summaries; not of the time of recording."""
    content: Any = (profile.span, profile.profile)
    return xxhash.xxh64_digest(_content(content))
