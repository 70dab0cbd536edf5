"""Verbs of `driftline models` that change the registry, each by a command that stage 4 answers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from click.core import ParameterSource

from driftline.agents.cli.alert_source import is_broker, source_options
from driftline.agents.cli.commands import act_options, change_text, header, send, send_to
from driftline.agents.cli.output import WrongInput, example, json_option
from driftline.agents.cli.rehearsal import rehearse_and_add
from driftline.agents.cli.rule_source import rules_of_folder

F = TypeVar("F", bound=Callable[..., Any])
TYPES: Final = ("supervised", "unsupervised", "semi-supervised", "reinforcement")
_SHA256: Final = re.compile("[0-9a-f]{64}")


def change_options(command: F) -> F:
    """Where a change goes, who asks for it and why, and whether it is only tried."""
    for option in (
        json_option,
        source_options,
        act_options,
        click.option(
            "--expected-revision",
            type=click.IntRange(min=0),
            metavar="N",
            help="Only if the model is at this revision.",
        ),
        click.option("--dry-run", is_flag=True, help="Only say what would change."),
    ):
        command = option(command)
    return command


def metadata_options(command: F) -> F:
    """What is known about a version."""
    for option in (
        click.option("--sha256", metavar="HEX", help="SHA-256 of the artifact, 64 digits."),
        click.option("--artifact", metavar="LOCATION", help="Where the files of the version are."),
        click.option(
            "--configuration",
            type=click.Path(path_type=Path, dir_okay=False, exists=True),
            help="JSON or TOML file with the configuration of the version.",
        ),
        click.option(
            "--tag",
            "tags",
            metavar="NAME=VALUE",
            multiple=True,
            help="Tag; repeatable. The tags given replace all there are.",
        ),
        click.option("--environment", metavar="NAME", help="Where it runs."),
        click.option("--owner", metavar="NAME", help="Whose it is."),
        click.option("--framework", metavar="NAME", help="What it was made with."),
        click.option("--type", "type_", type=click.Choice(TYPES), help="How it learns."),
    ):
        command = option(command)
    return command


@click.command(
    "register",
    epilog=example(
        "driftline models register churn@1.6.0 --threshold 0.4 --owner ann --broker broker:9092",
        "driftline models register churn@1.6.0 --stage staging --log sample-log --at "
        "2025-06-03T12:00:00Z",
    ),
)
@click.argument("name", metavar="NAME@VERSION")
@click.option(
    "--stage",
    type=click.Choice(("development", "staging")),
    default="development",
    show_default=True,
    help="Its first stage.",
)
@click.option(
    "--threshold", type=click.FloatRange(0, 1), help="Scores at or above it mean the positive."
)
@metadata_options
@change_options
def register(name: str, stage: str, threshold: float | None, dry_run: bool, **options: Any) -> int:
    """Register a version before its first prediction, which else registers it by itself."""
    params = _metadata(options) | {"stage": stage, "threshold": threshold}
    return _change("register", _version(name), params, dry_run=dry_run, **options)


@click.command(
    "update",
    epilog=example(
        "driftline models update churn@1.4.2 --owner bob --tag team=growth --broker broker:9092",
        "driftline models update churn@1.4.2 --owner bob --log sample-log",
    ),
)
@click.argument("name", metavar="NAME@VERSION")
@metadata_options
@change_options
def update(name: str, dry_run: bool, **options: Any) -> int:
    """Change what is known about a version; what is left out stays as it is."""
    params = _metadata(options)
    if not any(value is not None for value in params.values()):
        raise WrongInput("there is nothing to update; name at least one field, such as --owner")
    return _change("update", _version(name), params, dry_run=dry_run, **options)


@click.command(
    "promote",
    epilog=example(
        "driftline models promote churn@1.4.2 --reason 'won the comparison' --broker broker:9092",
        "driftline models promote churn@1.4.2 --to staging --log sample-log",
    ),
)
@click.argument("name", metavar="NAME@VERSION")
@click.option(
    "--to",
    type=click.Choice(("staging", "production")),
    default="production",
    show_default=True,
    help="The stage.",
)
@change_options
def promote(name: str, to: str, **options: Any) -> int:
    """Promote a version. The one that was in production goes back to staging."""
    return _change("promote", _version(name), {"to": to}, **options)


@click.command(
    "archive",
    epilog=example(
        "driftline models archive churn@1.4.2 --reason 'replaced' --broker broker:9092",
        "driftline models archive churn@1.4.2 --log sample-log",
    ),
)
@click.argument("name", metavar="NAME@VERSION")
@change_options
def archive(name: str, **options: Any) -> int:
    """Retire a version that is not in production: its alerts end and no rule judges it."""
    return _change("archive", _version(name), {}, **options)


@click.command(
    "delete",
    epilog=example(
        "driftline models delete churn@1.3.0 --reason 'never used' --broker broker:9092",
        "driftline models delete churn@1.3.0 --dry-run --broker broker:9092",
    ),
)
@click.argument("name", metavar="NAME@VERSION")
@change_options
def delete(name: str, **options: Any) -> int:
    """Delete an archived version: verbs leave it out from then on. Its results and its history
    stay, and `rollback` takes the deletion back.
    """
    return _change("delete", _version(name), {}, **options)


@click.command(
    "rollback",
    epilog=example(
        "driftline models rollback churn@1.4.2 --only configuration --broker broker:9092",
        "driftline models rollback churn --to-revision 12 --dry-run --broker broker:9092",
    ),
)
@click.argument("name", metavar="NAME[@VERSION]")
@click.option(
    "--to-revision",
    type=click.IntRange(min=0),
    metavar="N",
    help="Of the whole model: back to what was in force after this revision.",
)
@click.option(
    "--only",
    type=click.Choice(("configuration", "version")),
    help="Undo the last change of threshold and configuration, or put the version that was in "
    "production before this one there again.",
)
@change_options
def rollback(name: str, to_revision: int | None, only: str | None, **options: Any) -> int:
    """Undo the last change of a version, or all changes of a model since a revision.

    Stage, threshold, configuration, labels and levels of rules are restored; facts such as
    baselines stay. A rollback can be rolled back.
    """
    if to_revision is not None and only is not None:
        raise WrongInput("--to-revision and --only are given; name one of them")
    version = (name, None) if to_revision is not None else _version(name)
    return _change("rollback", version, {"to_revision": to_revision, "only": only}, **options)


CHANGES: Final = (register, update, promote, archive, delete, rollback)


def _change(
    command: str,
    version: tuple[str, str | None],
    params: dict[str, Any],
    *,
    out: Path,
    broker: str | None,
    config: Path | None,
    log: Path | None,
    by: str | None,
    reason: str,
    at: str | None,
    wait: float,
    dry_run: bool,
    expected_revision: int | None,
    as_json: bool,
) -> int:
    """Send a command to a broker, or add it to a log once it is tried on the results of a run, if
    there are any; 1 if it is rejected on the broker.
    """
    from driftline.agents.output_folder import RUN_FILE
    from driftline.schemas.results import RegistryCommand

    model_name, model_version = version
    sent = RegistryCommand(
        command=command,
        model_name=model_name,
        model_version=model_version,
        params={name: value for name, value in params.items() if value is not None},
        expected_revision=expected_revision,
        reason=reason,
        dry_run=dry_run,
        **header(by, at),
    )
    if is_broker(broker):
        return send_to(sent, broker, config, log, wait, describe=change_text, as_json=as_json)
    if log is None and not dry_run:
        raise WrongInput("where to? name a broker (--broker) or a recorded log (--log)")
    is_named = click.get_current_context().get_parameter_source("out") in (
        ParameterSource.COMMANDLINE,
        ParameterSource.ENVIRONMENT,
    )
    if dry_run or is_named or (out / RUN_FILE).is_file():
        return rehearse_and_add(sent, rules_of_folder(out), log, as_json=as_json)
    click.echo(f"driftline: not tried first: there are no results in {out} (--out)", err=True)
    return send([sent], None, log, wait, describe=change_text, as_json=as_json)


def _version(name: str) -> tuple[str, str]:
    """The model and the version of "churn@1.4.2"."""
    model, _, version = name.rpartition("@")
    if not model or not version:
        raise WrongInput(f'"{name}" names no version; write NAME@VERSION, such as churn@1.4.2')
    return model, version


def _metadata(options: dict[str, Any]) -> dict[str, Any]:
    """The fields of `metadata_options`, which are taken out of the options."""
    artifact, sha256 = options.pop("artifact"), options.pop("sha256")
    if sha256 is not None and artifact is None:
        raise WrongInput("--sha256 is that of an artifact; name it with --artifact")
    if sha256 is not None and not _SHA256.fullmatch(sha256.lower()):
        raise WrongInput(f"--sha256 {sha256}: a SHA-256 has 64 hexadecimal digits")
    fields = {name: options.pop(name) for name in ("framework", "owner", "environment")}
    location = {"location": artifact} | ({"sha256": sha256.lower()} if sha256 else {})
    return fields | {
        "type": options.pop("type_"),
        "tags": _tags(options.pop("tags")),
        "configuration": _configuration(options.pop("configuration")),
        "artifact": location if artifact is not None else None,
    }


def _tags(texts: Sequence[str]) -> dict[str, str] | None:
    tags = {}
    for text in texts:
        name, is_given, value = text.partition("=")
        if not name or not is_given:
            raise WrongInput(f'--tag {text}: write NAME=VALUE, such as "team=growth"')
        tags[name] = value
    return tags or None


def _configuration(path: Path | None) -> dict[str, Any] | None:
    import tomllib

    if path is None:
        return None
    try:
        text = path.read_text(encoding="utf-8")
        found = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except ValueError as error:
        raise WrongInput(f"{path}: {error}") from error
    if not isinstance(found, dict):
        raise WrongInput(f"{path}: a configuration is a table of names and values")
    return found
