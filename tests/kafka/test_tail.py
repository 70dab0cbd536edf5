"""`driftline send` and `driftline tail` on a live broker."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from driftline.agents.cli.program import driftline
from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.ranges import offset_ranges, read_all
from driftline.agents.kafka.broker.topics import create
from tests.agents.test_cli_examples import examples
from tests.kafka.brokers import BrokerProcess, Names
from tests.kafka.notify_live import KAFKA, firing, write

pytestmark = pytest.mark.kafka

COMMAND = (sys.executable, "-m", "driftline.agents.cli", "tail")
WAIT_S = 60.0


class Tail:
    """A running `driftline tail`."""

    def __init__(self, folder: Path, names: Names, *arguments: str, topic: str = "alerts") -> None:
        config = folder / "driftline.toml"
        config.write_text(names.toml(kafka=KAFKA), encoding="utf-8")
        self._out, self._err = folder / "tail.out", folder / "tail.err"
        options = ["--broker", names.servers, "--config", str(config)]
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [*COMMAND, topic, *arguments, *options],
                stdout=out,
                stderr=err,
            )

    def lines(self, count: int) -> list[str]:
        """The lines that it has printed, once there are so many."""
        self._until(lambda: self._out.read_text(encoding="utf-8").count("\n") >= count)
        return self._out.read_text(encoding="utf-8").splitlines()

    def errors(self) -> str:
        """What it has printed on standard error."""
        return self._err.read_text(encoding="utf-8")

    def until_waiting(self) -> Tail:
        """Wait until it follows the topic."""
        self._until(lambda: "waiting for records" in self.errors())
        return self

    def interrupted(self) -> int:
        """Its exit code after Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(WAIT_S)

    def _until(self, condition: Callable[[], bool]) -> None:
        until_s = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < until_s, self.errors()
            time.sleep(0.05)


def write_one(connection: Connection, name: str, model: str) -> None:
    write(connection, [firing(name, model=model)])
    time.sleep(0.002)  # the next record has a later time


def test_the_newest_records_and_each_new_one_are_shown(names: Names, tmp_path: Path) -> None:
    connection = names.connection(kafka=KAFKA)
    create(connection)
    for number in range(30):
        write_one(connection, f"a{number}", ("churn", "fraud", "x")[number % 3])
    tail = Tail(tmp_path, names, "--last", "4").until_waiting()
    try:
        for number, model in enumerate(("fraud", "churn")):
            write_one(connection, f"later{number}", model)
        lines = tail.lines(6)
        assert tail.interrupted() == 130
    finally:
        tail.process.kill()
    assert lines[4].endswith("later0 of fraud 1: later0 fires [later0]")
    assert [line.rpartition(" ")[2] for line in lines] == [
        *("[a26]", "[a27]", "[a28]", "[a29]", "[later0]", "[later1]")
    ]

    of_model = Tail(tmp_path, names, "--model", "fraud", "--json", "--last", "50", "--no-follow")
    assert of_model.process.wait(WAIT_S) == 0
    shown = [json.loads(line)["alert_id"] for line in of_model.lines(11)]
    assert shown == [*(f"a{number}" for number in range(1, 30, 3)), "later0"]


def test_inputs_are_shown_as_they_came_whoever_wrote_them(names: Names, tmp_path: Path) -> None:
    connection = names.connection(kafka=KAFKA)
    create(connection)
    producer = connection.producer()
    name = connection.name("predictions")
    for value in (b'{"a": 1}', b"no\x1b[31m JSON"):
        producer.produce(name, value, partition=0, headers=[("ce_source", b"/shop/checkout")])
    assert producer.flush(30) == 0
    tail = Tail(tmp_path, names, "--no-follow", topic="predictions")
    assert tail.process.wait(WAIT_S) == 0
    assert tail.lines(2) == ['{"a": 1}', "no\\x1b[31m JSON"]


def test_sent_events_lie_where_those_of_a_producer_would(names: Names, tmp_path: Path) -> None:
    connection = names.connection(kafka="input_partitions = 4\npartitions = 3")
    create(connection)
    config = tmp_path / "driftline.toml"
    config.write_text(names.toml(kafka=KAFKA), encoding="utf-8")
    options = ["--broker", names.servers, "--config", str(config)]

    def sent(*words: str, lines: str | None = None) -> Result:
        return CliRunner().invoke(driftline, ["send", *words, *options], input=lines)

    words = shlex.split(examples(("send", "prediction"))[0])[2:-2]  # without verb and broker
    one = sent(*words, "--id", "a1")
    assert (one.exit_code, one.output) == (0, "sent a1\n")
    label = sent("label", "--id", "a1", "--label", "yes", "--json")
    assert json.loads(label.output) == {"sent": 1, "prediction_id": "a1"}
    event = {"model_name": "churn", "model_version": "1", "timestamp": "2026-01-01T00:00:00Z"}
    lines = [
        json.dumps(event | {"prediction_id": f"b{number}", "score": 0.5}) for number in range(20)
    ]
    lines[3:3] = ["", '{"score": "\x1b[31m"}', json.dumps(event | {"prediction_id": "c"})]
    many = sent("prediction", lines="\n".join(lines))
    assert (many.exit_code, many.stdout) == (1, "sent 20; 3 invalid, which were not sent\n")
    assert [line.split(": ")[1] for line in many.stderr.splitlines()] == [
        *("predictions@4", "predictions@5", "predictions@6"),
    ]
    assert "\x1b" not in many.output
    ranges = offset_ranges(connection, ["predictions", "ground-truth"])
    places: dict[str, dict[str, int]] = {"predictions": {}, "ground-truth": {}}
    for topic, message in read_all(
        connection, [part for parts in ranges.values() for part in parts]
    ):
        key, value = (message.key() or b"").decode(), json.loads(message.value() or b"")
        assert key == value["prediction_id"]
        places[topic][key] = message.partition() or 0
    assert places["predictions"].keys() == {"a1", *(f"b{number}" for number in range(20))}
    assert places["ground-truth"] == {"a1": places["predictions"]["a1"]}
    assert len(set(places["predictions"].values())) == 4


def test_a_broker_that_is_killed_and_started_again_is_waited_for(
    own_broker: BrokerProcess, tmp_path: Path
) -> None:
    names = Names(own_broker.servers, "away")
    connection = names.connection(kafka=KAFKA)
    create(connection)
    tail = Tail(tmp_path, names).until_waiting()
    try:
        own_broker.kill()
        own_broker.start()
        write_one(connection, "after", "churn")
        assert tail.lines(1)[-1].endswith("[after]")
        assert tail.interrupted() == 130
    finally:
        tail.process.kill()


def test_a_topic_that_is_not_there_is_said(names: Names, tmp_path: Path) -> None:
    tail = Tail(tmp_path, names)
    assert tail.process.wait(WAIT_S) == 2
    assert f"has no topic {names.prefix}alerts; create it: driftline topics create" in tail.errors()
