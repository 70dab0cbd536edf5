"""`driftline alerts rules`: the rules in force for a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from driftline.agents.cli.alert_source import is_broker
from driftline.agents.cli.broker_options import broker_option, open_connection
from driftline.agents.cli.inputs import config_option, read_config
from driftline.agents.cli.output import WrongInput, example, json_option
from driftline.agents.cli.tables import print_table
from driftline.agents.terminal import print_json

if TYPE_CHECKING:
    from driftline.schemas.settings import Config

_OWN_COLUMNS = ("type", "name", "segment", "window", "maturity", "for")


@click.command(
    "rules",
    epilog=example(
        "driftline alerts rules --config driftline.toml --model churn",
        "driftline alerts rules --broker broker:9092 --model churn",
    ),
)
@click.option("--model", "model_name", metavar="MODEL", help="Only this model.")
@config_option
@broker_option
@json_option
def show_rules(
    model_name: str | None, config: Path | None, broker: str | None, as_json: bool
) -> None:
    """Show which rules are in force, with their windows and parameters.

    They follow from the configuration; with --broker, from the settings that the workers recorded.
    Without --model, of each model that the configuration names, and of all others ("*").
    """
    settings = read_config(config)
    if is_broker(broker):
        settings = _recorded(settings, broker)
    names = [model_name] if model_name is not None else [*settings.models, "*"]
    rows = [row for name in names for row in _rules(settings, name)]
    if as_json:
        print_json(rows)
        return
    print_table(
        ["Model", "Rule", "Type", "Segment", "Window", "Maturity", "For", "Parameters"],
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
            )
            for row in rows
        ],
        empty="no rules are in force",
    )


def _rules(settings: Config, name: str) -> list[dict[str, Any]]:
    import msgspec

    from driftline.streams.decide import build_rules
    from driftline.streams.decide.rule import MetricRule

    model = settings.defaults if name == "*" else settings.for_model(name)
    rows = []
    for rule in build_rules(model):
        row = {"model": name, **msgspec.to_builtins(rule)}
        if isinstance(rule, MetricRule) and rule.lane() == "decisions" and rule.maturity is None:
            row["maturity"] = "first complete"
        rows.append(row)
    return rows


def _recorded(settings: Config, broker: str | None) -> Config:
    """The settings that the workers of a program recorded."""
    from driftline.schemas.config import parse_config
    from driftline.schemas.setting_changes import settings_toml

    with open_connection(settings, broker) as connection:
        from driftline.agents.kafka.tools.settings_in_force import settings_in_force

        recorded = settings_in_force(connection)
        if recorded is None:
            raise WrongInput(f"{connection.servers}: no worker has recorded its settings yet")
        return parse_config(settings_toml(recorded))


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
