"""The topics of a program on its broker: which are wanted, making them, and whether those that are
there can be used.

Wanted are the topics of `driftline.schemas.topics`, their dead-letter topics, and the two
changelogs. Nothing is left to a broker's automatic creation, and what exists is never changed:
another number of partitions would send ids to other tasks than their state is in.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType
from msgspec import Struct
from msgspec.structs import replace

from driftline.agents.kafka.broker.connection import LARGEST_RECORD, BrokerError, Connection
from driftline.agents.kafka.broker.task_kinds import STAGES
from driftline.schemas.kafka_settings import KafkaSettings
from driftline.schemas.topics import DLQ_RETENTION_MS, JOINED, TOPICS, WINDOW_PARTIALS, dlq_name

KINDS = tuple(STAGES)
REQUEST_S = 30.0
# A changelog is cut off at the front as it is copied forward; a segment is deleted as a whole, so
# it must not be large.
CHANGELOG_SEGMENT_BYTES = 64 << 20
_SHOWN = ("cleanup.policy", "retention.ms", "min.insync.replicas", "max.message.bytes")


class WantedTopic(Struct, frozen=True, kw_only=True):
    """A topic that the program needs.

    Attributes
    ----------
    name
        Without the prefix.
    partitions
        How many.
    setting
        Key of the configuration that says so; None for a topic that works with any number.
    config
        Kafka's settings of the topic.
    """

    name: str
    partitions: int
    setting: str | None
    config: dict[str, str]


class ExistingTopic(Struct, frozen=True, kw_only=True):
    """A topic as it is on the broker.

    Attributes
    ----------
    name
        Without the prefix.
    topic_id
        Differs from that of a topic of the same name which was there before.
    replicas
        The smallest number over its partitions.
    config
        cleanup.policy, retention.ms, min.insync.replicas and max.message.bytes.
    """

    name: str
    topic_id: str
    partitions: int
    replicas: int
    config: dict[str, str]


class TopicMismatch(Struct, frozen=True, kw_only=True):
    """Why a topic cannot be used, and what to do about it."""

    topic: str
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"topic {self.topic}: {self.message}; {self.remedy}"


class UnusableTopics(Exception):
    """Topics are missing or not as they have to be; the message has a line for each."""


def changelog(settings: KafkaSettings, kind: str) -> str:
    """Name of the changelog of a kind of task, without the prefix.

    Examples
    --------
    >>> changelog(KafkaSettings(), "join")
    'driftline-join-changelog'
    """
    return f"{settings.app}-{kind}-changelog"


def plan(settings: KafkaSettings) -> list[WantedTopic]:
    """All topics that are needed, inputs first."""

    def wanted(
        name: str, joined: bool, cleanup: str, retention_ms: int | None, **more: str
    ) -> WantedTopic:
        config = {
            "cleanup.policy": cleanup,
            "retention.ms": str(-1 if retention_ms is None else retention_ms),
            # Event time lies in the value. Records stamped with old event times would be deleted by
            # retention at once.
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
        joined = topic.name in JOINED
        topics.append(wanted(topic.name, joined, topic.cleanup, topic.retention_ms))
        if (
            topic.stage == "input" or topic.name == WINDOW_PARTIALS
        ):  # what tasks read may be nonsense
            topics.append(
                replace(
                    wanted(dlq_name(topic.name), joined, "delete", DLQ_RETENTION_MS), setting=None
                )
            )
    for kind in KINDS:
        segment = {"segment_bytes": str(CHANGELOG_SEGMENT_BYTES), "retention_bytes": "-1"}
        topics.append(wanted(changelog(settings, kind), kind == "join", "delete", None, **segment))
    return topics


def create(connection: Connection) -> list[str]:
    """Make the topics that are missing; gives their names, as on the broker.

    Raises
    ------
    BrokerError
        If the broker refuses one.
    """
    settings, admin = connection.settings, connection.admin()
    there = admin.list_topics(timeout=REQUEST_S).topics
    missing = [wanted for wanted in plan(settings) if connection.name(wanted.name) not in there]
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
            if (
                error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS
            ):  # by somebody else, just now
                continue
            raise _refused(connection, name, error) from error
        made.append(name)
    _wait_until_known(admin, made)
    return made


def describe(
    connection: Connection, names: Iterable[str] | None = None
) -> dict[str, ExistingTopic]:
    """The program's topics that are on the broker, by name without prefix.

    Parameters
    ----------
    names
        Those to look at, without prefix; by default all that `plan` wants.
    """
    admin = connection.admin()
    there = admin.list_topics(timeout=REQUEST_S).topics
    wanted = [wanted.name for wanted in plan(connection.settings)] if names is None else list(names)
    present = [name for name in map(connection.name, wanted) if name in there]
    if not present:
        return {}
    topics = admin.describe_topics(TopicCollection(present), request_timeout=REQUEST_S)
    configs = {
        resource.name: {
            key: str(entry.value) for key, entry in answer.result().items() if key in _SHOWN
        }
        for resource, answer in admin.describe_configs(
            [ConfigResource(ResourceType.TOPIC, name) for name in present],
            request_timeout=REQUEST_S,
        ).items()
    }
    found = {}
    for name in present:
        description = topics[name].result()
        bare = connection.bare(name)
        found[bare] = ExistingTopic(
            name=bare,
            topic_id=str(description.topic_id)
            .replace("/", "_")
            .replace("+", "-"),  # as Kafka writes it
            partitions=len(description.partitions),
            replicas=min(len(partition.replicas) for partition in description.partitions),
            config=configs[name],
        )
    return found


def cluster_id(connection: Connection) -> str:
    """The id of the broker's cluster: another cluster's offsets mean something else.

    Raises
    ------
    BrokerError
        If the broker tells none.
    """
    admin = connection.admin()
    identity: str | None = admin.describe_cluster(request_timeout=REQUEST_S).result().cluster_id
    if not identity:
        raise BrokerError(
            f"broker {connection.servers}: tells no cluster id; Driftline needs Apache Kafka 2.1 or newer"
        )
    return str(identity)


def check(connection: Connection) -> list[TopicMismatch]:
    """What stands against using the broker's topics."""
    found, wanted = describe(connection), plan(connection.settings)
    full = connection.name
    mismatches = [
        TopicMismatch(
            topic=full(topic.name),
            message="is not on the broker",
            remedy="make it with driftline topics create",
        )
        for topic in wanted
        if topic.name not in found
    ]
    for setting in dict.fromkeys(topic.setting for topic in wanted if topic.setting):
        mismatches += _counts([topic for topic in wanted if topic.setting == setting], found, full)
    for topic in wanted:
        if topic.name in found:
            mismatches += _settings(topic, found[topic.name], full(topic.name))
    return mismatches


def require(connection: Connection) -> dict[str, ExistingTopic]:
    """The topics, all as they have to be.

    Raises
    ------
    UnusableTopics
        If one is missing or cannot be used.
    """
    mismatches = check(connection)
    if mismatches:
        raise UnusableTopics("\n".join(map(str, mismatches)))
    return describe(connection)


def _counts(
    wanted: Sequence[WantedTopic], found: dict[str, ExistingTopic], full: Callable[[str], str]
) -> Iterator[TopicMismatch]:
    """Numbers of partitions of topics that need the same one."""
    present = [topic for topic in wanted if topic.name in found]
    counts = {found[topic.name].partitions for topic in present}
    for topic in present:
        count, setting = found[topic.name].partitions, f"{topic.setting} = {topic.partitions}"
        if count == topic.partitions:
            continue
        if len(counts) == 1:
            remedy = f"set {topic.setting} = {count}"
        elif topic.name in TOPICS:
            remedy = f"delete it, make it again with driftline topics create, and send its records anew; or set {topic.setting} to what all have"
        else:
            remedy = "it holds the state of a program with other topics; take another name for this one (kafka.app)"
        yield TopicMismatch(
            topic=full(topic.name),
            message=f"has {count} partition{'' if count == 1 else 's'}, but {setting}",
            remedy=remedy,
        )


def _settings(wanted: WantedTopic, found: ExistingTopic, name: str) -> Iterator[TopicMismatch]:
    """Settings with which records would get lost or could not be written."""
    cleanup = wanted.config["cleanup.policy"]
    if "compact" in found.config["cleanup.policy"] and "compact" not in cleanup:
        yield _setting(
            name,
            found,
            "cleanup.policy",
            cleanup,
            "compaction would remove records that are needed",
        )
    if (
        wanted.config["retention.ms"] == "-1"
        and "delete" in cleanup
        and found.config["retention.ms"] != "-1"
    ):
        yield _setting(name, found, "retention.ms", "-1", "what it holds is needed for ever")
    if wanted.name == WINDOW_PARTIALS and int(found.config["max.message.bytes"]) < LARGEST_RECORD:
        yield _setting(
            name,
            found,
            "max.message.bytes",
            str(LARGEST_RECORD),
            "what a commit of stage 1 adds may be larger",
        )
    if int(found.config["min.insync.replicas"]) > found.replicas:
        reason = f"it has {found.replicas} replica{'' if found.replicas == 1 else 's'}, so nothing can be written"
        yield _setting(name, found, "min.insync.replicas", str(found.replicas), reason)


def _setting(topic: str, found: ExistingTopic, key: str, value: str, reason: str) -> TopicMismatch:
    return TopicMismatch(
        topic=topic,
        message=f"has {key}={found.config[key]}, and {reason}",
        remedy=f"change it: kafka-configs --alter --entity-type topics --entity-name {topic} --add-config {key}={value}",
    )


def _refused(connection: Connection, name: str, error: KafkaException) -> BrokerError:
    if error.args[0].code() == KafkaError.INVALID_REPLICATION_FACTOR:
        return BrokerError(
            f"broker {connection.servers}: topic {name} cannot have {connection.settings.replication_factor} replicas "
            f"({error.args[0].str()}); lower kafka.replication_factor or start more brokers"
        )
    return connection.error(error, f"making topic {name}")


def _wait_until_known(admin: AdminClient, names: Sequence[str]) -> None:
    """A broker answers that a topic was made before every broker tells it to clients."""
    ends = time.monotonic() + REQUEST_S
    while time.monotonic() < ends:
        topics: dict[str, Any] = admin.list_topics(timeout=REQUEST_S).topics
        if all(name in topics and topics[name].partitions for name in names):
            return
        time.sleep(0.05)
