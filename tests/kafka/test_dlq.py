"""`driftline dlq` on a real broker: dead letters are listed, shown, and sent again once."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from confluent_kafka import KafkaException

from driftline.agents.cli.program import driftline
from driftline.agents.kafka.broker import topics
from driftline.agents.kafka.broker.connection import BrokerError, Connection
from driftline.agents.kafka.broker.outgoing import Outgoing
from driftline.agents.kafka.broker.ranges import FetchedRecord, offset_ranges, read_records
from driftline.agents.kafka.broker.wire import dead_letter, fit_dead_letter
from driftline.agents.kafka.tools import dead_letters
from driftline.agents.kafka.tools.dead_letters import Selection, send_again
from driftline.schemas.rejects import Reason, Reject
from tests.kafka.brokers import Names

pytestmark = pytest.mark.kafka

SMALL = "input_partitions = 3\npartitions = 2"


@pytest.fixture
def connection(names: Names) -> Connection:
    """A connection to the test's own topics, which exist."""
    own = names.connection(kafka=SMALL)
    topics.create(own)
    return own


@pytest.fixture
def config(names: Names, tmp_path: Path) -> Path:
    """The configuration as a file."""
    path = tmp_path / "driftline.toml"
    path.write_text(names.toml(kafka=SMALL), encoding="utf-8")
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(driftline, ["dlq", *map(str, arguments)])


def test_retry_twice_sends_each_letter_once_with_its_key_to_its_partition(
    connection: Connection, config: Path
) -> None:
    put_aside(connection, numbers=range(5), reason="too_far_ahead")
    put_aside(connection, numbers=range(5, 7), reason="not_json")
    arguments = ("predictions", "--reason", "too_far_ahead", "--config", config)

    tried = run("retry", *arguments, "--dry-run")
    assert (tried.exit_code, tried.output) == (0, "would send 5 records of predictions\n")
    assert sent(connection) == []
    first, second = run("retry", *arguments), run("retry", *arguments)

    assert (first.exit_code, first.output) == (0, "sent 5 records of predictions\n")
    assert second.output == "sent 0 records of predictions; 5 were sent again before\n"
    again = sent(connection)
    assert sorted((record.key, record.value, record.partition) for record in again) == [
        (b"k%d" % number, b"v%d" % number, 2) for number in range(5)
    ]
    assert all(record.headers["dlq_sent_from"].startswith(b"predictions.dlq:") for record in again)
    # A wider selection sends the others only.
    assert run("retry", "predictions", "--config", config).output.startswith("sent 2 records")
    assert len(sent(connection)) == 7
    (row, other) = json.loads(run("list", "--config", config, "--json").output)
    assert (row["reason"], row["count"], row["sent_again"]) == ("too_far_ahead", 5, 5)
    assert (other["reason"], other["count"], other["sent_again"]) == ("not_json", 2, 2)


def test_letters_are_chosen_by_place_and_time(connection: Connection, config: Path) -> None:
    put_aside(connection, numbers=range(3), reason="not_json", key=b"same")
    time.sleep(1.1)
    between = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    put_aside(connection, numbers=range(3, 6), reason="not_json", key=b"same")
    letters = list(dead_letters.letters(connection, Selection(topics=("predictions",))))
    places = [letter.at for letter in letters]
    assert len({partition for partition, _ in places}) == 1
    (partition, first), (_, last) = places[1], places[2]

    chosen = run("show", f"predictions:{partition}:{first}-{last}", "--config", config, "--json")
    assert [row["value"]["base64"] for row in json.loads(chosen.output)] == ["djE=", "djI="]
    late = run("retry", "predictions", "--since", between, "--config", config)
    assert late.output == "sent 3 records of predictions\n"
    assert sorted(record.value for record in sent(connection)) == [b"v3", b"v4", b"v5"]
    early = run("retry", "predictions", "--until", between, "--config", config, "--json")
    assert json.loads(early.output)["sent"] == {"predictions": 3}
    assert len(sent(connection)) == 6


def test_a_letter_is_shown_with_escaped_bytes_and_without_bytes_it_cannot_be_sent(
    connection: Connection, config: Path
) -> None:
    whole = letter_of(connection, 0, b"\xff{\n", "encoding")
    write(
        connection,
        [whole, fit_dead_letter(letter_of(connection, 1, b"x" * 9_000, "too_large"), 5_000)],
    )
    write(connection, [Outgoing("predictions.dlq", 0, None, b"not ours")])

    shown = run("show", "predictions.dlq", "--config", config).output
    assert "record:    predictions[2]@0\n" in shown
    assert "value:     \\xff{\\n\n" in shown
    assert "size:      9000\n" in shown
    retried = run("retry", "predictions", "--config", config)
    assert retried.exit_code == 1
    assert retried.output.startswith("sent 1 record of predictions\n1 cannot be sent, the first ")
    assert [record.value for record in sent(connection)] == [b"\xff{\n"]


def test_letters_of_another_program_on_the_same_inputs_are_left_alone(
    connection: Connection, config: Path
) -> None:
    put_aside(connection, numbers=range(2), reason="not_json")
    write(connection, [letter_of(connection, 9, b"theirs", "not_json", app="another")])
    assert run("retry", "predictions", "--config", config).output.startswith("sent 2 records")


def test_a_call_that_another_one_has_taken_over_sends_nothing_twice(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_aside(connection, numbers=range(4), reason="not_json")
    send_batch = dead_letters._send_batch

    def other_call_first(*arguments: object) -> None:
        monkeypatch.setattr(dead_letters, "_send_batch", send_batch)
        assert send_again(connection, Selection()).sent == {"predictions": 4}
        send_batch(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(dead_letters, "_send_batch", other_call_first)
    with pytest.raises(BrokerError, match="another `driftline dlq retry` of this program"):
        send_again(connection, Selection())
    assert len(sent(connection)) == 4


def test_a_failed_transaction_leaves_neither_records_nor_markers(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_aside(connection, numbers=range(4), reason="not_json")
    monkeypatch.setattr(dead_letters, "_ANSWER_S", 30.0)
    write(connection, [letter_of(connection, 9, b"nowhere", "not_json", partition=77)])
    with pytest.raises((BrokerError, KafkaException)):
        send_again(connection, Selection())
    assert sent(connection) == []
    kept = Selection(topics=("predictions",), reason="not_json")
    ranges = offset_ranges(connection, ["predictions.dlq"])["predictions.dlq"]
    assert dead_letters.sent_again(connection, ranges) == set()
    assert len(list(dead_letters.letters(connection, kept))) == 5


def letter_of(
    connection: Connection,
    number: int,
    value: bytes,
    reason: Reason,
    *,
    key: bytes | None = None,
    app: str | None = None,
    partition: int = 2,
) -> Outgoing:
    return dead_letter(
        "predictions",
        partition,
        Reject(number, reason, f"record {number} is wrong"),
        key or b"k%d" % number,
        value,
        app=app or connection.settings.app,
        now_ms=time.time_ns() // 1_000_000,
    )


def put_aside(
    connection: Connection, *, numbers: range, reason: Reason, key: bytes | None = None
) -> None:
    write(
        connection,
        [letter_of(connection, number, b"v%d" % number, reason, key=key) for number in numbers],
    )


def write(connection: Connection, records: list[Outgoing]) -> None:
    producer = connection.producer(linger_ms=0)
    for out in records:
        producer.produce(
            connection.name(out.topic),
            out.value,
            out.key,
            -1 if out.partition is None else out.partition,
            headers=list(out.headers),
        )
    assert producer.flush(30) == 0


def sent(connection: Connection) -> list[FetchedRecord]:
    return [
        record
        for part in offset_ranges(connection, ["predictions"])["predictions"]
        for records in read_records(connection, part)
        for record in records
    ]
