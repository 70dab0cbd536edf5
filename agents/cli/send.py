"""`driftline send`: single events to the input topics of a broker."""

from __future__ import annotations

import json
import re
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from driftline.agents.cli.broker_options import broker_option, open_connection
from driftline.agents.cli.inputs import config_option, read_config
from driftline.agents.cli.output import WrongInput, example, json_option, number
from driftline.agents.terminal import inert, print_json

if TYPE_CHECKING:
    from driftline.schemas.settings import Config

PREDICTIONS: Final = "predictions"
_AT_ONCE: Final = 1_000
_INVALID: Final = 1
_TO_DLQ: Final = "; record sent to "
_NUMBER: Final = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")


@click.group()
def send() -> None:
    """Send single events to a broker, checked as a worker checks them."""


@send.command(
    "prediction",
    epilog=example(
        "driftline send prediction --model churn --version 1.4.2 --score 0.81 --feature tenure=12 "
        "--broker broker:9092",
        "driftline send prediction --broker broker:9092 < predictions.jsonl",
    )
    + "\n\nExit code: 1 if an event was invalid; it is not sent.",
)
@click.option("--model", "model_name", metavar="MODEL", help="The model.")
@click.option("--version", "model_version", metavar="VERSION", help="Its version.")
@click.option("--id", "prediction_id", metavar="ID", help="By default made up, and printed.")
@click.option("--time", "timestamp", metavar="TIME", help="Event time, by default now.")
@click.option("--prediction", metavar="LABEL", help="Predicted label.")
@click.option("--score", type=float, help="Predicted probability of the positive class.")
@click.option("--threshold", type=float, help="Threshold that turned the score into the label.")
@click.option("--latency-ms", type=float, help="Latency of the model, in milliseconds.")
@click.option("--status", type=click.Choice(("ok", "error")), help='By default "ok".')
@click.option(
    "--feature", "features", metavar="NAME=VALUE", multiple=True, help="Input; repeatable."
)
@click.option(
    "--segment", "segment", metavar="NAME=VALUE", multiple=True, help="Dimension; repeatable."
)
@config_option
@broker_option
@json_option
def prediction(
    config: Path | None,
    broker: str | None,
    as_json: bool,
    features: tuple[str, ...],
    segment: tuple[str, ...],
    **fields: Any,
) -> int:
    """Send a prediction made of the options; without options, one for each line of JSON on standard
    input.

    The key is the prediction id, so that the prediction and its label lie in one partition. A value
    of a feature that looks like a number is one.
    """
    pairs = {"features": _pairs("--feature", features), "segment": _pairs("--segment", segment)}
    given = fields | {name: values for name, values in pairs.items() if values}
    return _send(PREDICTIONS, given, config, broker, as_json=as_json)


@send.command(
    "label",
    epilog=example(
        "driftline send label --id a1 --label yes --broker broker:9092",
        "driftline send label --id a1 --retracted --revision 2 --broker broker:9092",
        "driftline send label --broker broker:9092 < ground-truth.jsonl",
    )
    + "\n\nExit code: 1 if an event was invalid; it is not sent.",
)
@click.option("--id", "prediction_id", metavar="ID", help="Id of the prediction.")
@click.option("--time", "timestamp", metavar="TIME", help="When it became known, by default now.")
@click.option("--label", metavar="LABEL", help="What came true.")
@click.option("--source", metavar="NAME", help="Who supplied it.")
@click.option("--revision", type=int, help="The greatest revision of several labels is in force.")
@click.option("--retracted", is_flag=True, default=None, help="Withdraw the label.")
@config_option
@broker_option
@json_option
def label(config: Path | None, broker: str | None, as_json: bool, **fields: Any) -> int:
    """Send a label (a ground truth) made of the options; without options, one for each line of JSON
    on standard input.

    The key is the prediction id, so that the prediction and its label lie in one partition.
    """
    return _send("ground-truth", fields, config, broker, as_json=as_json)


def _send(
    topic: str,
    fields: dict[str, Any],
    config: Path | None,
    broker: str | None,
    *,
    as_json: bool,
) -> int:
    """Send the event of the options, or those of standard input; 1 if one of these was invalid."""
    given = {name: value for name, value in fields.items() if value is not None}
    settings = read_config(config)
    if given:
        records, errors = _checked(topic, [_event(topic, given)], 0, settings)
        if errors:
            raise WrongInput(errors[0])
        with _to_broker(settings, broker, topic) as write:
            write(records)
        name = records[0][0].decode()
        if as_json:
            print_json({"sent": 1, "prediction_id": name})
        else:
            click.echo(inert(f"sent {name}"))
        return 0
    if sys.stdin.isatty():
        raise WrongInput(
            f"name the event by options, or give {topic} on standard input, a JSON object in each "
            "line"
        )
    n_sent = n_invalid = 0
    with _to_broker(settings, broker, topic) as write:
        for first, values in _portions(sys.stdin.buffer):
            records, errors = _checked(topic, values, first, settings)
            for error in errors:
                click.echo(f"driftline: {inert(error)}", err=True)
            write(records)
            n_sent, n_invalid = n_sent + len(records), n_invalid + len(errors)
    if as_json:
        print_json({"sent": n_sent, "invalid": n_invalid})
    else:
        not_sent = f"; {number(n_invalid)} invalid, which were not sent" if n_invalid else ""
        click.echo(f"sent {number(n_sent)}{not_sent}")
    return _INVALID if n_invalid else 0


@contextmanager
def _to_broker(
    settings: Config, broker: str | None, topic: str
) -> Iterator[Callable[[list[tuple[bytes, bytes]]], None]]:
    """Writes keys and values to the topic that producers write to."""
    with open_connection(settings, broker) as connection:
        from driftline.agents.kafka.broker.topics import UnusableTopics
        from driftline.agents.kafka.tools.send_records import send_records

        def write(records: list[tuple[bytes, bytes]]) -> None:
            send_records(connection, connection.source(topic), records)

        try:
            yield write
        except UnusableTopics as error:
            raise WrongInput(str(error)) from error


def _event(topic: str, given: dict[str, Any]) -> bytes:
    """The event of some fields, with a time and, for a prediction, an id."""
    from driftline.schemas.times import format_time

    made_up = {"timestamp": format_time(_now_ms())}
    if topic == PREDICTIONS:
        made_up["prediction_id"] = uuid.uuid4().hex
    return json.dumps(made_up | given).encode()


def _checked(
    topic: str, values: Sequence[bytes], first: int, settings: Config
) -> tuple[list[tuple[bytes, bytes]], list[str]]:
    """Keys and values of the valid events, and the faults of the others.

    Parameters
    ----------
    first
        Place of the first one, for messages.
    """
    from driftline.schemas.decode import decode_predictions, decode_truths

    decode: Any = decode_predictions if topic == PREDICTIONS else decode_truths
    rows, good, rejects = decode(
        values,
        range(first, first + len(values)),
        _now_ms() + settings.max_ahead_ms,
        where=topic,
        missing_labels=settings.missing_labels,
    )
    records = [
        (row.prediction_id.encode(), values[index]) for row, index in zip(rows, good, strict=True)
    ]
    # A worker writes the record to the dead letters; here nothing is written.
    return records, [f"{reject.error.partition(_TO_DLQ)[0]}; not sent" for reject in rejects]


def _portions(lines: Iterable[bytes]) -> Iterator[tuple[int, list[bytes]]]:
    """Lines, some at once, with the number of the first one, from 1."""
    first, stripped = 1, (line.rstrip(b"\r\n") for line in lines)
    while portion := list(islice(stripped, _AT_ONCE)):
        yield first, portion
        first += len(portion)


def _pairs(option: str, texts: Sequence[str]) -> dict[str, Any]:
    """The values of NAME=VALUE; those of features that are JSON numbers are numbers."""
    found: dict[str, Any] = {}
    for text in texts:
        name, is_given, value = text.partition("=")
        if not name or not is_given:
            raise WrongInput(f"{option} {text}: write NAME=VALUE")
        found[name] = _number(value) if option == "--feature" else value
    return found


def _number(text: str) -> Any:
    return json.loads(text) if _NUMBER.fullmatch(text) else text


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
