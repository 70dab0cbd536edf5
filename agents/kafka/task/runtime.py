"""What all tasks of a worker share: the broker, the local copies, threads, and how often they may
commit.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition

from driftline.agents.kafka.broker import failures
from driftline.agents.kafka.broker.broker_retry import BrokerRetry
from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.failures import MustStop
from driftline.agents.kafka.broker.topics import changelog
from driftline.agents.kafka.changelog.cache import Cache
from driftline.agents.kafka.changelog.restore import Journal
from driftline.agents.kafka.changelog.state_format import shape_of
from driftline.agents.state.errors import StateError

log = logging.getLogger(__name__)

MAX_RECORDS: Final = 10_000
# A worker with many tasks commits each of them less often: a small broker takes some hundred
# transactions a second.
MAX_TRANSACTIONS_PER_S: Final = 100
LONGEST_INTERVAL_S: Final = 1.0
# A task spends at most a third of its time in transactions, so that a slow broker is not made
# slower.
_SHARE_OF_TRANSACTIONS: Final = 3
# They mostly wait, for the broker or for each other: what takes memory is bounded by itself
# (`cache.py`).
_OPENED_AT_ONCE: Final = 32
_TRANSACTIONS_AT_ONCE: Final = 64
_ANSWER_S: Final = 5.0
_KNOWN_S: Final = 5.0


class Runtime:
    """The shared part of the tasks of a worker.

    Parameters
    ----------
    connection
        The broker.
    folder
        Folder for the local copies, of this worker alone.
    memory_bytes
        Memory for the state of all tasks; that of the configuration without it.
    max_records
        So many records make a commit at once.
    """

    def __init__(
        self,
        connection: Connection,
        folder: Path,
        *,
        memory_bytes: int | None = None,
        max_records: int = MAX_RECORDS,
    ) -> None:
        self.connection = connection
        self.shape = shape_of(connection.config)
        self.max_records = max_records
        try:
            self.cache = Cache(
                folder, connection.settings.memory_bytes if memory_bytes is None else memory_bytes
            )
        except StateError as error:
            failures.stop_process(failures.STORAGE, str(error))
        self.opening = ThreadPoolExecutor(_OPENED_AT_ONCE, "open")
        self.writing = ThreadPoolExecutor(_TRANSACTIONS_AT_ONCE, "commit")
        self.tasks = 0
        self._admin = connection.admin()

    def journal(self, kind: str, partition: int, is_abandoned: Callable[[], bool]) -> Journal:
        """Ask the broker which topic the changelog of a task is; waits for the broker.

        Raises
        ------
        MustStop
            If there is no such topic.
        Abandoned
            If the broker is away and `is_abandoned` says so.
        """
        topic = self.connection.name(changelog(self.connection.settings, kind))
        retry = BrokerRetry(self.connection, f"{topic}[{partition}]", "be restored", is_abandoned)
        while True:
            try:
                described = self._admin.describe_topics(
                    TopicCollection([topic]), request_timeout=_ANSWER_S
                )[topic].result()
                cluster = self._admin.describe_cluster(request_timeout=_ANSWER_S).result()
                return Journal(topic, partition, str(cluster.cluster_id), str(described.topic_id))
            except KafkaException as error:
                fault: KafkaError = error.args[0]
                # A topic that was just made is not known everywhere at once.
                if fault.code() == KafkaError.UNKNOWN_TOPIC_OR_PART and retry.waited_s > _KNOWN_S:
                    raise MustStop(
                        failures.CONFIGURATION,
                        f"there is no changelog topic {topic}; make it: driftline topics create",
                    ) from error
                retry.again(fault)

    def delete_before(self, journal: Journal, offset: int) -> bool:
        """Delete the records of a journal before an offset;

        False if the broker did not do it now.
        """
        where = TopicPartition(journal.topic, journal.partition, offset)
        try:
            self._admin.delete_records(
                [where], request_timeout=_ANSWER_S, operation_timeout=_ANSWER_S
            )[where].result()
        except KafkaException as error:
            log.warning(
                "%s: old records cannot be deleted now, again later: %s",
                journal.name,
                self.connection.error(error),
            )
            return False
        return True

    def interval_s(self, transaction_s: float) -> float:
        """How long a task gathers results before it commits them.

        Parameters
        ----------
        transaction_s
            How long its transactions take of late.
        """
        base = self.connection.settings.commit_interval_ms / 1000
        return max(
            base,
            min(
                LONGEST_INTERVAL_S,
                max(self.tasks / MAX_TRANSACTIONS_PER_S, _SHARE_OF_TRANSACTIONS * transaction_s),
            ),
        )

    def close(self) -> None:
        """Close the local copies; all tasks have to be closed."""
        self.opening.shutdown()
        self.writing.shutdown()
        self.cache.close()
