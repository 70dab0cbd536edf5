"""Rights of the login: which a worker needs on its broker, and which of them are missing.

Topics report the operations that the login is allowed. Groups and transactional ids do not, before
they exist; they are asked with requests that a broker refuses for a missing right first and for
another reason next, so that they change nothing: the heartbeat of no member, and a producer with an
impossible transaction timeout.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from aiokafka import errors as aiokafka_errors
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.group import HeartbeatRequest
from aiokafka.protocol.transaction import InitProducerIdRequest
from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient, ConfigResource, ResourceType
from msgspec import Struct

from driftline.agents.kafka.broker.connection import BrokerAway, BrokerError, Connection
from driftline.agents.kafka.broker.task_kinds import DOWNSTREAM, INPUTS, JOIN, NOTIFY, REKEY, STAGES
from driftline.agents.kafka.broker.topics import (
    OWNERSHIP,
    REQUEST_S,
    changelog,
    clock_topic,
    plan,
)
from driftline.agents.kafka.tools.dead_letters import LETTER_TOPICS, RETRY
from driftline.agents.mirror.intake import MIRRORED
from driftline.schemas.topics import (
    ALERTS,
    JOINED,
    NOTIFICATIONS,
    OUTCOMES,
    REPORTS,
    SIDE_INPUTS,
    TICKS,
    TOPICS,
    WINDOW_PARTIALS,
    dlq_name,
    read_as,
)

TOPIC: Final = "topic"
GROUP: Final = "group"
TRANSACTIONAL_ID: Final = "transactional id"

_OPERATIONS: Final = {
    "Read": AclOperation.READ,
    "Write": AclOperation.WRITE,
    "Delete": AclOperation.DELETE,
    "Describe": AclOperation.DESCRIBE,
    "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS,
}
_INPUTS: Final = {JOIN: JOINED, DOWNSTREAM: (WINDOW_PARTIALS, *SIDE_INPUTS)}
# Besides the results of its stages: ticks, and commands that belong to another partition.
_ALSO_WRITTEN: Final = {JOIN: (TICKS, *REPORTS), DOWNSTREAM: (TICKS, *SIDE_INPUTS)}
_OF_GROUP, _OF_TRANSACTION = 0, 1
_IMPOSSIBLE_TIMEOUT_MS: Final = -1
_REQUESTS_AT_ONCE: Final = 50
_REFUSED: Final = (
    aiokafka_errors.GroupAuthorizationFailedError.errno,
    aiokafka_errors.TransactionalIdAuthorizationFailed.errno,
)
REFUSALS: Final = (
    aiokafka_errors.TopicAuthorizationFailedError,
    aiokafka_errors.GroupAuthorizationFailedError,
    aiokafka_errors.ClusterAuthorizationFailedError,
    aiokafka_errors.TransactionalIdAuthorizationFailed,
)
"""Errors of aiokafka for a missing right."""

# Otherwise a command line without a log writes them to standard error.
logging.getLogger("aiokafka").addHandler(logging.NullHandler())


class Right(Struct, frozen=True, order=True):
    """One operation on one resource.

    Attributes
    ----------
    resource
        TOPIC, GROUP or TRANSACTIONAL_ID.
    name
        Name on the broker.
    operation
        As Kafka's tools write it, such as "Write".
    """

    resource: str
    name: str
    operation: str

    def __str__(self) -> str:
        return f"{self.operation} on {self.resource} {self.name}"


class MissingRights(BrokerError):
    """The login lacks rights; the message names all of them."""


def needed(connection: Connection, kinds: Iterable[str] = tuple(STAGES)) -> list[Right]:
    """Rights that a worker with tasks of these kinds needs.

    Describe is not listed beside Read, Write or Delete, which include it.
    """
    settings, name = connection.settings, connection.name
    rights = {
        Right(TOPIC, name(topic.name), "DescribeConfigs"): None for topic in plan(connection.config)
    }
    # A client looks for the coordinator of its group even where it joins none.
    rights[Right(GROUP, connection.group("reader"), "Describe")] = None
    # Every worker reads which program owns the results, and may take them over.
    rights |= {Right(TOPIC, name(OWNERSHIP), each): None for each in ("Read", "Write")}
    for kind in kinds:
        journal = changelog(settings, kind)
        wanted = [(topic, "Read") for topic in _INPUTS[kind]]
        wanted += [(dlq_name(topic), "Write") for topic in _INPUTS[kind]]
        wanted += [(topic, "Write") for topic in _ALSO_WRITTEN[kind]]
        wanted += [
            (topic.name, "Write")
            for topic in TOPICS.values()
            if topic.stage in STAGES[kind]
            and (topic.name != OUTCOMES or connection.config.outcomes)
        ]
        # A task deletes the beginning of its changelog once no restore needs it.
        wanted += [(journal, operation) for operation in ("Read", "Write", "Delete")]
        wanted.append((clock_topic(settings), "Write"))
        rights |= {Right(TOPIC, name(topic), operation): None for topic, operation in wanted}
        rights[Right(GROUP, connection.group(kind), "Read")] = None
        if kind == JOIN and settings.rekey:
            rights |= dict.fromkeys(_of_rekeying(connection))
        if kind == DOWNSTREAM and connection.config.redis.url is not None:
            for topic in MIRRORED:
                rights[Right(TOPIC, name(topic), "Read")] = None
        if kind == DOWNSTREAM and connection.config.notifications.channels:
            rights |= dict.fromkeys(_of_notifying(connection))
        partitions = settings.input_partitions if kind == JOIN else settings.partitions
        for partition in range(partitions):
            producer = f"{connection.group(kind)}-{partition}"
            rights[Right(TRANSACTIONAL_ID, producer, "Write")] = None
    return list(rights)


def _of_rekeying(connection: Connection) -> Iterator[Right]:
    name, journal = connection.name, changelog(connection.settings, REKEY)
    for source in INPUTS[REKEY]:
        yield Right(TOPIC, name(source), "Read")
        yield Right(TOPIC, name(read_as(source)), "Write")
    for operation in ("Read", "Write"):
        yield Right(TOPIC, name(journal), operation)
    yield Right(TRANSACTIONAL_ID, f"{connection.group(REKEY)}-0", "Write")


def _of_notifying(connection: Connection) -> Iterator[Right]:
    name, journal = connection.name, changelog(connection.settings, NOTIFY)
    for topic in INPUTS[NOTIFY]:
        yield Right(TOPIC, name(topic), "Read")
    # A channel that fails is an alert.
    for topic in (ALERTS, NOTIFICATIONS):
        yield Right(TOPIC, name(topic), "Write")
    for operation in ("Read", "Write"):
        yield Right(TOPIC, name(journal), operation)
    yield Right(TRANSACTIONAL_ID, f"{connection.group(NOTIFY)}-0", "Write")


def needed_for_retry(connection: Connection) -> list[Right]:
    """Rights that `driftline dlq retry` needs."""
    rights = [Right(GROUP, connection.group("reader"), "Describe")]
    for topic in LETTER_TOPICS:
        letters = connection.name(dlq_name(topic))
        rights += [Right(TOPIC, letters, operation) for operation in ("Read", "Write")]
        rights.append(Right(TOPIC, connection.name(connection.source(topic)), "Write"))
    return [*rights, Right(TRANSACTIONAL_ID, connection.group(RETRY), "Write")]


def missing(connection: Connection, kinds: Iterable[str] = tuple(STAGES)) -> list[Right]:
    """Rights among `needed` that the login lacks. Topics that do not exist are passed over.

    Raises
    ------
    BrokerError
        If the broker does not answer.
    """
    return lacked(connection, needed(connection, kinds))


def lacked(connection: Connection, wanted: Sequence[Right]) -> list[Right]:
    """Those of some rights that the login lacks, and a denied Describe beside one of them. Topics
    that do not exist are passed over.

    Raises
    ------
    BrokerError
        If the broker does not answer.
    """
    try:
        lacking = set(_missing_on_topics(connection, wanted))
    except KafkaException as error:
        raise connection.error(error, "asking for the rights on topics") from error
    # On another thread, because the caller may run in an event loop.
    with ThreadPoolExecutor(1, "rights") as thread:
        lacking |= thread.submit(asyncio.run, _missing_elsewhere(connection, wanted)).result()
    others = sorted(lacking.difference(wanted))
    return [*(right for right in wanted if right in lacking), *others]


def require(connection: Connection, kinds: Iterable[str] = tuple(STAGES)) -> None:
    """Raise unless the login has all rights that a worker with tasks of these kinds needs.

    Raises
    ------
    MissingRights
        If it lacks some.
    BrokerError
        If the broker does not answer.
    """
    lacking = missing(connection, kinds)
    if lacking:
        raise MissingRights(message(connection, lacking))


def message(connection: Connection, lacking: Sequence[Right]) -> str:
    """A sentence that names missing rights, and how to grant the first one."""
    named = "; ".join(_shortened(lacking))
    return (
        f"broker {connection.servers}: {_login(connection)} lacks rights: {named}. "
        f"Grant them, such as the first one with: {grant(connection, lacking[0])}"
    )


def grant(connection: Connection, right: Right) -> str:
    """The command that grants a right."""
    option = right.resource.replace(" ", "-")
    return (
        f"kafka-acls --bootstrap-server {connection.servers} --add --allow-principal "
        f"User:{connection.user or 'ANONYMOUS'} --operation {right.operation} "
        f"--{option} {right.name}"
    )


def sentence(connection: Connection, kinds: Iterable[str]) -> str | None:
    """The sentence of `message` for a request that the broker refused; None if no right is missing.
    If the broker does not answer, a sentence says so.
    """
    try:
        lacking = missing(connection, kinds)
    except BrokerError as error:
        return f"the broker was asked for the missing right: {error}"
    return message(connection, lacking) if lacking else None


def _login(connection: Connection) -> str:
    return f"the login {connection.user}" if connection.user else "this client (without a login)"


def _shortened(lacking: Sequence[Right]) -> Iterator[str]:
    """The rights as texts; transactional ids of one kind of task are one text."""
    runs: dict[str, list[Right]] = {}
    for right in lacking:
        name = right.name
        if right.resource == TRANSACTIONAL_ID:
            name = name.rpartition("-")[0]
        runs.setdefault(f"{right.operation} on {right.resource} {name}", []).append(right)
    for rights in runs.values():
        if len(rights) == 1:
            yield str(rights[0])
        else:
            first = rights[0]
            yield (
                f"{first.operation} on {len(rights)} {first.resource}s "
                f"{first.name} to {rights[-1].name}"
            )


def _missing_on_topics(connection: Connection, wanted: Sequence[Right]) -> Iterator[Right]:
    on_topics = [right for right in wanted if right.resource == TOPIC]
    names = list(dict.fromkeys(right.name for right in on_topics))
    admin = connection.admin()  # lives until the last answer is there
    answers = admin.describe_topics(
        TopicCollection(names), include_authorized_operations=True, request_timeout=REQUEST_S
    )
    allowed: dict[str, frozenset[Any]] = {}
    for name, answer in answers.items():
        try:
            operations = answer.result().authorized_operations
        except KafkaException as error:
            code = error.args[0].code()
            if code == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                allowed[name] = frozenset()
            elif code not in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):
                raise
            continue
        if operations is not None:
            allowed[name] = frozenset(operations)
    # Read, Write and Delete include Describe: none of them is granted where it is missing.
    hidden = [name for name, operations in allowed.items() if not operations]
    for name in _with_readable_settings(admin, hidden):
        allowed[name] = frozenset([AclOperation.DESCRIBE_CONFIGS])
    for right in on_topics:
        if right.name in allowed and _OPERATIONS[right.operation] not in allowed[right.name]:
            yield right


def _with_readable_settings(admin: AdminClient, names: Sequence[str]) -> Iterator[str]:
    if not names:
        return
    asked = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    for resource, answer in admin.describe_configs(asked, request_timeout=REQUEST_S).items():
        try:
            answer.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_AUTHORIZATION_FAILED:
                raise
        else:
            yield resource.name


async def _missing_elsewhere(connection: Connection, wanted: Sequence[Right]) -> set[Right]:
    client = AIOKafkaClient(**connection.aiokafka())
    limit = asyncio.Semaphore(_REQUESTS_AT_ONCE)
    node = -1

    async def is_refused(request: Any) -> bool:
        async with limit:
            return (await client.send(node, request)).error_code in _REFUSED

    async def lacked(right: Right) -> list[Right]:
        if right.resource == GROUP:
            described = FindCoordinatorRequest(right.name, _OF_GROUP)
            used: Any = HeartbeatRequest(right.name, -1, "")
        else:
            described = FindCoordinatorRequest(right.name, _OF_TRANSACTION)
            used = InitProducerIdRequest(right.name, _IMPOSSIBLE_TIMEOUT_MS)
        if right.operation != "Describe" and await is_refused(used):
            return [right]
        # Describe comes with the other operations, unless it is denied by itself.
        denied = await is_refused(described)
        return [Right(right.resource, right.name, "Describe")] if denied else []

    try:
        await client.bootstrap()
        node = client.get_random_node()
        asked: list[Awaitable[list[Right]]] = [
            lacked(right) for right in wanted if right.resource != TOPIC
        ]
        return {right for found in await asyncio.gather(*asked) for right in found}
    except aiokafka_errors.KafkaError as error:
        raise BrokerAway(
            f"broker {connection.servers}, asking for rights: does not answer ({error!r})"
        ) from error
    finally:
        await client.close()
