"""The join: which predictions count, which truths are in force for them, and when.

Every id is joined by itself, from its predictions and its truths, each in the order of their
topic. The order of the two topics only decides the tick at a row. Definitions:

- *tick*: the largest event time of the rows read so far, this one included, misdated rows apart
  (`watermark.py`), rounded down to a whole pane; a replay reads by the largest such time so far in
  the row's own file, predictions first where equal, then by line. The watermark at a row is that of
  its own topic partition, which rows and ticks move; its *floor* is the watermark less the grace of
  its topic. Duplicates move watermarks too, invalid lines do not.
- *lateness* of a prediction: max(0, floor - its time). Above min(label horizon, correction horizon)
  it is dropped.
- A row *counts at* the greater of its time and its floor. For a row within its grace that is the
  row's own time, so the number of partitions does not matter.
- A prediction that counts at most min(label horizon, correction horizon) after the time of an
  accepted one with the same (model, version) is a duplicate if the content of such a one is the
  same, otherwise a conflict. All others are accepted. A failed row without prediction is accepted,
  so that its copies are duplicates, and counts in traffic only.
- A truth is the same as an earlier one if revision and label (or retraction) are equal and it
  counts at most the default correction horizon, and at most park, after that, unless their times
  differ and one of the same revision with another label, for which that is also so, has a time from
  the one to the other. The earliest time and the earliest known time of them count; the later row
  is a duplicate.
- *truth known*: where the truth row counts. *known* to a prediction: max(truth known, where the
  prediction counts). *delay*: known - time of the prediction.
- A truth and a prediction *meet* if all of this is so. Where the truth first counted is at most
  label horizon after the time of the prediction or, if the prediction has met an earlier truth, at
  most correction horizon after the first known time of those. Where the prediction counts is at
  most park after that of the truth or, if the truth has met an earlier prediction, at most
  correction horizon after the known time of one of those. None of those has the same (model,
  version).
- *effective* for a prediction: a truth that it met, with delay <= label horizon and known <= the
  first such known + correction horizon. Other truths that it met are late.
- A prediction that met no truth *expires* label horizon after its time; a truth that met no
  prediction is *unmatched* park after it first counted.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.oracle.recorded import Row, read_predictions, read_truths
from tests.oracle.settings import MINUTE, Settings
from tests.oracle.watermark import Watermark

FIVE_MINUTES = 5 * MINUTE
NO_MODEL = ("", "")


@dataclass
class Truth:
    """A distinct truth of an id; label None is a retraction. `first` is where it first counted."""

    revision: int
    label: str | None
    time: int
    known: int
    first: int
    met: list[Prediction] = field(default_factory=list)

    def waits_until(self, settings: Settings) -> int:
        """Until where a prediction may count to meet it."""
        return max(
            (
                max(self.first, other.row.counted_at) + settings.horizons(other.series[0])[1]
                for other in self.met
            ),
            default=self.first + settings.park,
        )

    @property
    def rank(self) -> tuple[int, int, bytes]:
        """The truth with the greatest rank is in force."""
        return (self.revision, self.time, (self.label or "").encode())


@dataclass
class Prediction:
    """An accepted prediction and the truths that it met."""

    row: Row
    truths: list[Truth] = field(default_factory=list)

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

    def waits_until(self, settings: Settings) -> int:
        """Until where a truth may count to meet it."""
        label_horizon, correction_horizon = settings.horizons(self.series[0])
        if not self.truths:
            return self.row.time + label_horizon
        return (
            min(max(truth.first, self.row.counted_at) for truth in self.truths) + correction_horizon
        )

    def effective(self, settings: Settings) -> list[Truth]:
        """The truths that count for this prediction, in the order in which they became known."""
        label_horizon, correction_horizon = settings.horizons(self.series[0])
        in_time = [truth for truth in self.truths if self.delay(truth) <= label_horizon]
        if not in_time:
            return []
        first_known = min(self.known(truth) for truth in in_time)
        kept = [truth for truth in in_time if self.known(truth) <= first_known + correction_horizon]
        return sorted(kept, key=lambda truth: (self.known(truth), truth.rank))


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
    """The joined log: all accepted predictions and distinct truths, expired or not, the incidents,
    and the reasons in the dead-letter files by line.
    """

    predictions: list[Prediction]
    truths: list[Truth]
    incidents: list[Incident]
    rejected_predictions: dict[int, str]
    rejected_truths: dict[int, str]
    rows: int
    last: int = 0  # event time that the log had reached at its end
    last_prediction: int = 0  # that the predictions of a partition had reached


def join(folder: Path, settings: Settings, *, partitions: int, now: int) -> Joined:
    """Join the recorded log in `folder` as it is read with `partitions` partitions at the time
    `now`.
    """
    latest = now + FIVE_MINUTES
    predictions, rejected_predictions = read_predictions(
        folder, partitions=partitions, latest=latest
    )
    truths, rejected_truths = read_truths(folder, partitions=partitions, latest=latest)
    ticked = []
    head = 0
    watermarks: dict[tuple[bool, int], Watermark] = {}
    for is_truth, row in in_reading_order(predictions, truths):
        head = max(head, row.head)
        watermark = watermarks.setdefault((is_truth, row.partition), Watermark())
        watermark.tick(head - head % settings.pane)
        mark = watermark.row(row.time, row.id)
        grace = settings.truth_grace if is_truth else settings.prediction_grace
        ticked.append((is_truth, replace(row, floor=mark - grace)))
    joined = walk(ticked, settings, rejected_predictions, rejected_truths)
    last_prediction = max(
        (mark.last() for (is_truth, _), mark in watermarks.items() if not is_truth), default=0
    )
    return replace(joined, last=head, last_prediction=last_prediction)


def walk(
    rows: Sequence[tuple[bool, Row]],
    settings: Settings,
    rejected_predictions: dict[int, str],
    rejected_truths: dict[int, str],
) -> Joined:
    """Join rows, each with whether it is a truth, in an order that is that of its topic; conflicts
    are added to the rejected lines.
    """
    joined = Joined([], [], [], rejected_predictions, rejected_truths, len(rows))
    predictions: dict[str, list[Prediction]] = {}
    truths: dict[str, list[Truth]] = {}
    for is_truth, row in rows:
        if is_truth:
            _add_truth(truths.setdefault(row.id, []), row, settings, joined)
        elif _dropped(row, settings):
            joined.incidents.append(
                Incident("dropped_predictions", _series(row), row.counted_at, row)
            )
        else:
            _add_prediction(predictions.setdefault(row.id, []), row, settings, joined)
    for identity, own in truths.items():
        for truth in own:
            for prediction in predictions.get(identity, []):
                _meet(truth, prediction, settings)
    return joined


def _meet(truth: Truth, prediction: Prediction, settings: Settings) -> None:
    if (
        truth.first <= prediction.waits_until(settings)
        and prediction.row.counted_at <= truth.waits_until(settings)
        and prediction.series not in [other.series for other in truth.met]
    ):
        truth.met.append(prediction)
        prediction.truths.append(truth)


def in_reading_order(predictions: list[Row], truths: list[Row]) -> list[tuple[bool, Row]]:
    keyed = [
        ((row.head, is_truth, row.line), row)
        for is_truth, rows in ((False, predictions), (True, truths))
        for row in rows
    ]
    return [(is_truth, row) for (_, is_truth, _), row in sorted(keyed, key=lambda pair: pair[0])]


def _series(row: Row) -> tuple[str, str]:
    return (row.value["model_name"], row.value["model_version"])


def _dropped(row: Row, settings: Settings) -> bool:
    return row.floor - row.time > min(settings.horizons(row.value["model_name"]))


def _add_prediction(
    earlier: list[Prediction], row: Row, settings: Settings, joined: Joined
) -> None:
    same = [
        accepted
        for accepted in earlier
        if accepted.series == _series(row)
        and row.counted_at <= accepted.row.time + min(settings.horizons(_series(row)[0]))
    ]
    if same:
        contents = [content_of(accepted.row.value) for accepted in same]
        is_copy = content_of(row.value) in contents
        counter = "duplicate_predictions" if is_copy else "conflicting_predictions"
        joined.incidents.append(Incident(counter, _series(row), row.counted_at, row))
        if not is_copy:
            joined.rejected_predictions[row.line] = "conflict"
        return
    prediction = Prediction(row)
    if prediction.late:
        joined.incidents.append(Incident("late_predictions", _series(row), row.counted_at, row))
    earlier.append(prediction)
    joined.predictions.append(prediction)


def _add_truth(earlier: list[Truth], row: Row, settings: Settings, joined: Joined) -> None:
    repeated = min(settings.defaults.horizons[1], settings.park)
    revision, label = row.value["revision"], row.value["label"]
    near = [
        truth
        for truth in earlier
        if truth.revision == revision and row.counted_at <= truth.first + repeated
    ]
    others = [truth.time for truth in near if truth.label != label]
    for truth in near:
        between = [
            time
            for time in others
            if truth.time <= time <= row.time or row.time <= time <= truth.time
        ]
        if truth.label == label and (truth.time == row.time or not between):
            truth.time = min(truth.time, row.time)
            truth.known = min(truth.known, row.counted_at)
            joined.incidents.append(Incident("duplicate_truths", NO_MODEL, row.counted_at, row))
            return
    counted_at = row.counted_at
    earlier.append(Truth(revision, label, row.time, counted_at, counted_at))
    joined.truths.append(earlier[-1])


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
