"""Topics of a program on its broker: the required set, creation, and checks of existing topics.

Required are the topics of `driftline.schemas.topics`, their dead-letter topics, a changelog for
each kind of task, the topic that says which program owns the results, and the one with which the
broker's time is measured. The automatic creation of a broker is not relied on. An existing topic is
never changed: another number of partitions would send ids to tasks that do not have their state.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType
from msgspec import Struct
from msgspec.structs import replace

from driftline.agents.kafka.broker.connection import LARGEST_RECORD, BrokerError, Connection
from driftline.agents.kafka.broker.task_kinds import DOWNSTREAM, JOIN, NOTIFY, kinds_of
from driftline.schemas.kafka_settings import KafkaSettings
from driftline.schemas.settings import Config
from driftline.schemas.times import DAY_MS
from driftline.schemas.topics import (
    DLQ_RETENTION_MS,
    JOINED,
    NOTIFICATIONS,
    SOURCES,
    TOPICS,
    WINDOW_PARTIALS,
    dlq_name,
)

OWNERSHIP = "driftline-owner"
REQUEST_S = 30.0
UNKNOWN_LIMIT: Final = 1_000_000
"""Taken for the largest record of a topic whose settings cannot be read: a little less than the
default of a broker.
"""
# Compaction deletes the beginning of a changelog in whole segments, so a segment must not be large.
CHANGELOG_SEGMENT_BYTES = 64 << 20
_CHECKED_SETTINGS = (
    "cleanup.policy",
    "retention.ms",
    "min.insync.replicas",
    "max.message.bytes",
    "message.timestamp.type",
)

log = logging.getLogger(__name__)


class WantedTopic(Struct, frozen=True, kw_only=True):
    """A topic that the program requires.

    Attributes
    ----------
    name
        Without the prefix.
    partitions
        Number of partitions.
    setting
        Configuration key of that number; None for a topic that works with any number.
    config
        Kafka settings of the topic.
    """

    name: str
    partitions: int
    setting: str | None
    config: dict[str, str]


class ExistingTopic(Struct, frozen=True, kw_only=True):
    """A topic on the broker.

    Attributes
    ----------
    name
        Without the prefix.
    topic_id
        Identity of the topic; a topic created again under the same name has another one.
    replicas
        Smallest number of replicas over the partitions.
    config
        cleanup.policy, retention.ms, min.insync.replicas, max.message.bytes and
        message.timestamp.type.
    """

    name: str
    topic_id: str
    partitions: int
    replicas: int
    config: dict[str, str]


class TopicMismatch(Struct, frozen=True, kw_only=True):
    """Reason why a topic cannot be used, and its remedy."""

    topic: str
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"topic {self.topic}: {self.message}; {self.remedy}"


class UnusableTopics(Exception):
    """Topics are missing or cannot be used; the message has a line for each."""


def changelog(settings: KafkaSettings, kind: str) -> str:
    """Name of the changelog of a kind of task, without the prefix.

    Examples
    --------
    >>> changelog(KafkaSettings(), "join")
    'driftline-join-changelog'
    """
    return f"{settings.app}-{kind}-changelog"


def clock_topic(settings: KafkaSettings) -> str:
    """Name of the topic with which the broker's time is measured, without the prefix.

    Examples
    --------
    >>> clock_topic(KafkaSettings())
    'driftline-clock'
    """
    return f"{settings.app}-clock"


def plan(config: Config) -> list[WantedTopic]:
    """All required topics, inputs first."""
    settings, kinds = config.kafka, kinds_of(config)

    def wanted(
        name: str, joined: bool, cleanup: str, retention_ms: int | None, **more: str
    ) -> WantedTopic:
        config = {
            "cleanup.policy": cleanup,
            "retention.ms": str(-1 if retention_ms is None else retention_ms),
            # Event time is part of the value. With event times as record timestamps, retention
            # would delete old records at once.
            "message.timestamp.type": "LogAppendTime",
            "max.message.bytes": str(LARGEST_RECORD),
            **{key.replace("_", "."): value for key, value in more.items()},
        }
        if settings.min_insync_replicas is not None:
            config["min.insync.replicas"] = str(settings.min_insync_replicas)
        setting = "input_partitions" if joined else "partitions"
        return WantedTopic(
            name=name,
            partitions=getattr(settings, setting),
            setting=f"kafka.{setting}",
            config=config,
        )

    topics: list[WantedTopic] = []
    for topic in TOPICS.values():
        if topic.name == NOTIFICATIONS and NOTIFY not in kinds:
            continue
        joined = topic.name in JOINED
        topics.append(wanted(topic.name, joined, topic.cleanup, topic.retention_ms))
        if settings.rekey and topic.name in SOURCES:
            topics.append(replace(topics[-1], name=SOURCES[topic.name]))
        # Tasks may read invalid records from these.
        if topic.stage == "input" or topic.name == WINDOW_PARTIALS:
            topics.append(
                replace(
                    wanted(dlq_name(topic.name), joined, "delete", DLQ_RETENTION_MS), setting=None
                )
            )
    for kind in kinds:
        segment = {"segment_bytes": str(CHANGELOG_SEGMENT_BYTES), "retention_bytes": "-1"}
        # Of the steps that are no tasks only the last record of each key counts.
        cleanup = "delete" if kind in (JOIN, DOWNSTREAM) else "compact"
        name, joined = changelog(settings, kind), kind not in (DOWNSTREAM, NOTIFY)
        topics.append(wanted(name, joined, cleanup, None, **segment))
        if kind == NOTIFY:
            topics[-1] = replace(topics[-1], partitions=1, setting=None)
    owner = wanted(OWNERSHIP, False, "delete", None, retention_bytes="-1")
    topics.append(replace(owner, partitions=1, setting=None))
    clock = wanted(clock_topic(settings), False, "delete", DAY_MS)
    topics.append(replace(clock, partitions=1, setting=None))
    return topics


def create(connection: Connection) -> list[str]:
    """Create the missing topics; returns their names on the broker.

    Raises
    ------
    BrokerError
        If the broker rejects one.
    """
    settings, admin = connection.settings, connection.admin()
    there = admin.list_topics(timeout=REQUEST_S).topics
    missing = [
        wanted for wanted in plan(connection.config) if connection.name(wanted.name) not in there
    ]
    asked = [
        NewTopic(
            connection.name(wanted.name),
            wanted.partitions,
            settings.replication_factor,
            config=wanted.config,
        )
        for wanted in missing
    ]
    if not asked:
        return []
    made = []
    for name, answer in admin.create_topics(
        asked, operation_timeout=REQUEST_S, request_timeout=REQUEST_S
    ).items():
        try:
            answer.result()
        except KafkaException as error:
            # Another process has just created it.
            if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
                continue
            raise _refused(connection, name, error) from error
        made.append(name)
    _wait_until_known(admin, made)
    return made


def describe(
    connection: Connection, names: Iterable[str] | None = None
) -> dict[str, ExistingTopic]:
    """Existing topics of the program, by name without prefix.

    Parameters
    ----------
    names
        Topics to look up, without prefix; by default all topics of `plan`.
    """
    admin = connection.admin()
    there = admin.list_topics(timeout=REQUEST_S).topics
    wanted = [wanted.name for wanted in plan(connection.config)] if names is None else list(names)
    present = [name for name in map(connection.name, wanted) if name in there]
    if not present:
        return {}
    topics = admin.describe_topics(TopicCollection(present), request_timeout=REQUEST_S)
    configs = {
        resource.name: {
            key: str(entry.value) for key, entry in answered.items() if key in _CHECKED_SETTINGS
        }
        for resource, answer in admin.describe_configs(
            [ConfigResource(ResourceType.TOPIC, name) for name in present],
            request_timeout=REQUEST_S,
        ).items()
        if (answered := _unless_deleted(answer)) is not None
    }
    found = {}
    for name in present:
        description = _unless_deleted(topics[name])
        if description is None or name not in configs:
            continue
        bare = connection.bare(name)
        found[bare] = ExistingTopic(
            name=bare,
            topic_id=topic_id_text(description.topic_id),
            partitions=len(description.partitions),
            replicas=min(len(partition.replicas) for partition in description.partitions),
            config=configs[name],
        )
    return found


def _unless_deleted(answer: Any) -> Any:
    """The answer about a topic; None if it was deleted since it was listed."""
    try:
        return answer.result()
    except KafkaException as error:
        if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise
        return None


def topic_id_text(topic_id: Any) -> str:
    """A topic's id in the URL-safe alphabet, as Kafka's tools write it."""
    return str(topic_id).replace("/", "_").replace("+", "-")


def largest_records(connection: Connection, names: Iterable[str]) -> dict[str, int]:
    """Bytes that a record of each topic may take, by name without prefix.

    Where the broker does not report it, it is `UNKNOWN_LIMIT`.
    """
    resources = {ConfigResource(ResourceType.TOPIC, connection.name(name)): name for name in names}
    admin = connection.admin()
    answers = admin.describe_configs(list(resources), request_timeout=REQUEST_S)
    limits = {}
    for resource, answer in answers.items():
        try:
            limit = int(answer.result()["max.message.bytes"].value)
        except KafkaException as error:
            log.warning(
                "the largest record of topic %s cannot be read, %d bytes are assumed: %s",
                resource.name,
                UNKNOWN_LIMIT,
                connection.error(error),
            )
            limit = UNKNOWN_LIMIT
        limits[resources[resource]] = min(limit, LARGEST_RECORD)
    return limits


def cluster_id(connection: Connection) -> str:
    """Id of the broker's cluster; offsets are comparable within one cluster only.

    Raises
    ------
    BrokerError
        If the broker reports none.
    """
    admin = connection.admin()
    identity: str | None = admin.describe_cluster(request_timeout=REQUEST_S).result().cluster_id
    if not identity:
        raise BrokerError(
            f"broker {connection.servers}: reports no cluster id; Driftline needs Apache Kafka "
            "2.1 or newer"
        )
    return str(identity)


def check(connection: Connection) -> list[TopicMismatch]:
    """Reasons why the topics on the broker cannot be used; empty if they can."""
    found, wanted = describe(connection), plan(connection.config)
    full = connection.name
    mismatches = [
        TopicMismatch(
            topic=full(topic.name),
            message="is missing on the broker",
            remedy="create it: driftline topics create",
        )
        for topic in wanted
        if topic.name not in found
    ]
    mismatches += check_counts(
        connection, {name: topic.partitions for name, topic in found.items()}
    )
    for topic in wanted:
        if topic.name in found:
            mismatches += _settings(topic, found[topic.name], full(topic.name))
    clock = found.get(clock_topic(connection.settings))
    if clock is not None and clock.config["message.timestamp.type"] != "LogAppendTime":
        reason = "its records must have the time of the broker"
        mismatches.append(
            _setting(full(clock.name), clock, "message.timestamp.type", "LogAppendTime", reason)
        )
    return mismatches


def check_counts(connection: Connection, partitions: Mapping[str, int]) -> list[TopicMismatch]:
    """Topics whose number of partitions does not fit the configuration.

    Parameters
    ----------
    partitions
        Number of partitions of the existing topics, by name without prefix.
    """
    wanted = plan(connection.config)
    return [
        mismatch
        for setting in dict.fromkeys(topic.setting for topic in wanted if topic.setting)
        for mismatch in _counts(
            [topic for topic in wanted if topic.setting == setting], partitions, connection.name
        )
    ]


def require(connection: Connection) -> dict[str, ExistingTopic]:
    """Return the existing topics after a check.

    Raises
    ------
    UnusableTopics
        If a topic is missing or cannot be used.
    """
    mismatches = check(connection)
    if mismatches:
        raise UnusableTopics("\n".join(map(str, mismatches)))
    return describe(connection)


def _counts(
    wanted: Sequence[WantedTopic], found: Mapping[str, int], full: Callable[[str], str]
) -> Iterator[TopicMismatch]:
    """Check topics that need the same number of partitions."""
    present = [topic for topic in wanted if topic.name in found]
    counts = {found[topic.name] for topic in present}
    for topic in present:
        count, setting = found[topic.name], f"{topic.setting} = {topic.partitions}"
        if count == topic.partitions:
            continue
        if len(counts) == 1:
            remedy = f"set {topic.setting} = {count}"
        elif topic.name in TOPICS:
            remedy = (
                "delete it, create it again with driftline topics create, and send its records "
                f"again; or set {topic.setting} to the number that all topics have"
            )
        else:
            remedy = (
                "it holds the state of a program with other topics; give this program another "
                "name (kafka.app)"
            )
        yield TopicMismatch(
            topic=full(topic.name),
            message=f"has {count} partition{'' if count == 1 else 's'}, but {setting}",
            remedy=remedy,
        )


def _settings(wanted: WantedTopic, found: ExistingTopic, name: str) -> Iterator[TopicMismatch]:
    """Check settings that would lose records or make writes fail."""
    cleanup = wanted.config["cleanup.policy"]
    if "compact" in found.config["cleanup.policy"] and "compact" not in cleanup:
        yield _setting(
            name,
            found,
            "cleanup.policy",
            cleanup,
            "compaction would remove required records",
        )
    if (
        wanted.config["retention.ms"] == "-1"
        and ("delete" in cleanup or "delete" in found.config["cleanup.policy"])
        and found.config["retention.ms"] != "-1"
    ):
        yield _setting(name, found, "retention.ms", "-1", "its records are needed for ever")
    if wanted.name == WINDOW_PARTIALS and int(found.config["max.message.bytes"]) < LARGEST_RECORD:
        yield _setting(
            name,
            found,
            "max.message.bytes",
            str(LARGEST_RECORD),
            "the partials of one commit of stage 1 may be larger",
        )
    if int(found.config["min.insync.replicas"]) > found.replicas:
        reason = (
            f"it has {found.replicas} replica{'' if found.replicas == 1 else 's'}, so writes fail"
        )
        yield _setting(name, found, "min.insync.replicas", str(found.replicas), reason)


def _setting(topic: str, found: ExistingTopic, key: str, value: str, reason: str) -> TopicMismatch:
    return TopicMismatch(
        topic=topic,
        message=f"has {key}={found.config[key]}, and {reason}",
        remedy=(
            f"change it: kafka-configs --alter --entity-type topics --entity-name {topic} "
            f"--add-config {key}={value}"
        ),
    )


def _refused(connection: Connection, name: str, error: KafkaException) -> BrokerError:
    if error.args[0].code() == KafkaError.INVALID_REPLICATION_FACTOR:
        return BrokerError(
            f"broker {connection.servers}: topic {name} cannot have "
            f"{connection.settings.replication_factor} replicas "
            f"({error.args[0].str()}); lower kafka.replication_factor or start more brokers"
        )
    return connection.error(error, f"creating topic {name}")


def _wait_until_known(admin: AdminClient, names: Sequence[str]) -> None:
    """Wait until clients see the topics: a broker acknowledges creation before all brokers know."""
    ends = time.monotonic() + REQUEST_S
    while time.monotonic() < ends:
        topics: dict[str, Any] = admin.list_topics(timeout=REQUEST_S).topics
        if all(name in topics and topics[name].partitions for name in names):
            return
        time.sleep(0.05)
