"""What a run tells about itself: while it goes on, and at its end."""

from __future__ import annotations

from msgspec import Struct

from driftline.schemas.topics import GROUND_TRUTH, PREDICTIONS


class Progress(Struct, frozen=True):
    """How far a run has come.

    Attributes
    ----------
    phase
        "converting" a table, "reading" the log, "closing" windows after its end, or "done".
    lines, bytes
        Read so far, earlier runs on the same folder included.
    total_bytes
        Size of the input.
    event_ms
        Event time reached.
    end_ms
        Event time at which all is final; None while reading.
    """

    phase: str
    lines: int
    bytes: int
    total_bytes: int
    event_ms: int
    end_ms: int | None


class ReplaySummary(Struct, frozen=True, kw_only=True):
    """What a run read and wrote, all its resumes together.

    Attributes
    ----------
    lines
        Lines read, by input topic.
    refused
        Lines refused, by topic and reason.
    written
        Records written, by output topic.
    first_event, last_event
        Event times; None where there was no valid row.
    resumed
        True if this call went on where an earlier one stopped.
    already_finished
        True if an earlier call had finished and this one did nothing.
    notes
        Sentences about what a reader of the results should know.
    elapsed_s, cpu_s
        Of this call.
    """

    out: str
    lines: dict[str, int]
    refused: dict[str, dict[str, int]]
    written: dict[str, int]
    first_event: str | None
    last_event: str | None
    resumed: bool
    already_finished: bool
    notes: list[str]
    elapsed_s: float
    cpu_s: float

    @property
    def nothing_accepted(self) -> bool:
        """Whether there were predictions or truths, and every line of them was refused."""
        lines = sum(self.lines.get(topic, 0) for topic in (PREDICTIONS, GROUND_TRUTH))
        return (
            0
            < lines
            == sum(
                sum(self.refused.get(topic, {}).values()) for topic in (PREDICTIONS, GROUND_TRUTH)
            )
        )
