"""What a command to the registry would lead to, by the results of a run, before it is sent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from driftline.agents.cli.commands import change_text, send
from driftline.agents.cli.output import WrongInput
from driftline.agents.cli.rule_source import RuleSource
from driftline.agents.terminal import print_json

if TYPE_CHECKING:
    from driftline.schemas.results import RegistryCommand, RegistryEvent


def rehearse_and_add(
    command: RegistryCommand, source: RuleSource, log: Path | None, *, as_json: bool
) -> int:
    """Add a command to a recorded log if the registry would accept it; of a dry run, print what it
    would lead to.

    Raises
    ------
    WrongInput
        If it would be rejected.
    """
    event = rehearsed(command, source, log)
    if event.error is not None:
        raise WrongInput(f"{event.error} (by the results in {source.place})")
    if not command.dry_run:
        return send([command], None, log, 0.0, describe=change_text, as_json=as_json)
    if as_json:
        print_json({"sent": [], "answers": [event]})
    else:
        click.echo(change_text(event))
    return 0


def rehearsed(command: RegistryCommand, source: RuleSource, log: Path | None) -> RegistryEvent:
    """The event that a command would lead to at its time, after what a run has answered until then
    and the commands that were added to its log since.

    What the log has later than the command is not looked at.
    """
    from driftline.schemas.times import parse_time
    from driftline.streams.registry.commands import EventLog, event_of
    from driftline.streams.registry.history import in_force, replay
    from driftline.streams.registry.model_state import RegisteredModel

    name, at_ms = command.model_name, parse_time(command.timestamp)
    events = in_force((each for each in source.events if each.model_name == name), at_ms=at_ms)
    model = replay(events).get(name) or RegisteredModel(name)
    registry, config = EventLog(events), source.settings(name)
    for added in _added(command, source, log):
        if parse_time(added.timestamp) <= at_ms:
            event = event_of(model, added, registry, config)
            if model.apply(event):
                registry.add(event)
    return event_of(model, command, registry, config)


def _added(command: RegistryCommand, source: RuleSource, log: Path | None) -> list[RegistryCommand]:
    """Commands of a log to the model of a command that its run has not answered, in the order of
    their times.
    """
    import msgspec

    from driftline.schemas.results import RegistryCommand, decoder
    from driftline.schemas.times import parse_time
    from driftline.schemas.topics import REGISTRY_COMMANDS

    path = None if log is None else log / f"{REGISTRY_COMMANDS}.jsonl"
    if path is None or not path.is_file():
        return []
    answered = {event.command_id for event in source.events}
    decode, commands = decoder(RegistryCommand).decode, []
    for line in path.read_bytes().splitlines():
        try:
            each = decode(line)
            parse_time(each.timestamp)
        except (msgspec.DecodeError, ValueError):
            continue  # a replay reports it
        if each.model_name == command.model_name and each.command_id not in answered:
            commands.append(each)
    return sorted(commands, key=lambda each: parse_time(each.timestamp))
