"""What is new on the output topics of a broker goes into an index.

Only records of committed transactions are read, and only those of this program. The offsets that
were read are in the index, in the same transaction as the records: after a crash it goes on there.
Where a topic no longer has them because of its retention, it goes on with the oldest record; where
a topic was created anew, the index is made again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from confluent_kafka import KafkaError

from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.input_logs import InputLog, input_logs
from driftline.agents.kafka.broker.moving_partitions import patiently
from driftline.agents.kafka.broker.ranges import (
    CHUNK,
    FetchedRecord,
    may_be_of,
    read_all,
    record_of,
)
from driftline.agents.read_model.index import clear
from driftline.agents.read_model.intake import INDEXED, Changed, Intake
from driftline.agents.recorded.export_manifest import Range

Place = tuple[str, int]


class BrokerSource:
    """The output topics of a broker as the source of an index.

    Parameters
    ----------
    connection
        To the broker; its settings name the program and the prefix of the topics.
    """

    def __init__(self, connection: Connection, intake: Intake) -> None:
        self._connection = connection
        self._intake = intake
        self._topic_ids: dict[str, str] = {}

    def sync(self) -> Iterator[set[Changed]]:
        """Add what is committed now, one transaction after the other; each says what it changed.

        Raises
        ------
        KafkaException
            If the broker does not answer, or the login may not read a topic.
        """
        logs = self._logs()
        positions = self._checked_positions(logs)
        unread = [
            Range(topic, partition, start, log.end)
            for (topic, partition), log in logs.items()
            if (start := max(log.start, positions.get((topic, partition), 0))) < log.end
        ]
        taken: list[tuple[str, FetchedRecord]] = []
        for topic, message in read_all(self._connection, unread):
            taken.append((topic, record_of(message)))
            if len(taken) == CHUNK:
                yield self._commit(taken, [])
                taken = []
        if unread:
            yield self._commit(taken, unread)

    def _logs(self) -> dict[Place, InputLog]:
        """The partitions of the topics that are there, in the order of the data flow."""
        there = self._connection.reach().topics
        places = [
            (topic, partition)
            for topic in INDEXED
            if (name := self._connection.name(topic)) in there
            for partition in there[name].partitions
        ]
        logs = patiently(
            self._connection,
            partial(input_logs, connection=self._connection, places=places),
            also=(KafkaError.UNKNOWN_TOPIC_OR_PART,),
        )
        return {place: logs[place] for place in places if place in logs}

    def _checked_positions(self, logs: Mapping[Place, InputLog]) -> dict[Place, int]:
        """The next offset of each partition, after the index was emptied if it is about others."""
        with self._intake.transaction() as connection:
            known = connection.execute("SELECT * FROM positions").fetchall()
            for *place, position, topic_id in known:
                log = logs.get((place[0], place[1]))
                if log is None or log.end < position or log.topic_id.encode() != topic_id:
                    clear(connection)
                    break
            self._topic_ids = {topic: log.topic_id for (topic, _), log in logs.items()}
            return _positions(connection)

    def _commit(
        self, taken: Sequence[tuple[str, FetchedRecord]], finished: Sequence[Range]
    ) -> set[Changed]:
        """Add records, and note how far each partition was read.

        Parameters
        ----------
        finished
            Ranges that were read to the end; markers of transactions may follow their last record.
        """
        app = self._connection.settings.app
        changed: set[Changed] = set()
        with self._intake.transaction() as connection:
            before = _positions(connection)
            after = {(part.topic, part.partition): part.end for part in finished}
            values: dict[str, list[bytes]] = {}
            for topic, record in taken:
                place = topic, record.partition
                after[place] = max(after.get(place, 0), record.offset + 1)
                # Another process may have added it meanwhile.
                is_new = record.offset >= before.get(place, 0)
                if is_new and record.has_value and may_be_of(app, record.headers):
                    values.setdefault(topic, []).append(record.value)
            for topic, new in values.items():
                changed |= self._intake.add(connection, topic, new)
            connection.executemany(
                "REPLACE INTO positions VALUES (?, ?, ?, ?)",
                [
                    (*place, max(to, before.get(place, 0)), self._topic_ids[place[0]].encode())
                    for place, to in after.items()
                ],
            )
        return changed


def _positions(connection: sqlite3.Connection) -> dict[Place, int]:
    return {
        (topic, partition): position
        for topic, partition, position in connection.execute(
            "SELECT topic, partition, position FROM positions"
        )
    }
