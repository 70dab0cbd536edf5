"""The read model of a broker's output topics gives what committed transactions hold."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest
from click.testing import CliRunner
from confluent_kafka import Producer, TopicPartition

from driftline.agents.cli.program import driftline
from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.topics import create
from driftline.agents.output_folder import read_run
from driftline.agents.read_model.read_model import ReadModel, open_broker
from driftline.schemas.results import RegistryEffect, encode
from driftline.schemas.topics import ALERTS, METRICS, REGISTRY_EFFECTS
from driftline.streams.lanes import NO_MODEL
from tests.agents.sample_output import sample_lines, sample_output
from tests.agents.serve.cases import QUESTIONS
from tests.agents.serve.serving import Api, Value, served
from tests.agents.test_read_model import everything, expected, in_order
from tests.kafka.brokers import Names
from tests.kafka.test_export import until_ended

pytestmark = pytest.mark.kafka

KAFKA = "input_partitions = 1\npartitions = 3"


class Writer:
    """Writes result topics in transactions, as a worker of this program or of another one."""

    def __init__(self, names: Names, connection: Connection) -> None:
        self.names, self.connection = names, connection
        self._producer = Producer(
            {"bootstrap.servers": names.servers, "transactional.id": f"{names.app}-writer"}
        )
        self._producer.init_transactions(30)

    def write(
        self,
        values: list[tuple[str, bytes | None]],
        *,
        aborted: bool = False,
        app: str | None = None,
        partition: int = 1,
    ) -> None:
        source = f"/{app or self.connection.settings.app}/stage".encode()
        self._producer.begin_transaction()
        for topic, value in values:
            self._producer.produce(
                self.connection.name(topic),
                value,
                key=b"k",
                partition=partition,
                headers={"ce_source": source},
            )
        if aborted:
            self._producer.flush(30)
            self._producer.abort_transaction(30)
        else:
            self._producer.commit_transaction(30)
        for topic in {topic for topic, _ in values}:
            until_ended(self.names, self.connection.name(topic))


@pytest.fixture
def connection(names: Names) -> Connection:
    connection = names.connection(kafka=KAFKA)
    create(connection)
    return connection


@pytest.fixture
def writer(names: Names, connection: Connection) -> Writer:
    return Writer(names, connection)


def of_the_sample() -> list[tuple[str, bytes]]:
    return [(topic, line) for topic, lines in sample_lines().items() for line in lines]


def content(model: ReadModel) -> dict[str, list[bytes]]:
    return in_order(everything(model))


def test_an_index_follows_the_topics(
    connection: Connection, writer: Writer, tmp_path: Path
) -> None:
    """Committed records of this program are added once, over restarts of the reader, whatever
    aborted transactions, tombstones and records of another program lie between them.
    """
    random = Random(7)
    index = tmp_path / "index.sqlite"
    left = of_the_sample()
    model = open_broker(connection, index=index)
    assert model.refresh() == set()
    while left:
        size = random.randrange(1, 200)
        writer.write(left[:size])
        if random.random() < 0.7:
            writer.write(left[:20], aborted=True)
        if random.random() < 0.7:
            writer.write(left[:20], app="another")
        writer.write([(ALERTS, None)])
        left = left[size:]
        if random.random() < 0.5:
            assert model.refresh()
        if random.random() < 0.3:
            model.close()
            model = open_broker(connection, index=index)
    model.refresh()
    assert content(model) == expected()
    model.close()

    new = open_broker(connection, index=tmp_path / "other.sqlite")
    assert content(new) == expected()
    new.close()


def test_a_topic_that_was_created_anew_is_read_from_its_start(
    names: Names, connection: Connection, writer: Writer, tmp_path: Path
) -> None:
    alerts = [(ALERTS, line) for line in sample_lines()[ALERTS]]
    figures = [(METRICS, line) for line in sample_lines()[METRICS]]
    writer.write([*alerts, *figures])
    model = open_broker(connection, index=tmp_path / "index.sqlite")
    admin = connection.admin()
    for future in admin.delete_topics([connection.name(ALERTS)]).values():
        future.result(30)
    create(connection)
    # More records than before: the old offset exists again.
    Writer(names, connection).write([*alerts, *alerts, *alerts])
    model.refresh()
    found = everything(model)
    assert found[ALERTS] == [line for _, line in alerts] * 3
    assert in_order(found)[METRICS] == expected()[METRICS]
    model.close()


def test_records_that_were_deleted_are_passed_over(
    connection: Connection, writer: Writer, tmp_path: Path
) -> None:
    lines = sample_lines()[METRICS]
    writer.write([(METRICS, line) for line in lines[:100]])
    model = open_broker(connection, index=tmp_path / "index.sqlite")
    writer.write([(METRICS, line) for line in lines[100:200]])
    # 100 records and a marker, then 50 more of the next hundred.
    place = TopicPartition(connection.name(METRICS), 1, 151)
    admin = connection.admin()  # must live until the answer is there
    for future in admin.delete_records([place]).values():
        future.result(30)
    writer.write([(METRICS, line) for line in lines[200:]])
    model.refresh()
    kept = {*lines[:100], *lines[150:]}
    # Later records of a window replace earlier ones: only what was read can be there.
    found = set(everything(model)[METRICS])
    assert found <= kept
    assert set(lines[200:]) & set(expected()[METRICS]) <= found
    model.close()


VERBS = [
    ("status",),
    ("models", "list"),
    ("models", "show", "churn"),
    ("models", "diff", "churn", "1.4.2", "--since", "2025-06-05T00:00:00Z"),
    ("performance", "summary"),
    ("performance", "summary", "--lane", "traffic", "--metric", "throughput"),
    ("performance", "details"),
    ("performance", "errors"),
    ("performance", "degradation"),
    ("performance", "trends", "--last", "30d", "--metric", "f1"),
    ("performance", "compare", "1.4.2", "1.4.2"),
    ("drift", "report"),
    ("drift", "history"),
    ("daily-summary",),
    ("registry", "history"),
    ("registry", "as-of", "2025-06-03T12:00:00Z"),
    ("labels", "report"),
]


def test_verbs_say_the_same_of_a_broker_and_of_a_folder(
    names: Names,
    connection: Connection,
    writer: Writer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    config = tmp_path / "driftline.toml"
    config.write_text(names.toml(kafka=KAFKA), encoding="utf-8")
    # As workers record them when they start.
    settings = RegistryEffect(
        model_name=NO_MODEL,
        revision=0,
        frontier="1970-01-01T00:00:00Z",
        settings=read_run(sample_output())["settings"],
    )
    writer.write([*of_the_sample(), (REGISTRY_EFFECTS, encode(settings)), (METRICS, b"{}")])
    on_broker = ["--broker", names.servers, "--config", str(config)]
    for verb in VERBS:
        for form in ([], ["--json"]):
            of_folder = CliRunner().invoke(driftline, [*verb, "--out", str(sample_output()), *form])
            assert of_folder.exit_code == 0, of_folder.output
            of_broker = CliRunner().invoke(driftline, [*verb, *on_broker, *form])
            assert of_broker.exit_code == 0, of_broker.output
            assert of_broker.stdout == of_folder.stdout, verb
            assert "churn" in of_folder.stdout, verb
            assert "1 record of metrics in" in of_broker.stderr, verb
    assert len(list((tmp_path / "cache" / "driftline").glob("*.sqlite"))) == 1


def test_the_api_says_the_same_of_a_broker_and_of_a_folder(
    names: Names,
    connection: Connection,
    writer: Writer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    config = tmp_path / "driftline.toml"
    config.write_text(names.toml(kafka=KAFKA), encoding="utf-8")
    settings = RegistryEffect(
        model_name=NO_MODEL,
        revision=0,
        frontier="1970-01-01T00:00:00Z",
        settings=read_run(sample_output())["settings"],
    )
    *first, last = of_the_sample()
    writer.write([*first, (REGISTRY_EFFECTS, encode(settings))])
    folder = Path(shutil.copytree(sample_output(), tmp_path / "out"))
    with (
        served("--broker", names.servers, "--config", str(config)) as live,
        served("--out", str(folder)) as recorded,
    ):
        writer.write([last])
        for path, questions in QUESTIONS.items():
            if path in ("/health", "/pipeline", "/quality"):
                continue
            expected = [recorded_answer(recorded, path, each) for each in questions]
            # What was committed last comes within seconds.
            while [recorded_answer(live, path, each) for each in questions] != expected:
                time.sleep(0.2)
        assert live.get("/pipeline")["source"]["state"] == "following"
        assert "driftline dlq" in live.get("/quality")["rejected_note"]


def recorded_answer(api: Api, path: str, question: dict[str, Value]) -> Any:
    """The answer without what differs between sources."""
    found = api.get(path, **question)
    found.pop("source", None)
    found.get("counters", {}).pop("rejected", None)
    return found
