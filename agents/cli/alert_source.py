"""Where the verbs of `driftline alerts` and `driftline actions` read alerts: the output folder of a
run, or a broker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

import driftline
from driftline.agents.cli.broker_options import broker_option, open_connection
from driftline.agents.cli.inputs import config_option, read_config, report_read_errors
from driftline.agents.cli.output import WrongInput, out_option

if TYPE_CHECKING:
    from driftline.agents.kafka.broker.connection import Connection
    from driftline.schemas.actions import Action
    from driftline.schemas.alert_commands import AlertEvent
    from driftline.schemas.results import Alert

F = TypeVar("F", bound=Callable[..., Any])
_NAMED = 5


@dataclass(frozen=True)
class AlertSource:
    """What was announced about alerts.

    Attributes
    ----------
    place
        Where it was read, for messages.
    alerts, answers
        Records of `alerts` and `alert-events`; those of one model in their order.
    actions
        Records of `actions`, likewise.
    connection
        To the broker; None for a folder.
    """

    place: str
    alerts: list[Alert]
    answers: list[AlertEvent]
    actions: list[Action]
    connection: Connection | None = None

    def episodes(self) -> dict[str, list[Alert]]:
        """The records of each episode by its id, in the order of the topic."""
        episodes: dict[str, list[Alert]] = {}
        for record in self.alerts:
            episodes.setdefault(record.alert_id, []).append(record)
        return episodes

    def newest(self) -> list[Alert]:
        """The newest record of each episode."""
        return [records[-1] for records in self.episodes().values()]

    def open_alert(self, name: str) -> Alert:
        """The newest record of the open alert whose fingerprint or id begins with `name`.

        Raises
        ------
        WrongInput
            If none does, or several do.
        """
        still_open = [alert for alert in self.newest() if alert.status != "resolved"]
        found = [alert for alert in still_open if alert.alert_id.startswith(name)]
        if len(found) == 1:
            return found[0]
        if found:
            raise WrongInput(
                f"{name} is the beginning of {len(found)} open alerts: {_named(found)}; name more "
                "of it"
            )
        raise WrongInput(f"no alert {name} is open in {self.place}; open are: {_named(still_open)}")


def source_options(command: F) -> F:
    """`--out`, `--broker` and `--config`, for `open_source`."""
    return out_option(broker_option(config_option(command)))


@contextmanager
def open_source(out: Path, broker: str | None, config: Path | None) -> Iterator[AlertSource]:
    """Read the alerts of a broker if one is named and no output folder, else of the folder.

    Raises
    ------
    WrongInput
        If they cannot be read.
    """
    if not is_broker(broker):
        with report_read_errors():
            results = driftline.open(out)
            alerts, answers = list(results.alerts.structs()), list(results.alert_events.structs())
            actions = list(results.actions.structs())
        yield AlertSource(f"{out}", alerts, answers, actions)
        return
    with open_connection(read_config(config), broker) as connection:
        from driftline.agents.kafka.tools.alert_topics import (
            read_actions,
            read_alerts,
            read_answers,
        )

        yield AlertSource(
            connection.servers,
            read_alerts(connection),
            read_answers(connection),
            read_actions(connection),
            connection,
        )


def is_broker(broker: str | None) -> bool:
    """Whether a verb works on the broker: one is named, and no folder is named beside it."""
    given = click.get_current_context().get_parameter_source
    named = [
        name
        for name in ("out", "log")
        if given(name) in (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)
    ]
    if broker is not None and named and given("broker") is ParameterSource.COMMANDLINE:
        raise WrongInput(f"--broker and --{named[0]} are given; name one of them")
    return broker is not None and not named


def why_fired(records: Sequence[Alert]) -> str | None:
    """The summary of the latest record that is not "resolved"; None if the topic has none left."""
    summaries = [record.summary for record in records if record.status != "resolved"]
    return summaries[-1] if summaries else None


def _named(alerts: Iterable[Alert]) -> str:
    listed = list(alerts)
    texts = [
        f"{alert.fingerprint} ({alert.rule} of {alert.model_name} {alert.model_version}, "
        f"segment {alert.segment})"
        for alert in listed[:_NAMED]
    ]
    more = f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
    return ", ".join(texts) + more if texts else "none"
