"""Dead letters: lines that were refused, with their exact bytes, in the order of the log."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from driftline.agents.recorded.topic_log import Portion
from driftline.schemas.rejects import Reject
from driftline.schemas.topics import dlq_name


class DeadLetter(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A line of `<topic>.dlq.jsonl`: what was refused, where it stood, and why.

    `value` holds the bytes that came, as text; `value_base64` holds them where they are not text. A
    replay writes no `dlq_time`, so that two runs compare equal.
    """

    dlq_topic: str
    dlq_partition: int
    dlq_offset: int
    dlq_reason: str
    dlq_error: str
    value: str | None = None
    value_base64: str | None = None


def dead_letter(topic: str, partition: int, reject: Reject) -> DeadLetter:
    """Return the line for a refused value of `topic`."""
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
    """Writes and counts the refused lines of a run.

    Parameters
    ----------
    write
        Appends values to a topic's file.
    counts
        Refused lines so far, by topic and reason; counted on in place.
    """

    def __init__(
        self, write: Callable[[str, Iterable[Any]], None], counts: dict[str, dict[str, int]]
    ) -> None:
        self._write = write
        self._counts = counts

    def write(self, topic: str, portion: Portion, found: Sequence[tuple[int, Reject]] = ()) -> None:
        """Write what the decoder refused of a portion, and what stage 1 refused of its rows.

        Parameters
        ----------
        portion
            Lines of `topic`.
        found
            Partition of stage 1 and reject, without its bytes, for rows of the portion that decoded
            well.
        """
        refused = list(
            zip(portion.reject_line, portion.reject_partition, portion.rejects, strict=True)
        )
        if found:
            row_of = {
                place: row
                for row, place in enumerate(
                    zip(portion.partition.tolist(), portion.offset.tolist(), strict=True)
                )
            }
            for partition, reject in found:
                # A plain file is one sequence: its partition is 0 whatever partition of stage 1 its
                # rows went to.
                by_key = row_of.get((-1, reject.offset))
                row, home = (
                    (row_of[partition, reject.offset], partition) if by_key is None else (by_key, 0)
                )
                refused.append(
                    (
                        int(portion.line[row]),
                        home,
                        msgspec.structs.replace(reject, raw=portion.value(row)),
                    )
                )
            refused.sort(key=lambda line: line[0])
        if not refused:
            return
        counts = self._counts.setdefault(topic, {})
        for _, _, reject in refused:
            counts[reject.reason] = counts.get(reject.reason, 0) + 1
        self._write(
            dlq_name(topic),
            [dead_letter(topic, partition, reject) for _, partition, reject in refused],
        )
