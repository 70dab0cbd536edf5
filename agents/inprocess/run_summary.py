"""Progress of a run, and its summary at the end."""

from __future__ import annotations

from msgspec import Struct

from driftline.agents.recorded.row_order import RowOrder
from driftline.agents.recorded.tables.column_mapping import ColumnUse
from driftline.agents.uncounted_rows import MAX_LOST_SHARE, Uncounted
from driftline.schemas.topics import GROUND_TRUTH, PREDICTIONS


class Progress(Struct, frozen=True):
    """Progress of a run.

    Attributes
    ----------
    phase
        "converting" a table, "checking" the order of a log or "sorting" it, "reading" it, "closing"
        windows after its end, or "done".
    lines, bytes
        Read so far, including earlier calls on the same folder; of one file in the first phases.
    total_bytes
        Size of the input, or of that file.
    event_ms
        Event time reached.
    end_ms
        Event time at which everything is final; None while reading.
    """

    phase: str
    lines: int
    bytes: int
    total_bytes: int
    event_ms: int
    end_ms: int | None


class ReplaySummary(Struct, frozen=True, kw_only=True):
    """What a run read and wrote, in total over all its calls.

    Attributes
    ----------
    lines
        Lines read, by input topic.
    rejected
        Rejected lines, by topic and reason.
    written
        Records written, by output topic.
    uncounted
        Rows that do not count, or not everywhere, by topic and reason: rejected, late, repeated,
        without a counterpart; most rows first.
    columns
        What became of each column of a table; empty for a log.
    uncounted_share
        Share of the rows of a topic in these that are lost (`uncounted_rows.lost_shares`), for
        predictions and ground truth of which there are any.
    order
        Order of the rows of a plain file, by topic, where it was looked at.
    first_event, last_event
        Event times; None without a valid row.
    resumed
        True if this call continued where an earlier one stopped.
    already_finished
        True if an earlier call finished the run and this one did nothing.
    notes
        Sentences about facts that the results do not show.
    elapsed_s, cpu_s
        Of this call.
    """

    out: str
    lines: dict[str, int]
    rejected: dict[str, dict[str, int]]
    written: dict[str, int]
    uncounted: list[Uncounted]
    columns: list[ColumnUse]
    uncounted_share: dict[str, float]
    order: dict[str, RowOrder]
    first_event: str | None
    last_event: str | None
    resumed: bool
    already_finished: bool
    notes: list[str]
    elapsed_s: float
    cpu_s: float

    @property
    def lost_too_much(self) -> bool:
        """Whether more than 1 % of the predictions, or of the ground truth, are lost."""
        return any(share > MAX_LOST_SHARE for share in self.uncounted_share.values())

    @property
    def nothing_accepted(self) -> bool:
        """Whether there were predictions or truths, and every line was rejected."""
        lines = sum(self.lines.get(topic, 0) for topic in (PREDICTIONS, GROUND_TRUTH))
        return (
            0
            < lines
            == sum(
                sum(self.rejected.get(topic, {}).values()) for topic in (PREDICTIONS, GROUND_TRUTH)
            )
        )
