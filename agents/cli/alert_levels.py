"""`driftline alerts threshold`: set levels of alert rules by a command to the registry."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import Any

import click

from driftline.agents.cli.alert_source import is_broker, source_options
from driftline.agents.cli.commands import act_options, change_text, header, send_to
from driftline.agents.cli.output import WrongInput, example, json_option
from driftline.agents.cli.rehearsal import rehearse_and_add
from driftline.agents.cli.rule_source import rules_of_folder

SEVERITIES = ("info", "warning", "error", "critical")


def _finite(_: click.Context, __: click.Parameter, value: float | None) -> float | None:
    if value is not None and not isfinite(value):
        raise click.BadParameter(f"{value} is no level")
    return value


@click.command(
    "threshold",
    epilog=example(
        "driftline alerts threshold n1-detector accuracy --below 0.88 --broker broker:9092",
        "driftline alerts threshold n1-detector accuracy --reset --broker broker:9092",
        "driftline alerts threshold churn f1 --below 0.75 --log log --out driftline-out --at "
        "2026-11-30T08:00:00Z",
    ),
)
@click.argument("model_name", metavar="MODEL")
@click.argument("rule", metavar="RULE")
@click.option("--below", type=float, callback=_finite, help="Fire below this level.")
@click.option("--above", type=float, callback=_finite, help="Fire above this level.")
@click.option("--clear", type=float, callback=_finite, help="Value at which the alert resolves.")
@click.option("--severity", type=click.Choice(SEVERITIES), help="Severity at this level.")
@click.option("--window", metavar="WINDOW", help="Window that is judged.")
@click.option(
    "--for", "lasts", metavar="N|DURATION", help="How long it lasts before the alert fires."
)
@click.option("--reset", is_flag=True, help="Take back what commands have set of the rule.")
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@act_options
@source_options
@json_option
def set_level(
    model_name: str,
    rule: str,
    below: float | None,
    above: float | None,
    clear: float | None,
    severity: str | None,
    window: str | None,
    lasts: str | None,
    reset: bool,
    dry_run: bool,
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
    """Set the level of an alert rule of MODEL, from the next window on.

    RULE is the name of a rule, or of a metric: then the threshold rule on it, which is created if
    there is none. What is left out stays as it is. Of a rule with a level for each severity,
    --above sets the level of --severity, by default that of a warning.
    """
    from driftline.schemas.results import RegistryCommand

    params: dict[str, Any] = {
        "rule": rule,
        "below": below,
        "above": above,
        "clear": clear,
        "severity": severity,
        "window": window,
        "for": int(lasts) if lasts is not None and lasts.isdecimal() else lasts,
        "reset": reset or None,
    }
    command = RegistryCommand(
        command="set_rule_level",
        model_name=model_name,
        params={name: value for name, value in params.items() if value is not None},
        reason=reason,
        dry_run=dry_run,
        **header(by, at),
    )
    if is_broker(broker):
        return send_to(command, broker, config, log, wait, describe=change_text, as_json=as_json)
    if log is None and not dry_run:
        raise WrongInput("where to? name a broker (--broker) or a recorded log (--log)")
    source = rules_of_folder(out)
    if model_name not in source.models and source.settings(model_name).subject == "model":
        known = ", ".join(sorted(source.models)) or "none"
        raise WrongInput(f"no model {model_name} in {out}; its models: {known}")
    return rehearse_and_add(command, source, log, as_json=as_json)
