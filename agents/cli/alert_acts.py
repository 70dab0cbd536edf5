"""Verbs of `driftline alerts` that act: each writes a command for stage 3, which answers it."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from driftline.agents.cli.alert_source import open_source, source_options
from driftline.agents.cli.broker_options import broker_option
from driftline.agents.cli.commands import act_options, header, send, send_to
from driftline.agents.cli.inputs import config_option
from driftline.agents.cli.output import WrongInput, example, json_option, minute
from driftline.agents.cli.tables import print_table
from driftline.agents.terminal import print_json

if TYPE_CHECKING:
    from driftline.schemas.alert_commands import AlertCommand, AlertEvent, Silence


def _act_on_alerts(name: str, command: str, help_: str) -> click.Command:
    """A verb that sends a command about open alerts."""

    @click.command(
        name,
        help=help_,
        epilog=example(
            f"driftline alerts {name} ac49ad7f --broker broker:9092 --reason 'on it'",
            f"driftline alerts {name} ac49ad7f --out driftline-out --log log --at "
            "2013-09-01T08:00:00Z",
        ),
    )
    @click.argument("names", metavar="ID...", nargs=-1, required=True)
    @act_options
    @source_options
    @json_option
    def act(
        names: tuple[str, ...],
        out: Path,
        broker: str | None,
        config: Path | None,
        log: Path | None,
        by: str | None,
        reason: str,
        at: str | None,
        wait: float,
        as_json: bool,
    ) -> int:
        with open_source(out, broker, config) as source:
            commands = [
                _command(
                    command,
                    alert.model_name,
                    {"fingerprint": alert.fingerprint},
                    by=by,
                    reason=reason,
                    at=at,
                )
                for alert in map(source.open_alert, names)
            ]
            return send(commands, source.connection, log, wait, describe=_accepted, as_json=as_json)

    return act


acknowledge = _act_on_alerts(
    "ack",
    "acknowledge",
    "Take on open alerts. ID is a fingerprint, or its beginning. Until it ends, every record of "
    "the episode names you.",
)
unacknowledge = _act_on_alerts("unack", "unacknowledge", "Give back what was acknowledged.")
accept = _act_on_alerts(
    "accept",
    "accept",
    "Accept the level of open alerts as the new baseline, which ends them. For rules that compare "
    "with a baseline: performance_drop, degradation, coverage.",
)


@click.command(
    "silence",
    epilog=example(
        "driftline alerts silence --model churn --for 2h --broker broker:9092 --reason migration",
        "driftline alerts silence --model churn --name 'drift*' --until 2026-12-01T06:00:00Z",
    ),
)
@click.option("--model", "model_name", metavar="MODEL", required=True, help="The model.")
@click.option("--name", "rule", default="*", show_default=True, help="Rule, or a pattern.")
@click.option("--version", default="*", show_default=True, help="Version, or a pattern.")
@click.option("--segment", default="*", show_default=True, help="Segment, or a pattern.")
@click.option("--severity", default="*", show_default=True, help="Severity, or a pattern.")
@click.option("--for", "duration", metavar="DURATION", help="How long, for example 2h or 3d.")
@click.option("--from", "starts_at", metavar="TIME", help="Begin; by default at once.")
@click.option("--until", "ends_at", metavar="TIME", help="End, in place of --for.")
@click.option("--id", "silence_id", metavar="ID", help="Name of the silence; by default made up.")
@act_options
@broker_option
@config_option
@json_option
def silence(
    model_name: str,
    rule: str,
    version: str,
    segment: str,
    severity: str,
    duration: str | None,
    starts_at: str | None,
    ends_at: str | None,
    silence_id: str | None,
    broker: str | None,
    config: Path | None,
    log: Path | None,
    by: str | None,
    reason: str,
    at: str | None,
    wait: float,
    as_json: bool,
) -> int:
    """Leave matching alerts of a model alone for a span of event time.

    They fire and resolve as without it, and their records name the silence. One that is still
    firing when its silence ends is announced once more. In a pattern, * stands for any characters
    and ? for one.
    """
    params = {
        "id": silence_id or uuid.uuid4().hex[:8],
        "rule": rule,
        "model_version": version,
        "segment": segment,
        "severity": severity,
        "starts_at": starts_at,
        "ends_at": ends_at,
        "duration": duration,
    }
    given = {name: value for name, value in params.items() if value not in (None, "*")}
    command = _command("silence", model_name, given, by=by, reason=reason, at=at)
    _check_silence(command)
    return send_to(command, broker, config, log, wait, describe=_accepted, as_json=as_json)


@click.command(
    "unsilence",
    epilog=example("driftline alerts unsilence night --model churn --broker broker:9092"),
)
@click.argument("silence_id", metavar="ID")
@click.option("--model", "model_name", metavar="MODEL", required=True, help="The model.")
@act_options
@broker_option
@config_option
@json_option
def unsilence(
    silence_id: str,
    model_name: str,
    broker: str | None,
    config: Path | None,
    log: Path | None,
    by: str | None,
    reason: str,
    at: str | None,
    wait: float,
    as_json: bool,
) -> int:
    """Take back the silence ID, as `driftline alerts silences` names it."""
    command = _command("unsilence", model_name, {"id": silence_id}, by=by, reason=reason, at=at)
    return send_to(command, broker, config, log, wait, describe=_accepted, as_json=as_json)


@click.command("silences", epilog=example("driftline alerts silences --broker broker:9092"))
@click.option("--model", "model_name", metavar="MODEL", help="Only this model.")
@source_options
@json_option
def list_silences(
    model_name: str | None,
    out: Path,
    broker: str | None,
    config: Path | None,
    as_json: bool,
) -> None:
    """List silences that nobody took back, with those that are over."""
    with open_source(out, broker, config) as source:
        silences = _silences(source.answers, model_name)
        place = source.place
    if as_json:
        from driftline.schemas.results import to_plain

        print_json([{"model_name": model} | to_plain(each) for model, each in silences])
        return
    print_table(
        ["ID", "Model", "Rule", "Version", "Segment", "Severity", "From", "Until", "By", "Why"],
        [
            (
                each.id,
                model,
                each.rule,
                each.model_version,
                each.segment,
                each.severity,
                "at once" if each.starts_at_ms is None else minute(each.starts_at_ms),
                minute(each.ends_at_ms),
                each.created_by,
                each.reason or "-",
            )
            for model, each in silences
        ],
        empty=f"no silence in {place}",
    )


def _silences(answers: Sequence[AlertEvent], model_name: str | None) -> list[tuple[str, Silence]]:
    found: dict[tuple[str, str], Silence] = {}
    for answer in answers:
        if answer.silence is None or model_name not in (None, answer.model_name):
            continue
        key = (answer.model_name, answer.silence.id)
        if answer.event == "unsilence":
            found.pop(key, None)
        else:
            found[key] = answer.silence
    return [(model, each) for (model, _), each in found.items()]


def _command(
    name: str,
    model_name: str,
    params: dict[str, Any],
    *,
    by: str | None,
    reason: str,
    at: str | None,
) -> AlertCommand:
    """A command with an id of its own."""
    from driftline.schemas.alert_commands import AlertCommand

    return AlertCommand(
        command=name, model_name=model_name, params=params, reason=reason, **header(by, at)
    )


def _check_silence(command: AlertCommand) -> None:
    """Refuse what stage 3 would reject whatever the alerts are."""
    from driftline.streams.decide.silences import InvalidSilence, silence_of

    try:
        silence_of(command, now_ms=0)
    except InvalidSilence as error:
        raise WrongInput(f"silence: {error} (--for, --from, --until)") from error


def _accepted(answer: AlertEvent) -> str:
    if answer.silence is not None:
        until = minute(answer.silence.ends_at_ms)
        return f"{answer.event}: {answer.silence.id}, until {until}"
    return f"{answer.event}: {answer.alert_id}"
