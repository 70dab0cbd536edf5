"""Reads the alerts, the actions and the registry's events of this program from all partitions."""

from __future__ import annotations

import logging
from typing import Any, Final, NamedTuple

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.ranges import (
    MAX_BATCH_BYTES,
    PartitionReader,
    is_unreadable,
    may_be_of,
)
from driftline.agents.kafka.notify.positions import InputOffsets
from driftline.schemas.actions import Action
from driftline.schemas.results import Alert, RegistryEvent, decoder
from driftline.schemas.topics import ACTIONS, ALERTS, REGISTRY_EVENTS

log = logging.getLogger(__name__)

MOST_RECORDS: Final = 5_000
"""Records of one read."""
_DECODE: Final[dict[str, Any]] = {
    ALERTS: decoder(Alert).decode,
    ACTIONS: decoder(Action).decode,
    REGISTRY_EVENTS: decoder(RegistryEvent).decode,
}


class Taken(NamedTuple):
    """Records of one read."""

    alerts: list[Alert]
    actions: list[Action]
    events: list[RegistryEvent]


class NotifyInputs:
    """The inputs of the notifier.

    Parameters
    ----------
    connection
        The broker.
    offsets
        Where reading begins; moved by `read`.
    """

    def __init__(self, connection: Connection, offsets: InputOffsets) -> None:
        self._connection = connection
        self._offsets = offsets
        self._reader = PartitionReader(
            connection,
            [
                TopicPartition(connection.name(topic), partition, offset)
                for (topic, partition), offset in offsets.next.items()
            ],
            enable_partition_eof=True,
            auto_offset_reset="error",
            queued_max_messages_kbytes=4096,
            # The largest result of a decompression too.
            receive_message_max_bytes=MAX_BATCH_BYTES,
            enable_metrics_push=False,
        )

    def read(self, seconds: float) -> Taken:
        """What came within some seconds; records of one model are in their order.

        Raises
        ------
        BrokerError, KafkaException
            If the broker does not give the records.
        """
        taken: dict[str, list[Any]] = {topic: [] for topic in _DECODE}
        for message in self._reader.consume(MOST_RECORDS, seconds):
            error, offset = message.error(), message.offset() or 0
            is_end = error is not None and error.code() == KafkaError._PARTITION_EOF
            if error is not None and not is_end and not is_unreadable(message):
                raise KafkaException(error)
            topic = self._connection.bare(message.topic() or "")
            place = topic, message.partition() or 0
            if is_end:
                self._offsets.ends[place] = None
                # Transaction markers lie behind the last record.
                self._offsets.next[place] = max(self._offsets.next[place], offset)
            elif error is not None:
                self._offsets.next[place] = self._reader.end_of(message)
                log.warning(
                    "notifier: %s[%d]@%d: the batch up to offset %d cannot be read (%s)",
                    *(*place, offset, self._offsets.next[place] - 1, error.str()),
                )
            else:
                self._offsets.next[place] = offset + 1
                if (value := self._decoded(topic, message)) is not None:
                    taken[topic].append(value)
        return Taken(taken[ALERTS], taken[ACTIONS], taken[REGISTRY_EVENTS])

    def close(self) -> None:
        """Close the consumer."""
        self._reader.close()

    def _decoded(self, topic: str, message: Message) -> Any:
        """The record; None if another program wrote it, or it is none."""
        headers: Any = dict(message.headers() or ())
        value = message.value()
        if value is None or not may_be_of(self._connection.settings.app, headers):
            return None
        try:
            return _DECODE[topic](value)
        except msgspec.MsgspecError as error:
            log.warning(
                "notifier: %s[%d]@%d is passed over: %s",
                *(topic, message.partition() or 0, message.offset() or 0, error),
            )
            return None
