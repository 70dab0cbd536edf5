"""`driftline alerts rules`: the rules in force for a model, and where their levels come from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from driftline.agents.cli.alert_source import is_broker
from driftline.agents.cli.broker_options import broker_option
from driftline.agents.cli.inputs import config_option, read_config
from driftline.agents.cli.output import example, json_option, minute
from driftline.agents.cli.rule_source import RuleSource, rules_of_broker, rules_of_folder
from driftline.agents.cli.tables import print_table
from driftline.agents.terminal import print_json

if TYPE_CHECKING:
    from driftline.schemas.results import RuleLevel

_OWN_COLUMNS = ("type", "name", "segment", "window", "maturity", "for", "origin", "command")


@click.command(
    "rules",
    epilog=example(
        "driftline alerts rules --config driftline.toml --model churn",
        "driftline alerts rules --out driftline-out --model churn",
        "driftline alerts rules --broker broker:9092 --model churn",
    ),
)
@click.option("--model", "model_name", metavar="MODEL", help="Only this model.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Output folder of a run, with its configuration and commands.",
)
@config_option
@broker_option
@json_option
def show_rules(
    model_name: str | None,
    out: Path | None,
    config: Path | None,
    broker: str | None,
    as_json: bool,
) -> None:
    """Show which rules are in force, with their windows, parameters and where these come from.

    They follow from the configuration and from commands (driftline alerts threshold): with --out,
    from those of a run, with --broker, from the settings that the workers recorded and the
    registry. Without --model, of each model that the configuration names or a command was about,
    and of all others ("*").
    """
    if is_broker(broker):
        with rules_of_broker(broker, config) as source:
            rows = _rows(source, model_name)
    elif out is not None:
        rows = _rows(rules_of_folder(out), model_name)
    else:
        rows = _rows(RuleSource("the configuration", read_config(config)), model_name)
    if as_json:
        print_json(rows)
        return
    print_table(
        ["Model", "Rule", "Type", "Segment", "Window", "Maturity", "For", "Parameters", "From"],
        [
            (
                row["model"],
                row["name"],
                row["type"],
                row["segment"],
                row.get("window") or "-",
                row.get("maturity") or "-",
                str(row["for"]),
                ", ".join(
                    f"{key} {_text(value)}"
                    for key, value in row.items()
                    if key not in ("model", *_OWN_COLUMNS) and value not in (None, [], ())
                ),
                _origin_text(row),
            )
            for row in rows
        ],
        empty="no rules are in force",
    )


def _rows(source: RuleSource, model_name: str | None) -> list[dict[str, Any]]:
    changed = [name for name in source.models if source.levels(name)]
    names = [*source.config.models, *changed, "*"] if model_name is None else [model_name]
    return [row for name in dict.fromkeys(names) for row in _rules(source, name)]


def _rules(source: RuleSource, name: str) -> list[dict[str, Any]]:
    import msgspec

    from driftline.streams.decide.rule import MetricRule
    from driftline.streams.decide.rule_levels import rules_in_force

    config, levels = source.settings(name), source.levels(name)
    rules, without_effect = rules_in_force(config, levels)
    written = {table["name"]: number for number, table in enumerate(config.rules)}
    rows = []
    for rule in rules:
        row = {"model": name, **msgspec.to_builtins(rule)}
        if isinstance(rule, MetricRule) and rule.lane() == "decisions" and rule.maturity is None:
            row["maturity"] = "first complete"
        row["origin"] = "default"
        if rule.name in written:
            row["origin"] = f"{config.rules_path}[{written[rule.name]}]"
        if rule.name in levels:
            level: RuleLevel = levels[rule.name]
            if "type" in level.values and rule.name not in written:
                row["origin"] = "command"
            row["command"] = msgspec.to_builtins(level)
            if rule.name in without_effect:
                row["command"]["without_effect"] = without_effect[rule.name]
        rows.append(row)
    return rows


def _origin_text(row: dict[str, Any]) -> str:
    command = row.get("command")
    if command is None:
        return str(row["origin"])
    what = ", ".join(
        f"{key} {_text(value)}" for key, value in command["values"].items() if value is not None
    )
    lines = [] if row["origin"] == "command" else [row["origin"]]
    lines.append(
        f"command: {what} (revision {command['revision']}, {command['set_by']}, "
        f"{minute(command['set_at'])})"
    )
    if "without_effect" in command:
        lines.append(f"without effect: {command['without_effect']}")
    return "\n".join(lines)


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
