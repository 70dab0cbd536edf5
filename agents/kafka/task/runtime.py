"""Resources that the tasks of a worker share: broker, local copies, threads, commit rate."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition

from driftline.agents.kafka.broker import failures
from driftline.agents.kafka.broker.broker_retry import BrokerRetry
from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.failures import MustStop
from driftline.agents.kafka.broker.input_logs import NO_RESUME, Resume
from driftline.agents.kafka.broker.topics import changelog
from driftline.agents.kafka.changelog.cache import Cache, Checkpoint
from driftline.agents.kafka.changelog.restore import Journal
from driftline.agents.kafka.task.input_positions import InputPositions, check_positions
from driftline.agents.kafka.task.uncounted import WorkerTally
from driftline.agents.state.errors import StateError

log = logging.getLogger(__name__)

MAX_RECORDS: Final = 10_000
# A worker with many tasks commits each of them less often: a small broker handles a few hundred
# transactions per second.
MAX_TRANSACTIONS_PER_S: Final = 100
LONGEST_INTERVAL_S: Final = 1.0
# A task spends at most a third of its time in transactions, so that a slow broker is not made
# slower.
_INTERVALS_PER_TRANSACTION: Final = 3
# These threads mostly wait, for the broker or for each other. `cache.py` bounds the memory of
# restores.
_MAX_OPENING: Final = 32
_MAX_TRANSACTIONS: Final = 64
ANSWER_S: Final = 5.0
_TOPIC_VISIBLE_S: Final = 5.0


class Runtime:
    """Resources that the tasks of a worker share.

    Parameters
    ----------
    connection
        The broker.
    folder
        Folder for the local copies; two workers need two.
    memory_bytes
        Memory for the state of all tasks; default kafka.memory of the configuration.
    max_records
        Number of buffered records that makes a commit due at once.
    missing_rights
        Asks the broker for the rights that a kind of task lacks; returns a sentence that names
        them, None if it lacks none.
    resume
        Where tasks go on whose positions cannot be used.

    Attributes
    ----------
    tally
        What the tasks have read and not counted.
    """

    def __init__(
        self,
        connection: Connection,
        folder: Path,
        *,
        memory_bytes: int | None = None,
        max_records: int = MAX_RECORDS,
        missing_rights: Callable[[str], str | None] = lambda kind: None,
        resume: Resume = NO_RESUME,
    ) -> None:
        self.connection = connection
        self.max_records = max_records
        self.missing_rights = missing_rights
        self.resume = resume
        try:
            self.cache = Cache(
                folder, connection.settings.memory_bytes if memory_bytes is None else memory_bytes
            )
        except StateError as error:
            failures.stop_process(failures.STORAGE, str(error))
        self.opening = ThreadPoolExecutor(_MAX_OPENING, "open")
        self.writing = ThreadPoolExecutor(_MAX_TRANSACTIONS, "commit")
        self.tasks = 0
        self.tally = WorkerTally(lambda: time.time_ns() // 1_000_000)
        self._admin = connection.admin()

    def journal(self, kind: str, partition: int, is_abandoned: Callable[[], bool]) -> Journal:
        """Look up the changelog of a task on the broker; waits while the broker is away.

        Raises
        ------
        MustStop
            If the topic does not exist.
        Abandoned
            If the broker is away and `is_abandoned` returns True.
        """
        topic = self.connection.name(changelog(self.connection.settings, kind))
        retry = BrokerRetry(self.connection, f"{topic}[{partition}]", "be restored", is_abandoned)
        while True:
            try:
                described = self._admin.describe_topics(
                    TopicCollection([topic]), request_timeout=ANSWER_S
                )[topic].result()
                cluster = self._admin.describe_cluster(request_timeout=ANSWER_S).result()
                return Journal(topic, partition, str(cluster.cluster_id), str(described.topic_id))
            except KafkaException as error:
                fault: KafkaError = error.args[0]
                # A topic that was just created is not visible on every broker at once.
                if (
                    fault.code() == KafkaError.UNKNOWN_TOPIC_OR_PART
                    and retry.waited_s > _TOPIC_VISIBLE_S
                ):
                    raise MustStop(
                        failures.CONFIGURATION,
                        f"changelog topic {topic} does not exist; create it: driftline topics "
                        "create",
                    ) from error
                retry.wait(fault)

    def input_positions(
        self,
        kind: str,
        partition: int,
        checkpoint: Checkpoint,
        is_abandoned: Callable[[], bool],
    ) -> InputPositions:
        """See `input_positions.check_positions`."""
        return check_positions(
            self.connection,
            self._admin,
            self.resume,
            kind,
            partition,
            checkpoint.positions,
            checkpoint.topic_ids,
            is_abandoned,
        )

    def delete_before(self, journal: Journal, offset: int) -> bool:
        """Delete the records of a journal before an offset.

        Returns False if the broker could not.
        """
        where = TopicPartition(journal.topic, journal.partition, offset)
        try:
            self._admin.delete_records(
                [where], request_timeout=ANSWER_S, operation_timeout=ANSWER_S
            )[where].result()
        except KafkaException as error:
            log.warning(
                "%s: cannot delete old records, will retry: %s",
                journal.name,
                self.connection.error(error),
            )
            return False
        return True

    def interval_s(self, transaction_s: float) -> float:
        """Seconds for which a task gathers results before it commits them.

        Parameters
        ----------
        transaction_s
            Recent duration of its transactions in seconds.
        """
        base = self.connection.settings.commit_interval_ms / 1000
        return max(
            base,
            min(
                LONGEST_INTERVAL_S,
                max(
                    self.tasks / MAX_TRANSACTIONS_PER_S, _INTERVALS_PER_TRANSACTION * transaction_s
                ),
            ),
        )

    def close(self) -> None:
        """Close the local copies. All tasks must be closed before."""
        self.opening.shutdown()
        self.writing.shutdown()
        self.cache.close()
