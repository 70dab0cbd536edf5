"""`driftline doctor`: checks of installation, configuration, state and data, with remedies."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

import driftline
from driftline.agents.cli.broker_options import broker_option
from driftline.agents.cli.inputs import config_option
from driftline.agents.cli.output import example, json_option, out_option
from driftline.agents.cli.tables import print_findings
from driftline.agents.terminal import print_json

if TYPE_CHECKING:
    from driftline.schemas.check_result import CheckResult
    from driftline.schemas.settings import Config

_RATE = re.compile(r"(\d+(?:\.\d+)?)/(s|m|h|d)")
_PER_DAY = {"s": 86_400, "m": 1_440, "h": 24, "d": 1}


@click.command(
    short_help="Check installation, configuration, state and data.",
    epilog=example(
        "driftline doctor",
        "driftline doctor --config driftline.toml --rate 200/s",
        "driftline doctor --out driftline-out",
        "driftline doctor --config driftline.toml --broker broker:9092",
    ),
)
@config_option
@out_option
@click.option(
    "--rate",
    metavar="N/UNIT",
    help="Expected rate of predictions, for example 200/s; estimates the size of the state.",
)
@broker_option
@json_option
def doctor(
    config: Path | None, out: Path, rate: str | None, broker: str | None, as_json: bool
) -> int:
    """Check installation, configuration, state, data and broker.

    The output folder is checked if it exists; the broker, if --broker is given or the configuration
    has a table [kafka]. Ends with 1 if there is a problem.
    """
    per_day = None if rate is None else _per_day(rate)
    results = _run_checks(config, out, per_day, broker)
    if as_json:
        print_json(results)
    else:
        print_findings(results, empty="nothing to check")
    return 1 if any(result.level == "problem" for result in results) else 0


def _per_day(rate: str) -> float:
    match = _RATE.fullmatch(rate)
    if match is None:
        raise click.BadParameter(
            f"{rate!r} is not a rate such as 200/s, 50/m, 1000/h or 50000/d", param_hint="--rate"
        )
    return float(match[1]) * _PER_DAY[match[2]]


def _run_checks(
    config_path: Path | None, out: Path, per_day: float | None, broker: str | None
) -> list[CheckResult]:
    from driftline.agents.doctor import installation
    from driftline.schemas.check_result import CheckResult

    results = [installation.check_python(), *installation.check_libraries()]
    if any(result.level == "problem" for result in results):
        return results  # the imports below would fail

    from driftline.agents.configuration import checked_config
    from driftline.agents.doctor import output_folder, state_size
    from driftline.agents.doctor.channels import check_channels
    from driftline.agents.doctor.feature_shares import check_feature_shares
    from driftline.agents.output_folder import ReadError
    from driftline.schemas.config import ConfigError

    try:
        config = checked_config(config_path)
    except ConfigError as error:
        return [
            *results,
            CheckResult(
                check="configuration",
                level="problem",
                message=str(error),
                remedy="correct the file at that place",
            ),
        ]
    results.append(
        CheckResult(
            check="configuration",
            level="ok",
            message=f"{config_path or 'the default configuration'} is valid",
        )
    )
    results += check_channels(config)
    results += _check_broker(config, broker)
    if per_day is not None:
        results += state_size.estimate_state_size(
            [
                state_size.Load(model_name=name, per_day=per_day)
                for name in config.models or ("any model",)
            ],
            config,
        )
    if not out.is_dir():
        return results
    try:
        output = driftline.open(out)
        if not output.is_export:  # an export has topics only, no state
            results += output_folder.check_state(out)
            results += output_folder.check_config(output, config)
        metrics = list(output.metrics.where(segment="all").structs())
        results += output_folder.check_rejected_rows(output, metrics)
        results += output_folder.check_faults(metrics)
        results += output_folder.check_losses(metrics)
        results += output_folder.check_data(output, metrics)
        results += output_folder.check_rules(output)
        results += check_feature_shares(output.drift.structs())
    except ReadError as error:
        results.append(
            CheckResult(
                check="output",
                level="problem",
                message=str(error),
                remedy="replay into a new folder",
            )
        )
        return results
    if per_day is None:
        results += state_size.estimate_state_size(state_size.measured_loads(metrics), config)
    return results


def _check_broker(config: Config, broker: str | None) -> list[CheckResult]:
    from driftline.schemas.check_result import CheckResult
    from driftline.schemas.kafka_settings import KafkaSettings

    if broker is None and config.kafka == KafkaSettings():
        return []
    try:
        from driftline.agents.doctor.broker import check_broker
        from driftline.agents.kafka.broker.connection import BrokerError, Connection
    except ImportError as error:
        remedy = 'install the extra "kafka": pip install "driftline[kafka]"'
        return [
            CheckResult(
                check="libraries",
                level="problem",
                message=f"Kafka is configured, but {error}",
                remedy=remedy,
            )
        ]
    try:
        return list(check_broker(Connection(config, broker)))
    except BrokerError as error:
        return [
            CheckResult(
                check="broker",
                level="problem",
                message=str(error),
                remedy="correct the configuration",
            )
        ]
