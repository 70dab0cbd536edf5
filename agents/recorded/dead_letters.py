"""Dead letters: rejected lines with their exact bytes, in the order of the log."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from driftline.agents.recorded.topic_log import Portion
from driftline.agents.uncounted_rows import Uncounted, of_rejects
from driftline.schemas.rejects import Reject
from driftline.schemas.topics import dlq_name


class DeadLetter(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A line of `<topic>.dlq.jsonl`: a rejected value, its place in the topic, and the reason.

    `value` is the value as text, `value_base64` the one that is not UTF-8. `size` and `sha256`
    stand for a value that did not fit into the dead-letter topic of a live run. A replay writes no
    `dlq_time`, so that two runs compare equal.
    """

    dlq_topic: str
    dlq_partition: int
    dlq_offset: int
    dlq_reason: str
    dlq_error: str
    value: str | None = None
    value_base64: str | None = None
    size: int | None = None
    sha256: str | None = None


def dead_letter(topic: str, partition: int, reject: Reject) -> DeadLetter:
    """The dead letter of a rejected value of `topic`."""
    text: str | None = None
    coded: str | None = None
    try:
        text = reject.raw.decode()
    except UnicodeDecodeError:
        coded = base64.b64encode(reject.raw).decode()
    return DeadLetter(
        dlq_topic=topic,
        dlq_partition=partition,
        dlq_offset=reject.offset,
        dlq_reason=reject.reason,
        dlq_error=reject.error,
        value=text,
        value_base64=coded,
    )


class DeadLetters:
    """Writes and counts the rejected lines of a run.

    Parameters
    ----------
    write
        Appends values to a topic's file.
    counts
        Rejected lines so far, by topic and reason; updated in place.
    note
        Called with the partition of the first of the rejected lines of a portion, and all of them.
    """

    def __init__(
        self,
        write: Callable[[str, Iterable[Any]], None],
        counts: dict[str, dict[str, int]],
        note: Callable[[int, list[Uncounted]], None],
    ) -> None:
        self._write = write
        self._counts = counts
        self._note = note

    def write(
        self, topic: str, portion: Portion, conflicts: Sequence[tuple[int, Reject]] = ()
    ) -> None:
        """Write the lines of a portion that decoding rejected, and the rows that stage 1 rejected.

        Parameters
        ----------
        portion
            Lines of `topic`.
        conflicts
            Partition of stage 1 and reject, without its bytes, of decoded rows of the portion.
        """
        if portion.notes:
            self._note(0, of_rejects(topic, portion.notes))
        rejected = list(
            zip(portion.reject_line, portion.reject_partition, portion.rejects, strict=True)
        )
        if conflicts:
            row_of = {
                place: row
                for row, place in enumerate(
                    zip(portion.partition.tolist(), portion.offset.tolist(), strict=True)
                )
            }
            for partition, reject in conflicts:
                # A plain file is one sequence: the partition of its rows is 0, whatever their
                # partition of stage 1.
                by_key = row_of.get((-1, reject.offset))
                row, recorded_partition = (
                    (row_of[partition, reject.offset], partition) if by_key is None else (by_key, 0)
                )
                rejected.append(
                    (
                        int(portion.line[row]),
                        recorded_partition,
                        msgspec.structs.replace(reject, raw=portion.value(row)),
                    )
                )
            rejected.sort(key=lambda line: line[0])
        if not rejected:
            return
        counts = self._counts.setdefault(topic, {})
        for _, _, reject in rejected:
            counts[reject.reason] = counts.get(reject.reason, 0) + 1
        self._note(rejected[0][1], of_rejects(topic, (reject for _, _, reject in rejected)))
        self._write(
            dlq_name(topic),
            [dead_letter(topic, partition, reject) for _, partition, reject in rejected],
        )
