"""An input topic that was made anew while records were unread: what was read, and what was lost.

The campaign keeps the records of the topic before it deletes it. The workers write the offset up to
which they had read as a dead letter with the reason `lost`. Both topics together become one, with
the offsets of the second one behind those of the first.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.chaos.topics import Stored
from tests.oracle.figures import Figure, Place
from tests.oracle.verdict import filled, place_of

LOST = b"lost"


class FormerTopic(NamedTuple):
    """A topic that was deleted.

    Attributes
    ----------
    topic
        Its name without prefix.
    records
        All of its records.
    ticks, letters
        By partition, the ends of `ticks` and of the topic's dead letters when it was deleted, with
        no worker running: records from there on name offsets of the new topic.
    """

    topic: str
    records: Sequence[Stored]
    ticks: Mapping[int, int]
    letters: Mapping[int, int]


Records = dict[str, list[Stored]]
Where = tuple[int, int]  # partition and offset


@dataclass
class Reading:
    """The topics with old and new records as one.

    Attributes
    ----------
    topics
        As they were read: without the lost records, and without the dead letters about them.
    inputs
        The topics that were made anew, with the lost records.
    lost
        By topic, the places of the lost records.
    faults
        Losses that were not recorded once, one sentence each.
    """

    topics: Records
    inputs: Records = field(default_factory=dict)
    lost: dict[str, set[Where]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def reading_of(topics: Mapping[str, Iterable[Stored]], former: Sequence[FormerTopic]) -> Reading:
    """Put the records of former topics before those of the topics that replaced them.

    Raises
    ------
    ValueError
        If a topic was made anew more than once.
    """
    if len({each.topic for each in former}) < len(former):
        raise ValueError("a topic was made anew more than once")
    reading = Reading({name: list(records) for name, records in topics.items()})
    for each in former:
        _add(reading, each)
    return reading


def _add(reading: Reading, former: FormerTopic) -> None:
    name, letters = former.topic, f"{former.topic}.dlq"
    size: dict[int, int] = {}
    for record in former.records:
        size[record.partition] = max(size.get(record.partition, 0), record.offset + 1)
    positions: dict[int, int] = {}
    kept = []
    for letter in reading.topics[letters]:
        partition = int(letter.headers["dlq_partition"])
        if letter.headers["dlq_reason"] == LOST:
            if partition in positions:
                reading.faults.append(f"{name} {partition}: the loss is recorded twice")
            positions[partition] = int(letter.headers["dlq_offset"])
            continue
        if letter.offset >= former.letters.get(letter.partition, 0):
            offset = int(letter.headers["dlq_offset"]) + size.get(partition, 0)
            letter = letter._replace(headers={**letter.headers, "dlq_offset": b"%d" % offset})
        kept.append(letter)
    reading.topics[letters] = kept
    reading.faults += [
        f"{name} {partition}: the topic was made anew, but no loss is recorded"
        for partition in sorted(size.keys() - positions.keys())
    ]
    after = [
        record._replace(offset=record.offset + size.get(record.partition, 0))
        for record in reading.topics[name]
    ]
    reading.inputs[name] = [*former.records, *after]
    reading.lost[name] = {
        (record.partition, record.offset)
        for record in former.records
        if record.offset >= positions.get(record.partition, record.offset + 1)
    }
    reading.topics[name] = [
        record
        for record in reading.inputs[name]
        if (record.partition, record.offset) not in reading.lost[name]
    ]
    reading.topics["ticks"] = [
        _moved(tick, name, size.get(tick.partition, 0))
        if tick.offset >= former.ticks.get(tick.partition, 0)
        else tick
        for tick in reading.topics["ticks"]
    ]


def _moved(tick: Stored, topic: str, offsets: int) -> Stored:
    """The tick with its offset in a topic moved on."""
    value = json.loads(tick.value)
    if not value.get("after"):
        return tick
    value["after"][topic] = value["after"].get(topic, 0) + offsets
    return tick._replace(value=json.dumps(value).encode())


@dataclass
class Announcement:
    """Whether figures that lack rows say so.

    Attributes
    ----------
    marked
        Number of figures with `losses`.
    wrong
        Number of those that differ from what they would be without the loss.
    absent
        Number of figures that do not exist, because all of their rows were lost.
    faults
        Figures that lack rows and have no `losses`, one sentence each.
    """

    marked: int = 0
    wrong: int = 0
    absent: int = 0
    faults: list[str] = field(default_factory=list)


def announcement(
    emitted: Iterable[dict[str, Any]],
    as_read: Mapping[Place, Figure],
    complete: Mapping[Place, Figure],
) -> Announcement:
    """Compare the figures of what was read with those of everything that was sent.

    Parameters
    ----------
    emitted
        Complete figures of tumbling and sliding windows.
    """
    has_losses = {place_of(record): bool(record.get("losses")) for record in emitted}
    found = Announcement(marked=sum(has_losses.values()))
    for place in sorted(as_read.keys() | complete.keys()):
        is_, without_loss = (
            filled(figures.get(place, Figure())) for figures in (as_read, complete)
        )
        if is_ == without_loss:
            continue
        if place not in has_losses:
            found.absent += 1
        elif has_losses[place]:
            found.wrong += 1
        else:
            found.faults.append(
                f"{place}: lacks lost rows and has no losses; it is {is_}, "
                f"without the loss {without_loss}"
            )
    return found
