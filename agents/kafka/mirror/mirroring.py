"""Keeps the mirror in Redis equal to the topics, in the worker that has the first partition of the
later stages.

How far it has come is in Redis itself, written in the same step as the content: an emptied Redis
has no positions, one that was restored has those of its content. So nothing has to be remembered
while Redis is away, and two workers at once do no harm. Whatever Redis does, the tasks go on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import closing
from typing import Final

from confluent_kafka import KafkaException

from driftline.agents.kafka.broker.connection import BrokerError, Connection
from driftline.agents.kafka.mirror.metering import CHANGED, MISSING, REBUILDS, WRITES, MirrorMeters
from driftline.agents.kafka.mirror.rebuild import rebuild
from driftline.agents.kafka.mirror.topics import MirroredTopics, can_go_on, mirrored_logs
from driftline.agents.mirror.comparison import differences
from driftline.agents.mirror.documents import Documents
from driftline.agents.mirror.mirror import Mirror, NotAccepted
from driftline.agents.mirror.restored import restored
from driftline.agents.mirror.server import MirrorFault

log = logging.getLogger(__name__)

LONGEST_READ_S: Final = 0.2
CONFIRM_S: Final = 1.0
"""How often it is said that the mirror is complete; an emptied mirror is noticed then."""
AUDIT_S: Final = 30.0
"""How often all keys are compared with what was written."""
AUDIT_PAUSE: Final = 50
"""Least pause after such a comparison, as a multiple of the time that it took."""
_AGAIN_S: Final = 0.5
_LONGEST_AGAIN_S: Final = 10.0
_WAIT_S: Final = 0.1


class Mirroring:
    """The step of a worker that mirrors.

    Parameters
    ----------
    connection
        The broker.
    mirror
        The mirror.
    clock
        Seconds that only grow.

    Attributes
    ----------
    is_ready
        Always: a worker is ready to count without Redis.
    problem
        Why the mirror is not kept; None while it is.
    """

    def __init__(
        self,
        connection: Connection,
        mirror: Mirror,
        *,
        audit_s: float = AUDIT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.is_ready = True
        self.problem: str | None = None
        self._connection = connection
        self._mirror = mirror
        self._audit_s = audit_s
        self._clock = clock
        self._meters = MirrorMeters()
        self._again_s = _AGAIN_S

    def run(self, is_abandoned: Callable[[], bool]) -> None:
        """Mirror until `is_abandoned`. Blocks."""
        self._meters.begin()
        try:
            while not is_abandoned():
                try:
                    self._follow(is_abandoned)
                except NotAccepted as error:
                    log.info("mirror: beginning anew: %s", error)
                except MirrorFault as error:
                    self._meters.failed(error.reason)
                    self._note(str(error))
                except (BrokerError, KafkaException) as error:
                    what = error
                    if isinstance(error, KafkaException):
                        what = self._connection.error(error)
                    self._note(f"the topics cannot be read: {what}")
                self._wait(is_abandoned)
        finally:
            self.problem = None
            self._meters.end()

    def _follow(self, is_abandoned: Callable[[], bool]) -> None:
        topics, documents = self._begin()
        with closing(topics):
            seconds = min(self._connection.settings.commit_interval_ms / 1000, LONGEST_READ_S)
            confirmed_s, audit_s = -CONFIRM_S, self._clock() + self._audit_s
            while not is_abandoned():
                batches = topics.read(seconds)
                WRITES.inc(self._mirror.write(batches))
                for batch in batches:
                    for write in batch.writes:
                        documents.apply(write)
                now_s = self._clock()
                if not topics.is_at_end or now_s < confirmed_s + CONFIRM_S:
                    continue
                if not self._mirror.confirm(topics.positions):
                    raise NotAccepted("the mirror was emptied, or another worker writes to it")
                confirmed_s = now_s
                self._well()
                if now_s >= audit_s:
                    self._audit(topics, documents)
                    ended_s = self._clock()
                    audit_s = ended_s + max(self._audit_s, AUDIT_PAUSE * (ended_s - now_s))

    def _begin(self) -> tuple[MirroredTopics, Documents]:
        """Go on with the mirror as it is, or make it anew."""
        mirror = self._mirror
        known = mirror.positions()
        logs = mirrored_logs(self._connection)
        if known is not None and can_go_on(known, logs):
            documents = restored(mirror.content(), mirror.keys, mirror.now_ms())
            if documents is not None:
                topics = MirroredTopics(self._connection, logs, mirror.keys)
                batches = topics.go_on(known)
                mirror.write(batches)
                for batch in batches:
                    for write in batch.writes:
                        documents.apply(write)
                log.info("mirror: going on at Redis %s", mirror.server.place)
                return topics, documents
        rebuilt = rebuild(self._connection, mirror)
        REBUILDS.labels(MISSING).inc()
        log.info("mirror: made anew at Redis %s", mirror.server.place)
        return rebuilt.topics, rebuilt.documents

    def _audit(self, topics: MirroredTopics, documents: Documents) -> None:
        """Put right what is not as it was written: keys that were evicted, or changed by others."""
        mirror = self._mirror
        now_ms = mirror.now_ms()
        documents.drop_expired(now_ms)
        found = list(differences(documents, mirror.content(), now_ms))
        if not found:
            return
        if mirror.positions() != topics.positions:
            raise NotAccepted("another worker writes to the mirror")
        log.warning(
            "mirror: %d differences, such as %r of key %s; all keys are written anew",
            *(len(found), found[0].field, found[0].key),
        )
        mirror.replace(documents, topics.positions)
        REBUILDS.labels(CHANGED).inc()

    def _well(self) -> None:
        self._meters.confirmed()
        self._again_s = _AGAIN_S
        if self.problem is not None:
            log.warning("mirror: complete again")
            self.problem = None

    def _note(self, problem: str) -> None:
        if self.problem != problem:
            log.warning("mirror: not kept: %s; it is tried again", problem)
        self.problem = problem

    def _wait(self, is_abandoned: Callable[[], bool]) -> None:
        ends_s = self._clock() + self._again_s
        self._again_s = min(2 * self._again_s, _LONGEST_AGAIN_S)
        while not is_abandoned() and self._clock() < ends_s:
            time.sleep(_WAIT_S)
