"""The join: which predictions count, which truths are in force for them, and when.

The rows of both files are processed one by one in the order in which a replay reads them: by the
largest event time so far in the row's own file, predictions first where equal, then by line.
Definitions:

- *tick*: the largest event time of the rows read so far, this one included, rounded down to a whole
  pane. The watermark at a row is the greater of the tick and the largest event time of its own
  topic partition so far; its *floor* is the watermark less the grace of its topic. Duplicates move
  watermarks too, invalid lines do not.
- *lateness* of a prediction: max(0, floor - its time). Above min(label horizon, correction horizon)
  it is dropped.
- *entry*: the predictions and the distinct truths of one id. It expires at the latest of: first
  known + correction horizon of each prediction with an effective truth; time + label horizon of
  each one without; truth known + park of each truth as long as there is no prediction. A row that
  is counted (max of its time and its floor) after that begins a new entry. For a row within its
  grace that is the row's own time, so the number of partitions does not matter.
- Predictions with the same (model, version) in an entry: the first one is accepted; one with the
  same content is a duplicate, one with other content a conflict. A failed row without prediction is
  part of the entry, so that its copies are duplicates, and counts in traffic only.
- Truths of an entry are the same if revision and label (or retraction) are equal. The earliest time
  and the earliest known time of them count; the later row is a duplicate.
- *truth known*: max(time, floor) of the truth row. *known* to a prediction: max(truth known, time
  and floor of the prediction). *delay*: known - time of the prediction.
- *effective* for a prediction: delay <= label horizon and known <= the first such known +
correction
  horizon. Other truths of its entry are late.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.oracle.recorded import Row, read_predictions, read_truths
from tests.oracle.settings import MINUTE, Settings

FIVE_MINUTES = 5 * MINUTE
NO_MODEL = ("", "")


@dataclass
class Truth:
    """A distinct truth of an id; label None is a retraction."""

    revision: int
    label: str | None
    time: int
    known: int

    @property
    def rank(self) -> tuple[int, int, bytes]:
        """The truth with the greatest rank is in force."""
        return (self.revision, self.time, (self.label or "").encode())


@dataclass
class Prediction:
    """An accepted prediction."""

    row: Row

    @property
    def lateness(self) -> int:
        return max(0, self.row.floor - self.row.time)

    @property
    def late(self) -> bool:
        return self.lateness > 0

    @property
    def series(self) -> tuple[str, str]:
        return (self.row.value["model_name"], self.row.value["model_version"])

    @property
    def counts_in_traffic_only(self) -> bool:
        value = self.row.value
        return (
            value["prediction"] is None and value.get("score") is None and not value.get("scores")
        )

    def known(self, truth: Truth) -> int:
        return max(truth.known, self.row.counted_at)

    def delay(self, truth: Truth) -> int:
        return self.known(truth) - self.row.time

    def effective(
        self, truths: list[Truth], label_horizon: int, correction_horizon: int
    ) -> list[Truth]:
        """The truths that count for this prediction, in the order in which they became known."""
        in_time = [truth for truth in truths if self.delay(truth) <= label_horizon]
        if not in_time:
            return []
        first_known = min(self.known(truth) for truth in in_time)
        kept = [truth for truth in in_time if self.known(truth) <= first_known + correction_horizon]
        return sorted(kept, key=lambda truth: (self.known(truth), truth.rank))


@dataclass
class Entry:
    """All predictions and distinct truths of one id."""

    predictions: list[Prediction] = field(default_factory=list)
    truths: list[Truth] = field(default_factory=list)

    def expires(self, settings: Settings) -> int:
        moments = []
        for prediction in self.predictions:
            horizons = settings.horizons(prediction.series[0])
            effective = prediction.effective(self.truths, *horizons)
            if effective:
                moments.append(prediction.known(effective[0]) + horizons[1])
            else:
                moments.append(prediction.row.time + horizons[0])
        if not self.predictions:
            moments = [truth.known + settings.park for truth in self.truths]
        return max(moments)


@dataclass(frozen=True)
class Incident:
    """A row that counts once at one time, under a counter such as late_predictions or
    duplicate_truths.
    """

    counter: str
    series: tuple[str, str]
    at: int
    row: Row


@dataclass
class Joined:
    """The joined log: all entries, expired or not, the incidents, and the reasons in the
    dead-letter files by line.
    """

    entries: list[Entry]
    incidents: list[Incident]
    rejected_predictions: dict[int, str]
    rejected_truths: dict[int, str]
    rows: int


def join(folder: Path, settings: Settings, *, partitions: int, now: int) -> Joined:
    """Join the recorded log in `folder` as it is read with `partitions` partitions at the time
    `now`.
    """
    latest = now + FIVE_MINUTES
    predictions, rejected_predictions = read_predictions(
        folder, partitions=partitions, grace=settings.prediction_grace, latest=latest
    )
    truths, rejected_truths = read_truths(
        folder, partitions=partitions, grace=settings.truth_grace, latest=latest
    )
    ticked = []
    head = None
    for is_truth, row in in_reading_order(predictions, truths):
        head = row.time if head is None else max(head, row.time)
        tick = head - head % settings.pane
        grace = settings.truth_grace if is_truth else settings.prediction_grace
        ticked.append(
            (
                is_truth,
                Row(row.line, row.partition, row.time, max(row.floor, tick - grace), row.value),
            )
        )
    return walk(ticked, settings, rejected_predictions, rejected_truths)


def walk(
    rows: Sequence[tuple[bool, Row]],
    settings: Settings,
    rejected_predictions: dict[int, str],
    rejected_truths: dict[int, str],
) -> Joined:
    """Join rows, each with whether it is a truth, in reading order; conflicts are added to the
    rejected lines.
    """
    joined = Joined([], [], rejected_predictions, rejected_truths, len(rows))
    open_entries: dict[str, Entry] = {}
    for is_truth, row in rows:
        if not is_truth and _dropped(row, settings):
            joined.incidents.append(
                Incident("dropped_predictions", _series(row), row.counted_at, row)
            )
            continue
        entry = open_entries.get(row.id)
        if entry is None or row.counted_at > entry.expires(settings):
            entry = open_entries[row.id] = Entry()
            joined.entries.append(entry)
        if is_truth:
            _add_truth(entry, row, joined)
        else:
            _add_prediction(entry, row, joined)
    return joined


def in_reading_order(predictions: list[Row], truths: list[Row]) -> list[tuple[bool, Row]]:
    keyed = []
    for is_truth, rows in ((False, predictions), (True, truths)):
        head = None
        for row in rows:
            head = row.time if head is None else max(head, row.time)
            keyed.append(((head, is_truth, row.line), row))
    return [(is_truth, row) for (_, is_truth, _), row in sorted(keyed, key=lambda pair: pair[0])]


def _series(row: Row) -> tuple[str, str]:
    return (row.value["model_name"], row.value["model_version"])


def _dropped(row: Row, settings: Settings) -> bool:
    return row.floor - row.time > min(settings.horizons(row.value["model_name"]))


def _add_prediction(entry: Entry, row: Row, joined: Joined) -> None:
    for accepted in entry.predictions:
        if accepted.series == _series(row):
            same = content_of(accepted.row.value) == content_of(row.value)
            counter = "duplicate_predictions" if same else "conflicting_predictions"
            joined.incidents.append(Incident(counter, _series(row), row.counted_at, row))
            if not same:
                joined.rejected_predictions[row.line] = "conflict"
            return
    prediction = Prediction(row)
    if prediction.late:
        joined.incidents.append(Incident("late_predictions", _series(row), row.counted_at, row))
    entry.predictions.append(prediction)


def _add_truth(entry: Entry, row: Row, joined: Joined) -> None:
    for truth in entry.truths:
        if (truth.revision, truth.label) == (row.value["revision"], row.value["label"]):
            truth.time = min(truth.time, row.time)
            truth.known = min(truth.known, row.counted_at)
            joined.incidents.append(Incident("duplicate_truths", NO_MODEL, row.counted_at, row))
            return
    entry.truths.append(Truth(row.value["revision"], row.value["label"], row.time, row.counted_at))


def content_of(value: dict[str, Any]) -> str:
    """Canonical content of a prediction: known fields in a fixed order, without absent ones,
    numbers as floats.
    """
    known = (
        "timestamp",
        "prediction",
        "score",
        "scores",
        "threshold",
        "features",
        "segment",
        "latency_ms",
        "status",
        "environment",
        "variant",
        "tags",
    )
    content = {name: _number(value[name]) for name in known if value.get(name) is not None}
    content.setdefault("status", "ok")
    return json.dumps(content, sort_keys=True)


def _number(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: _number(inner) for name, inner in content.items()}
    if isinstance(content, int) and not isinstance(content, bool):
        return float(content)
    return content
