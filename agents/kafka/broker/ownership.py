"""Ownership of result topics, consumer groups and changelogs: one program at a time writes the
results under a topic prefix.

The topic `OWNERSHIP` holds one claim for each program that has ever written results there, in
order. A claim names the offset of the claim that it replaces, so of two programs that claim at the
same time the log decides for the first. A program under a new name takes the results over once no
member is left in the groups of the owner; a former owner never gets them back, because its state
ends before the results that others have written since.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from typing import Any, Final

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import OffsetSpec

from driftline.agents.kafka.broker.connection import TO_THE_END, BrokerError, Connection
from driftline.agents.kafka.broker.log_offsets import log_offsets
from driftline.agents.kafka.broker.moving_partitions import patiently
from driftline.agents.kafka.broker.task_kinds import NOTIFY, REKEY, STAGES, kinds_of
from driftline.agents.kafka.broker.topics import OWNERSHIP, REQUEST_S, changelog, topic_id_text

STARTING_S: Final = 10.0
"""A program that has claimed the results joins its consumer groups within this time."""
LEAVING_S: Final = 20.0
"""An owner whose groups still have members after this time runs. Those of a worker that was killed
stay until its session times out (10 s by default).
"""
_NO_CLAIM: Final = -1
_NOT_OURS: Final = (
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
)

log = logging.getLogger(__name__)


class OwnedByAnother(Exception):
    """Results, a consumer group or a changelog belong to another program or to an earlier state."""


class OwnerMayRun(Exception):
    """It is not certain yet whether the owner runs: ask again later."""


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """The record with which a program takes the result topics over.

    Attributes
    ----------
    app
        Name of the program (`kafka.app`).
    replaces
        Offset of the claim that it replaces; -1 for the first one.
    changelogs
        Topic ids of its changelogs, by name on the broker.
    """

    app: str
    replaces: int
    changelogs: dict[str, str]


class Owner(msgspec.Struct, frozen=True):
    """The claim in force.

    Attributes
    ----------
    claim, offset
        The claim and its offset.
    since_ms
        When the broker stored it, in ms since the epoch.
    former
        Names of the programs that owned the results before.
    """

    claim: Claim
    offset: int
    since_ms: int
    former: frozenset[str]


_encode = msgspec.json.encode
_decode = msgspec.json.Decoder(Claim).decode


def owner_after(claims: Iterable[tuple[int, int, bytes]]) -> Owner | None:
    """The owner after claims in the order of the log, each an offset, a time and a value.

    Examples
    --------
    >>> values = [Claim(app=app, replaces=at, changelogs={}) for app, at in (("a", -1), ("b", -1))]
    >>> owner_after((at, 0, _encode(claim)) for at, claim in enumerate(values)).claim.app
    'a'
    """
    owner: Owner | None = None
    for offset, time_ms, value in claims:
        try:
            claim = _decode(value)
        except msgspec.DecodeError:
            continue
        if claim.replaces != (_NO_CLAIM if owner is None else owner.offset):
            continue
        former = frozenset() if owner is None else owner.former | {owner.claim.app}
        owner = Owner(claim, offset, time_ms, former)
    return owner


def _changelog_conflict(claim: Claim, ids: Mapping[str, str]) -> str | None:
    for name, topic_id in claim.changelogs.items():
        if ids.get(name, topic_id) != topic_id:
            return (
                f"changelog topic {name} was created anew after this program began (its id is "
                f"{ids[name]}, it was {topic_id}): its state is lost, and reading the inputs "
                "again would count them twice. Give the program another kafka.app, under which "
                "it starts anew from the input topics"
            )
    return None


class Ownership:
    """The claims of one topic prefix, as seen by one program.

    Parameters
    ----------
    connection
        The broker, the prefix and the name of the program.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._topic = connection.name(OWNERSHIP)
        self._app = connection.settings.app
        self._read_to = 0
        self._owner: Owner | None = None
        # Whether the groups of the owner had members, and since when, by the monotonic clock.
        self._owner_seen: tuple[bool, float] | None = None

    def owner(self) -> Owner | None:
        """The present owner; None if no program has claimed the results or the topic is missing.

        Raises
        ------
        KafkaException
            If the broker does not answer.
        """
        try:
            end = self._end(self._topic)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                return None
            raise
        if end != self._read_to:
            self._owner, self._read_to = owner_after(self._claims(self._topic, end)), end
        return self._owner

    def conflict(self) -> str | None:
        """Why this program must not write results; None if no other program owns them, and its
        state is the one with which it has written them so far.

        Raises
        ------
        KafkaException
            If the broker does not answer.
        """
        owner = self.owner()
        if owner is None:
            return None
        if owner.claim.app == self._app:
            return _changelog_conflict(owner.claim, self._changelog_ids())
        results = f'the results under topic_prefix "{self._connection.prefix}"'
        if self._app in owner.former:
            return (
                f'program "{self._app}" has given up {results}: program "{owner.claim.app}" writes '
                "them since, and the state of the former one does not contain what was written "
                f'meanwhile. Go on with kafka.app = "{owner.claim.app}", or give this program a '
                "name that none has had here, under which it starts anew from the input topics"
            )
        return (
            f'{results} belong to program "{owner.claim.app}" (kafka.app), this one is '
            f'"{self._app}": two programs on the same result topics would announce every window '
            f'twice. Stop the workers of "{owner.claim.app}" first, after which this program takes '
            "the results over and starts anew from the input topics; or give this program topics "
            "of its own (run.topic_prefix)"
        )

    def take(self) -> None:
        """Claim the results for this program, or check its claim. Its topics must exist.

        Raises
        ------
        OwnedByAnother
            If another program owns them and runs, or has taken them over from this one; or a
            changelog of this program was created anew after its claim.
        OwnerMayRun
            If another program owns them, and may be ending or starting.
        BrokerError
            If the broker does not tell whether the owner runs.
        KafkaException
            If the broker does not answer.
        """
        namesake = self.namesake()
        if namesake is not None:
            raise OwnedByAnother(namesake)
        while True:
            owner = self.owner()
            ids = self._changelog_ids()
            if owner is not None and owner.claim.app == self._app:
                conflict = _changelog_conflict(owner.claim, ids)
                if conflict is not None:
                    raise OwnedByAnother(conflict)
                return
            if owner is not None:
                self._wait_for_end_of(owner)
            claim = Claim(
                app=self._app,
                replaces=_NO_CLAIM if owner is None else owner.offset,
                changelogs=ids,
            )
            self._write(claim)
            if owner is not None:
                log.warning(
                    'program "%s" takes over the results of program "%s"; records that the other '
                    "has written stay on the topics, with its name in the header ce_source",
                    self._app,
                    owner.claim.app,
                )
                self._fence(owner.claim.app)

    def foreign_members(self, inputs: Mapping[str, Iterable[str]]) -> list[str]:
        """A sentence for each member of the groups of this program that reads other topics.

        Parameters
        ----------
        inputs
            Input topics of each kind of task, without prefix.

        Raises
        ------
        BrokerError
            If the broker does not describe the groups.
        """
        sentences = []
        for kind, topics in inputs.items():
            group, own = self._connection.group(kind), set(map(self._connection.name, topics))
            for member in self._members(group):
                foreign = {place.topic for place in member.assignment.topic_partitions} - own
                if foreign:
                    sentences.append(
                        f"consumer group {group} has a member of another program "
                        f"({member.client_id} at {member.host}) that reads "
                        f"{', '.join(sorted(foreign))}: the two would share out the partitions, "
                        "and each read a part. Give one of them another name (kafka.app), or stop "
                        "the other"
                    )
        return sentences

    def _wait_for_end_of(self, owner: Owner) -> None:
        """Return when no member of the owner's groups is left and none may be starting."""
        if self._app in owner.former:
            raise OwnedByAnother(self.conflict())
        app = owner.claim.app
        groups = [self._connection.group(kind, app) for kind in STAGES]
        has_members = any(map(self._members, groups))
        now = time.monotonic()
        if self._owner_seen is None or self._owner_seen[0] != has_members:
            self._owner_seen = has_members, now
        left = self._owner_seen[1] + (LEAVING_S if has_members else STARTING_S) - now
        if left > 0:
            raise OwnerMayRun(
                f'the results belong to program "{app}"; '
                + (
                    f"its groups {' and '.join(groups)} have members. If they are left of a worker "
                    f"that has ended, they vanish in a moment: waiting {left:.0f} s more"
                    if has_members
                    else "it has no members; if it does not start, they are taken over in "
                    f"{left:.0f} s"
                )
            )
        if has_members:
            raise OwnedByAnother(self.conflict())

    def namesake(self) -> str | None:
        """A sentence about a program that has the same groups and changelogs under another prefix,
        as prefix "a." with program "b", and no prefix with program "a.b"; None if there is none.

        Raises
        ------
        KafkaException
            If the broker does not answer.
        """
        own = self._connection.prefix + self._app
        admin = self._connection.admin()
        for topic in admin.list_topics(timeout=REQUEST_S).topics:
            prefix = topic.removesuffix(OWNERSHIP)
            if topic in (prefix, self._topic) or not own.startswith(prefix):
                continue
            try:
                owner = owner_after(self._claims(topic, self._end(topic)))
            except KafkaException as error:
                if error.args[0].code() in _NOT_OURS:
                    continue
                raise
            app = own.removeprefix(prefix)
            if owner is not None and app in owner.former | {owner.claim.app}:
                return (
                    f'program "{self._app}" with topic_prefix "{self._connection.prefix}" has the '
                    f'names of program "{app}" with topic_prefix "{prefix}": both would have the '
                    f"groups and changelogs {own}-*. Give this program another name (kafka.app)"
                )
        return None

    def other_programs(self) -> dict[str, list[str]]:
        """Changelogs under this topic prefix by the name of their program, without those of this
        one and of the present owner.

        Raises
        ------
        KafkaException
            If the broker does not answer.
        """
        owner, prefix = self.owner(), self._connection.prefix
        present = {self._app} if owner is None else {self._app, owner.claim.app}
        admin = self._connection.admin()  # must live until the answer is there
        topics = sorted(admin.list_topics(timeout=REQUEST_S).topics)
        # Prefixes that begin with this one: what begins with them belongs to their programs.
        longer = tuple(
            topic.removesuffix(OWNERSHIP)
            for topic in topics
            if topic.startswith(prefix) and topic.endswith(OWNERSHIP) and topic != self._topic
        )
        found: dict[str, list[str]] = {}
        for topic in topics:
            for kind in (*STAGES, REKEY, NOTIFY):
                app = topic.removeprefix(prefix).removesuffix(f"-{kind}-changelog")
                if topic != f"{prefix}{app}-{kind}-changelog" or topic.startswith(longer):
                    continue
                if app not in present:
                    found.setdefault(app, []).append(topic)
        return found

    def readers(self, inputs: Iterable[str]) -> dict[str, list[str]]:
        """Groups of other programs that read inputs of this one now, with the topics.

        Parameters
        ----------
        inputs
            Topics without prefix.

        Raises
        ------
        KafkaException
            If the broker does not answer.
        """
        admin = self._connection.admin()  # must live until the answers are there
        own = {self._connection.group(kind) for kind in STAGES}
        names = set(map(self._connection.name, inputs))
        listed = admin.list_consumer_groups(request_timeout=REQUEST_S).result().valid or []
        suffixes = tuple(f"-{kind}" for kind in STAGES)
        groups = [
            group.group_id
            for group in listed
            if group.group_id.endswith(suffixes) and group.group_id not in own
        ]
        found: dict[str, list[str]] = {}
        for group in sorted(groups):
            read = {
                place.topic
                for member in self._members(group)
                for place in member.assignment.topic_partitions
            }
            if read & names:
                found[group] = sorted(read & names)
        return found

    def _changelog_ids(self) -> dict[str, str]:
        config = self._connection.config
        # Without that of `notify` nothing is counted twice.
        kinds = [kind for kind in kinds_of(config) if kind != NOTIFY]
        names = [self._connection.name(changelog(config.kafka, kind)) for kind in kinds]
        admin = self._connection.admin()
        described = admin.describe_topics(TopicCollection(names), request_timeout=REQUEST_S)
        ids = {}
        for name, answer in described.items():
            try:
                ids[name] = topic_id_text(answer.result().topic_id)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise
        return ids

    def _members(self, group: str) -> list[Any]:
        try:
            return patiently(
                self._connection,
                lambda admin: list(
                    admin.describe_consumer_groups([group], request_timeout=REQUEST_S)[group]
                    .result()
                    .members
                ),
            )
        except KafkaException as error:
            if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
                return []
            raise self._connection.error(
                error, f"describing group {group}, to see whether another program runs"
            ) from error

    def _end(self, topic: str) -> int:
        place = TopicPartition(topic, 0)
        return patiently(
            self._connection,
            lambda admin: log_offsets(admin, [place], OffsetSpec.latest(), timeout_s=REQUEST_S)[
                topic, 0
            ],
        )

    def _claims(self, topic: str, end: int) -> list[tuple[int, int, bytes]]:
        claims: list[tuple[int, int, bytes]] = []
        ends = time.monotonic() + REQUEST_S
        consumer: Consumer = self._connection.consumer(**TO_THE_END, auto_offset_reset="earliest")
        with closing(consumer):
            consumer.assign([TopicPartition(topic, 0, 0)])
            position = 0
            while position < end and time.monotonic() < ends:
                message = consumer.poll(1.0)
                if message is None:
                    continue
                fault = message.error()
                if fault is not None and fault.code() == KafkaError._PARTITION_EOF:
                    return claims
                if fault is not None:
                    raise KafkaException(fault)
                position = (message.offset() or 0) + 1
                claims.append(
                    (message.offset() or 0, message.timestamp()[1], message.value() or b"")
                )
        if position < end:
            raise BrokerError(
                f"broker {self._connection.servers}: topic {topic} could not be read in "
                f"{REQUEST_S:.0f} s; read the broker's log"
            )
        return claims

    def _write(self, claim: Claim) -> None:
        faults: list[KafkaError] = []

        def delivered(fault: KafkaError | None, _: Any) -> None:
            if fault is not None:
                faults.append(fault)

        producer = self._connection.producer(
            acks="all", message_timeout_ms=int(REQUEST_S * 1000), enable_metrics_push=False
        )
        key = self._app.encode()
        producer.produce(self._topic, _encode(claim), key, 0, on_delivery=delivered)
        producer.flush(REQUEST_S)
        if faults:
            raise self._connection.error(faults[0], f"writing to topic {self._topic}")

    def _fence(self, app: str) -> None:
        """Shut out workers of a former owner that were only paused, so that none of their open
        transactions is committed.
        """
        settings = self._connection.settings
        counts = {
            "join": settings.input_partitions,
            "downstream": settings.partitions,
            REKEY: 1,
            NOTIFY: 1,
        }
        for kind, count in counts.items():
            for partition in range(count):
                name = f"{self._connection.group(kind, app)}-{partition}"
                producer = self._connection.producer(
                    transactional_id=name, enable_metrics_push=False
                )
                try:
                    producer.init_transactions(REQUEST_S)
                except KafkaException as error:
                    log.warning(
                        "the former owner cannot be shut out: %s",
                        self._connection.error(error, f"transactional id {name}"),
                    )
                    return
