"""Inputs of which a running worker gets no records although their logs go on.

A task that does not move may be busy, wait for another input, or wait for records that the broker
cannot give. Only the last is a fault, so the broker is asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.input_logs import PositionFault, input_logs
from driftline.agents.kafka.broker.moving_partitions import patiently
from driftline.agents.kafka.broker.unserved_logs import Place, unserved

STILL_S: Final = 15.0
"""So long a position may stay before the broker is asked for its records."""
_SHOWN: Final = 3


class StalledInputs:
    """Looks at the positions of all tasks of a worker.

    Parameters
    ----------
    connection
        The broker.
    clock
        Seconds that never go back.
    """

    def __init__(self, connection: Connection, clock: Callable[[], float] = time.monotonic) -> None:
        self._connection = connection
        self._clock = clock
        self._since: dict[Place, tuple[int | None, float]] = {}
        self._served: dict[Place, tuple[int, int]] = {}
        self._faults: dict[Place, PositionFault] = {}

    def look(self, positions: Mapping[Place, int | None]) -> str | None:
        """What the broker does not serve; None if nothing is known. Blocks.

        Parameters
        ----------
        positions
            By topic without prefix and partition, the next offset of each assigned input; None for
            the beginning of the log.

        Raises
        ------
        KafkaException
            If the broker does not answer.
        """
        now = self._clock()
        self._since = {
            place: self._since[place]
            if place in self._since and self._since[place][0] == position
            else (position, now)
            for place, position in positions.items()
        }
        still = [place for place, (_, since) in self._since.items() if now - since >= STILL_S]
        self._faults = {place: fault for place, fault in self._faults.items() if place in still}
        asked = [place for place in still if place not in self._faults]
        logs = patiently(self._connection, lambda admin: input_logs(admin, self._connection, asked))
        behind = {}
        for place, log in logs.items():
            position = self._since[place][0]
            offsets = (log.start if position is None else position, log.end)
            if log.start <= offsets[0] < log.end and self._served.get(place) != offsets:
                behind[place] = offsets
        names = {
            (self._connection.name(topic), number): (topic, number) for topic, number in behind
        }
        found = unserved(self._connection, {name: behind[place] for name, place in names.items()})
        self._faults |= {names[fault.topic, fault.partition]: fault for fault in found}
        self._served = {
            place: offsets
            for place, offsets in (self._served | behind).items()
            if place in still and place not in self._faults
        }
        shown = [str(self._faults[place]) for place in sorted(self._faults)]
        if len(shown) > _SHOWN:
            shown[_SHOWN:] = [f"and {len(shown) - _SHOWN} more partitions"]
        return "; ".join(shown) or None
