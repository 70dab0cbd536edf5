"""Creating, listing and checking topics on a real broker, and messages about unusable topics."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from confluent_kafka.admin import (
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from driftline.agents.cli.program import driftline
from driftline.agents.kafka.broker import topics
from driftline.schemas.kafka_settings import KafkaSettings
from driftline.schemas.settings import Config
from tests.kafka.brokers import Names

pytestmark = pytest.mark.kafka

INPUTS = {"predictions", "ground-truth", "ticks"}
RESULTS = {
    *("window-partials", "outcomes", "metrics", "histograms", "drift", "alerts", "recommendations"),
    *("registry-commands", "registry-events", "registry-effects", "registry", "actions"),
    *("alert-commands", "alert-events", "worker-metrics", "job-runs"),
    "reference-profiles",
    "model-labels",
    "model-rules",
    "rule-windows",
}
DEAD_LETTERS = {
    "predictions.dlq",
    "ground-truth.dlq",
    "ticks.dlq",
    "registry-commands.dlq",
    "alert-commands.dlq",
    "worker-metrics.dlq",
    "job-runs.dlq",
    "window-partials.dlq",
}


def run(*words: str) -> Result:
    return CliRunner().invoke(driftline, list(words))


def wait_until(names: Names, topic: str, seen: Callable[[topics.ExistingTopic], bool]) -> None:
    """Wait until the broker shows a change of a topic, which it acknowledges earlier."""
    ends = time.monotonic() + 30.0
    while not ((found := topics.describe(names.connection(), [topic]).get(topic)) and seen(found)):
        assert time.monotonic() < ends, f"{topic} is still {found}"
        time.sleep(0.02)


def alter(names: Names, topic: str, **settings: str) -> None:
    entries = [
        ConfigEntry(key.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET)
        for key, value in settings.items()
    ]
    admin = names.connection().admin()
    (answer,) = admin.incremental_alter_configs(
        [
            ConfigResource(
                ResourceType.TOPIC, names.connection().name(topic), incremental_configs=entries
            )
        ]
    ).values()
    answer.result()
    wait_until(
        names,
        topic,
        lambda found: all(
            found.config[key.replace("_", ".")] == value for key, value in settings.items()
        ),
    )


def remake(names: Names, topic: str, partitions: int) -> None:
    admin = names.connection().admin()
    before = topics.describe(names.connection(), [topic]).get(topic)
    if before is not None:
        (gone,) = admin.delete_topics([names.connection().name(topic)]).values()
        gone.result()
    (made,) = admin.create_topics(
        [NewTopic(names.connection().name(topic), partitions, 1)]
    ).values()
    made.result()
    wait_until(names, topic, lambda found: before is None or found.topic_id != before.topic_id)


def test_topics_are_created_from_the_table_and_the_configuration(names: Names) -> None:
    connection = names.connection(
        kafka=(
            "input_partitions = 3\npartitions = 2\nmin_insync_replicas = 1\nreplication_factor = 1"
        )
    )
    made = topics.create(connection)
    found = topics.describe(connection)
    assert {name: topic.partitions for name, topic in found.items()} == {
        **dict.fromkeys(INPUTS, 3),
        **dict.fromkeys(RESULTS, 2),
        **{name: 3 if name.removesuffix(".dlq") in INPUTS else 2 for name in DEAD_LETTERS},
        f"{names.app}-join-changelog": 3,
        f"{names.app}-downstream-changelog": 2,
        "driftline-owner": 1,
        f"{names.app}-clock": 1,
    }
    assert sorted(made) == sorted(map(connection.name, found))
    day = 24 * 60 * 60 * 1000
    settings = {
        name: (topic.config["cleanup.policy"], int(topic.config["retention.ms"]))
        for name, topic in found.items()
    }
    assert settings["predictions"] == ("delete", 7 * day)
    assert settings["predictions.dlq"] == ("delete", 14 * day)
    assert settings["metrics"] == ("compact,delete", 30 * day)
    assert settings["registry"] == ("compact", -1)
    assert settings[f"{names.app}-join-changelog"] == ("delete", -1)
    assert topics.check(connection) == []
    assert topics.create(connection) == []


def test_re_keying_has_topics_and_journals_of_its_own_and_reads_those_of_the_producers(
    names: Names,
) -> None:
    plain = names.connection(kafka="input_partitions = 3\npartitions = 2")
    rekeyed = names.connection(kafka="input_partitions = 3\npartitions = 2\nrekey = true")
    before = set(topics.create(plain))
    assert set(topics.create(rekeyed)) == {
        f"{names.prefix}{names.app}-predictions-rekeyed",
        f"{names.prefix}{names.app}-ground-truth-rekeyed",
        f"{names.prefix}{names.app}-rekey-changelog",
    }
    assert f"{names.prefix}predictions" in before
    found = topics.describe(rekeyed)
    for name in ("predictions", "predictions-source", f"{names.app}-rekey-changelog"):
        assert found[name].partitions == 3
    assert found[f"{names.app}-rekey-changelog"].config["cleanup.policy"] == "compact"
    assert rekeyed.name("predictions-source") == plain.name("predictions")
    assert topics.check(rekeyed) == []


def test_a_topic_created_again_has_another_id_in_the_same_cluster(names: Names) -> None:
    connection = names.connection()
    remake(names, "alerts", 4)
    first, cluster = (
        topics.describe(connection, ["alerts"])["alerts"],
        topics.cluster_id(connection),
    )
    remake(names, "alerts", 4)
    second = topics.describe(connection, ["alerts"])["alerts"]
    assert first.topic_id != second.topic_id
    assert len(first.topic_id) == 22  # 16 bytes in base64, as Kafka's tools write it
    assert topics.cluster_id(connection) == cluster


def test_inputs_that_agree_on_another_number_need_another_configuration(
    names: Names,
) -> None:
    topics.create(names.connection(kafka="input_partitions = 2\npartitions = 2"))
    found = topics.check(names.connection(kafka="input_partitions = 3\npartitions = 2"))
    assert {names.connection().bare(mismatch.topic) for mismatch in found} == {
        *INPUTS,
        f"{names.app}-join-changelog",
    }
    assert {mismatch.message for mismatch in found} == {
        "has 2 partitions, but kafka.input_partitions = 3"
    }
    assert {mismatch.remedy for mismatch in found} == {"set kafka.input_partitions = 2"}


def test_one_topic_with_another_number_must_be_created_again(names: Names) -> None:
    connection = names.connection(kafka="input_partitions = 2\npartitions = 2")
    topics.create(connection)
    remake(names, "ground-truth", 1)
    (found,) = topics.check(connection)
    assert str(found).startswith(
        f"topic {names.prefix}ground-truth: has 1 partition, but kafka.input_partitions = 2; "
        "delete it, create it again"
    )
    with pytest.raises(topics.UnusableTopics, match="ground-truth: has 1 partition, but"):
        topics.require(connection)


def test_settings_that_would_lose_records_are_refused(names: Names) -> None:
    connection = names.connection(kafka="input_partitions = 1\npartitions = 1")
    topics.create(connection)
    changelog = f"{names.app}-join-changelog"
    alter(names, changelog, retention_ms="1000")
    alter(
        names, "window-partials", cleanup_policy="compact", max_message_bytes="1048588"
    )  # Kafka's default
    alter(names, "alerts", min_insync_replicas="2")
    alter(names, "outcomes", max_message_bytes="1000000")
    assert not [
        mismatch for mismatch in topics.check(connection) if mismatch.topic.endswith("outcomes")
    ]  # its records are small
    alter(
        names, "metrics", retention_ms="1000"
    )  # shorter than the default: a choice of the operator that loses no required record
    messages: dict[str, str] = {}
    for mismatch in topics.check(connection):
        topic = names.connection().bare(mismatch.topic)
        messages[topic] = f"{messages.get(topic, '')}\n{mismatch}"
    assert sorted(messages) == sorted([changelog, "window-partials", "alerts"])
    assert (
        "has retention.ms=1000, and its records are needed for ever; change it: kafka-configs "
        "--alter" in messages[changelog]
    )
    assert (
        "has cleanup.policy=compact, and compaction would remove required records"
        in messages["window-partials"]
    )
    assert (
        "has max.message.bytes=1048588, and the partials of one commit of stage 1 may be larger"
        in messages["window-partials"]
    )
    assert "has min.insync.replicas=2, and it has 1 replica, so writes fail" in messages["alerts"]


def test_more_replicas_than_brokers_are_refused_with_the_setting(
    names: Names, tmp_path: Path
) -> None:
    config = tmp_path / "driftline.toml"
    config.write_text(names.toml(kafka="replication_factor = 3"))
    result = run("topics", "create", "--config", str(config))
    assert result.exit_code == 2
    assert "cannot have 3 replicas" in result.output
    assert "lower kafka.replication_factor or start more brokers" in result.output


def test_the_commands_create_list_and_check_topics(names: Names, tmp_path: Path) -> None:
    config = tmp_path / "driftline.toml"
    config.write_text(names.toml(kafka="input_partitions = 2\npartitions = 1"))
    where = ("--config", str(config), "--broker", names.servers)

    missing = run("topics", "check", *where)
    assert missing.exit_code == 1
    assert (
        f"driftline: topic {names.prefix}predictions: is missing on the broker; create it: "
        "driftline topics create" in missing.output
    )
    assert "no topics on" in run("topics", "list", *where).output

    created = run("topics", "create", *where)
    assert (created.exit_code, f"created {names.prefix}alerts\n" in created.output) == (0, True)
    assert run("topics", "create", *where).output == "all topics exist\n"
    assert run("topics", "check", *where).output == "all topics have the required settings\n"
    config.write_text(names.toml(kafka="input_partitions = 4\npartitions = 1"))
    wrong = run("topics", "check", *where)
    assert (
        wrong.exit_code,
        "predictions: has 2 partitions, but kafka.input_partitions = 4" in wrong.output,
    ) == (1, True)

    listed = json.loads(run("topics", "list", "--json", *where).output)
    assert len(listed["topics"]) == len(INPUTS | RESULTS | DEAD_LETTERS) + 4
    assert listed["prefix"] == names.prefix


def test_partitions_that_the_workers_would_refuse_cannot_be_created(
    names: Names, tmp_path: Path
) -> None:
    config = tmp_path / "driftline.toml"
    config.write_text(names.toml(kafka="input_partitions = 2\npartitions = 1"))
    where = ("--config", str(config), "--broker", names.servers)
    result = run("topics", "create", "--partitions", "4", *where)
    assert result.exit_code == 2
    message = " ".join(result.output.split())
    assert "now kafka.input_partitions = 2, kafka.partitions = 1" in message
    assert "set input_partitions and partitions under [kafka] in" in message
    assert topics.describe(names.connection()) == {}


def test_every_input_and_only_inputs_follow_the_number_of_input_partitions() -> None:
    counts = {
        topic.name: topic.partitions
        for topic in topics.plan(Config(kafka=KafkaSettings(input_partitions=32, partitions=5)))
    }
    assert {name for name, count in counts.items() if count == 32} == INPUTS | {
        f"{name}.dlq" for name in INPUTS
    } | {"driftline-join-changelog"}
