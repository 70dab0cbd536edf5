"""The mirrored topics: what they hold as a whole, and what comes, as batches of a mirror."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from driftline.agents.kafka.broker.connection import BrokerError, Connection
from driftline.agents.kafka.broker.input_logs import InputLog, input_logs
from driftline.agents.kafka.broker.ranges import (
    MAX_BATCH_BYTES,
    PartitionReader,
    is_unreadable,
    may_be_of,
    read_all,
)
from driftline.agents.mirror.documents import Documents
from driftline.agents.mirror.intake import MIRRORED, REGISTRY_TOPICS, Intake
from driftline.agents.mirror.keys import Keys
from driftline.agents.mirror.mirror import Batch, Positions
from driftline.agents.mirror.writes import RegistryWrite, Write
from driftline.agents.recorded.export_manifest import Range
from driftline.schemas.results import Alert, ModelLabels, RegistryEntry, WindowFigures, decoder
from driftline.schemas.topics import ALERTS, METRICS, MODEL_LABELS, REGISTRY

log = logging.getLogger(__name__)

MOST_RECORDS: Final = 5_000
"""Records of one read."""
Place = tuple[str, int]
_FIGURES: Final = decoder(WindowFigures).decode
_ALERT: Final = decoder(Alert).decode
_ENTRY: Final = decoder(RegistryEntry).decode
_LABELS: Final = decoder(ModelLabels).decode


def mirrored_logs(connection: Connection) -> dict[Place, InputLog]:
    """The partitions of the mirrored topics.

    Raises
    ------
    BrokerError
        If one is missing.
    KafkaException
        If the broker does not answer.
    """
    places = [
        (topic, partition)
        for topic in MIRRORED
        for partition in range(connection.settings.partitions)
    ]
    logs = input_logs(connection.admin(), connection, places)
    for topic, partition in places:
        if (topic, partition) not in logs:
            raise BrokerError(
                f"topic {connection.name(topic)} has no partition {partition}; create it: "
                "driftline topics create"
            )
    return logs


def can_go_on(known: Positions | None, logs: Mapping[Place, InputLog]) -> bool:
    """Whether the logs hold everything that comes after these positions."""
    return known is not None and all(
        known.topic_ids.get(place[0]) == each.topic_id
        and each.start <= known.offsets.get(place, -1) <= each.end
        for place, each in logs.items()
    )


def is_cut_off(known: Positions | None, logs: Mapping[Place, InputLog]) -> bool:
    """Whether a log has lost records that were mirrored."""
    return known is not None and any(
        known.topic_ids.get(place[0]) == each.topic_id
        and known.offsets.get(place, each.end) > each.end
        for place, each in logs.items()
    )


class MirroredTopics:
    """What the mirrored topics hold, and what comes on them.

    Parameters
    ----------
    connection
        The broker.
    logs
        The partitions of `mirrored_logs`, as they are now.
    keys
        Keys of the mirror.

    Attributes
    ----------
    offsets
        Next offset of each partition.
    """

    def __init__(self, connection: Connection, logs: Mapping[Place, InputLog], keys: Keys) -> None:
        self._connection = connection
        self._logs = logs
        self._intake = Intake(keys, connection.config)
        self._topic_ids = {topic: each.topic_id for (topic, _), each in logs.items()}
        self._partition_of: dict[str, int] = {}
        self._changed: dict[str, None] = {}
        self._read: dict[Place, int] = {}
        self._ends: dict[Place, None] = {}
        self._reader: PartitionReader | None = None
        self.offsets: dict[Place, int] = {}
        for _ in self._read_to_the_ends(REGISTRY_TOPICS):
            raise AssertionError("records of the registry are kept")

    @property
    def positions(self) -> Positions:
        """How far the topics have been read."""
        return Positions(dict(self.offsets), self._topic_ids)

    @property
    def is_at_end(self) -> bool:
        """Whether everything that the topics hold was read."""
        return len(self._ends) == len(self.offsets)

    def all(self) -> Documents:
        """The content of all topics from their beginnings; reading goes on where it ends.

        Raises
        ------
        KafkaException
            If the broker does not answer.
        """
        documents = Documents()
        for model in self._intake.models():
            documents.apply(self._intake.registry_write(model, 0, whole=True))
        self._changed.clear()
        for write in self._read_to_the_ends((METRICS, ALERTS)):
            documents.apply(write)
        return documents

    def go_on(self, known: Positions) -> list[Batch]:
        """Go on at positions that were mirrored; returns what the registry holds as a whole."""
        for place in self._logs:
            if place[0] not in REGISTRY_TOPICS:
                self.offsets[place] = known.offsets[place]
        return [
            batch
            for partition in range(self._connection.settings.partitions)
            for batch in self._registry_batches(partition, known.offsets, whole=True)
        ]

    def read(self, seconds: float) -> list[Batch]:
        """What came within some seconds.

        Raises
        ------
        BrokerError, KafkaException
            If the broker does not give the records.
        """
        before = dict(self.offsets)
        writes: dict[Place, list[Write]] = {}
        at_ends: dict[int, None] = {}
        for message in self._opened().consume(MOST_RECORDS, seconds):
            error, offset = message.error(), message.offset() or 0
            place = self._connection.bare(message.topic() or ""), message.partition() or 0
            if error is not None and error.code() == KafkaError._PARTITION_EOF:
                self._ends[place] = None
                self._read[place] = max(self._read[place], offset)
                at_ends[place[1]] = None
                continue
            self._ends.pop(place, None)
            if is_unreadable(message):
                self._read[place] = self._opened().end_of(message)
                log.warning(
                    "mirror: %s[%d]@%d: the batch up to offset %d cannot be read",
                    *(*place, offset, self._read[place] - 1),
                )
                continue
            if error is not None:
                raise KafkaException(error)
            self._read[place] = offset + 1
            if (write := self._taken(place, message)) is not None:
                writes.setdefault(place, []).append(write)
        batches: list[Batch] = []
        for place, to in self._read.items():
            if place[0] not in REGISTRY_TOPICS and to > before[place]:
                self.offsets[place] = to
                batches.append(self._batch(place, before[place], to, writes.get(place, [])))
        # A transaction is over where its partition ends: a promotion is never seen by half.
        for partition in at_ends:
            if all((topic, partition) in self._ends for topic in REGISTRY_TOPICS):
                for topic in REGISTRY_TOPICS:
                    self.offsets[topic, partition] = self._read[topic, partition]
                batches += self._registry_batches(partition, before, whole=False)
        return batches

    def close(self) -> None:
        """Close the consumer."""
        if self._reader is not None:
            self._reader.close()

    def _opened(self) -> PartitionReader:
        if self._reader is None:
            self._read = dict(self.offsets)
            self._reader = PartitionReader(
                self._connection,
                [
                    TopicPartition(self._connection.name(topic), partition, offset)
                    for (topic, partition), offset in self.offsets.items()
                ],
                enable_partition_eof=True,
                auto_offset_reset="error",
                queued_max_messages_kbytes=8192,
                # The largest result of a decompression too.
                receive_message_max_bytes=MAX_BATCH_BYTES,
                enable_metrics_push=False,
            )
        return self._reader

    def _read_to_the_ends(self, topics: Iterable[str]) -> Iterator[Write]:
        """The writes of all records of some topics but those of the registry, which are kept.

        Records that came after the look at the logs are left for later: a transaction may be cut
        between them.
        """
        places = [place for place in self._logs if place[0] in topics]
        self.offsets |= {place: self._logs[place].end for place in places}
        for topic, message in read_all(
            self._connection,
            [Range(*place, self._logs[place].start, self._logs[place].end) for place in places],
        ):
            place = topic, message.partition() or 0
            is_known = (message.offset() or 0) < self._logs[place].end
            if is_known and (write := self._taken(place, message)) is not None:
                yield write

    def _taken(self, place: Place, message: Message) -> Write | None:
        """The write of a record of this program; those of the registry are kept."""
        headers: Any = dict(message.headers() or ())
        value, offset = message.value(), message.offset() or 0
        if value is None or not may_be_of(self._connection.settings.app, headers):
            return None
        topic, partition = place
        try:
            if topic == METRICS:
                return self._intake.figures_write(_FIGURES(value), offset, message.timestamp()[1])
            if topic == ALERTS:
                return self._intake.alert_write(_ALERT(value), offset)
            if topic == REGISTRY:
                entry = _ENTRY(value)
                self._intake.take_entry(entry)
                model = entry.model_name
            else:
                labels = _LABELS(value)
                self._intake.take_labels(labels)
                model = labels.model_name
        except (msgspec.MsgspecError, ValueError) as error:
            log.warning("mirror: %s[%d]@%d is passed over: %s", topic, partition, offset, error)
            return None
        self._partition_of[model] = partition
        self._changed[model] = None
        return None

    def _registry_batches(
        self, partition: int, before: Mapping[Place, int], *, whole: bool
    ) -> list[Batch]:
        """What the registry says of the models of a partition: all, or those that have changed."""
        place, of_labels = (REGISTRY, partition), (MODEL_LABELS, partition)
        candidates = self._intake.models() if whole else list(self._changed)
        models = [model for model in candidates if self._partition_of[model] == partition]
        for model in models:
            self._changed.pop(model, None)
        writes: list[RegistryWrite] = [
            self._intake.registry_write(model, before[place], whole=whole) for model in models
        ]
        moved = [each for each in (place, of_labels) if self.offsets[each] > before[each]]
        if not writes and not moved:
            return []
        # Last, because the first one has what both topics say.
        return [
            self._batch(place, before[place], self.offsets[place], writes),
            self._batch(of_labels, before[of_labels], self.offsets[of_labels], []),
        ]

    def _batch(self, place: Place, from_: int, to: int, writes: Iterable[Write]) -> Batch:
        topic, partition = place
        return Batch(
            topic=topic,
            partition=partition,
            topic_id=self._topic_ids[topic],
            from_=from_,
            to=to,
            writes=list(writes),
        )
