"""Integers of every window by lane, segment and rung, from the joined log.

- *traffic*, by prediction time: predictions and errors of the rows that are not late.
- *decisions*, by prediction time and rung: predictions with a lateness of at most the rung; cells,
  joined, corrected and retracted of the truths with a delay of at most the rung.
- *arrivals*, by the time from which the truth is known: each new label in force, none is taken
  back; and rows without effect: late, dropped, duplicate and conflicting predictions, duplicate and
  late truths, expired predictions and unmatched truths.

The label in force at a rung is the greatest by (revision, time, label) of the effective truths with
a delay of at most the rung; a retraction means none. Over the effective truths in the order in
which they became known, a change to another label, or from none back to one, is `corrected`; a
change to none is `retracted`; both count from the rung of the change's delay on. `joined` counts
from the rung of the first label on.

The predicted label is the row's prediction; otherwise, for a score, `POSITIVE` at or above the
row's threshold or the configured one, and `NEGATIVE` below it; otherwise the class with the highest
probability, ties by name. Which labels these and the cells stand for is `label_sets.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from typing import Any, NamedTuple

from tests.oracle.joining import NO_MODEL, Incident, Joined, Prediction, Truth
from tests.oracle.recorded import label_text
from tests.oracle.settings import Settings

# Predicted by score; which label that is depends on the figure.
POSITIVE, NEGATIVE = "\0positive", "\0negative"


class Place(NamedTuple):
    """Key of a figure, that of its `metrics` record. `rung` is "-" outside the decisions lane."""

    model: str
    version: str
    segment: str
    lane: str
    window: str
    rung: str
    start: int


@dataclass
class Figure:
    """The integers of one figure.

    `cells` counts (actual, predicted), `scores` (actual, bin of the score) in the decisions lane,
    `outputs` (predicted, bin of the score or None) in the traffic lane.
    """

    counts: Counter[str] = field(default_factory=Counter)
    cells: Counter[tuple[str, str]] = field(default_factory=Counter)
    scores: Counter[tuple[str, str]] = field(default_factory=Counter)
    outputs: Counter[tuple[str, str | None]] = field(default_factory=Counter)

    def add(self, other: Figure) -> None:
        self.counts.update(other.counts)
        self.cells.update(other.cells)
        self.scores.update(other.scores)
        self.outputs.update(other.outputs)

    @property
    def n(self) -> int:
        return self.cells.total()


class Change(NamedTuple):
    """The label in force changed from `old` to `new`; None is no label."""

    known: int
    delay: int
    old: str | None
    new: str | None
    counter: str


def count(joined: Joined, settings: Settings, *, panes: bool = False) -> dict[Place, Figure]:
    """All figures with a count; with `panes`, panes at every rung instead of the configured
    windows.
    """
    figures: dict[Place, Figure] = {}
    for (series, segment, lane, start, first_rung), part in _by_unit(
        joined, settings, panes=panes
    ).items():
        windows = (
            [("pane", settings.pane, settings.pane)]
            if panes
            else settings.of(series[0]).window_sizes
        )
        for window, size, step in windows:
            ladder = (
                settings.of(series[0]).rungs if panes else settings.of(series[0]).rungs_of(size)
            )
            rungs = [name for name, _ in ladder[first_rung:]] if lane == "decisions" else ["-"]
            window_start = start - start % step
            while window_start + size > start:
                for rung in rungs:
                    figure = figures.setdefault(
                        Place(*series, segment, lane, window, rung, window_start), Figure()
                    )
                    figure.add(part)
                window_start -= step
    return figures


def newest(joined: Joined, settings: Settings) -> dict[Place, Figure]:
    """Figures of the window with the smallest step of each model, of the rows since the window of
    its kind before: at the first rung, of all versions and rows; the version is "".
    """
    figures: dict[Place, Figure] = {}
    for (series, segment, lane, start, _), part in _by_unit(joined, settings, panes=False).items():
        if segment == "all" and lane != "decisions" and series != NO_MODEL:
            window, size, step = settings.of(series[0]).smallest_window
            end = start - start % step + step
            place = Place(series[0], "", "all", lane, window, "-", end - size)
            figures.setdefault(place, Figure()).add(part)
    return figures


# Series, segment, lane, start of the unit of time, number of the first rung (0 outside the
# decisions lane).
Part = tuple[tuple[str, str], str, str, int, int]


def _by_unit(joined: Joined, settings: Settings, *, panes: bool) -> dict[Part, Figure]:
    """Counts of each unit of time; the windows of a model consist of whole units."""
    parts: dict[Part, Figure] = {}

    def at(
        series: tuple[str, str], segments: list[str], lane: str, time: int, delay: int = 0
    ) -> list[Figure]:
        """Parts that count something at `time`; in decisions from the rung of `delay` on."""
        unit = settings.pane if panes else settings.of(series[0]).unit
        first_rung = (
            sum(ms < delay for _, ms in settings.of(series[0]).rungs) if lane == "decisions" else 0
        )
        keys = [(series, segment, lane, time - time % unit, first_rung) for segment in segments]
        return [parts.setdefault(key, Figure()) for key in keys]

    for prediction in joined.predictions:
        _count_prediction(prediction, settings, at)
    for truth in joined.truths:
        if not truth.met:
            for figure in at(NO_MODEL, ["all"], "arrivals", truth.waits_until(settings)):
                figure.counts["unmatched"] += 1
    for incident in joined.incidents:
        for figure in at(incident.series, segments_of(incident, settings), "arrivals", incident.at):
            figure.counts[incident.counter] += 1
    return parts


def _count_prediction(
    prediction: Prediction, settings: Settings, at: Callable[..., list[Figure]]
) -> None:
    value, time = prediction.row.value, prediction.row.time
    series = prediction.series
    segments = segments_of(prediction, settings)
    is_error, has_output = value.get("status") == "error", not prediction.counts_in_traffic_only
    predicted = predicted_label(value, settings.of(series[0]).threshold) if has_output else ""
    score = None if value.get("score") is None else score_bin(value["score"])
    if not prediction.late:
        for figure in at(series, segments, "traffic", time):
            figure.counts["predictions"] += 1
            figure.counts["errors"] += is_error
            if has_output:
                figure.outputs[predicted, score] += 1
    if not has_output:
        return
    for figure in at(series, segments, "decisions", time, prediction.lateness):
        figure.counts["predictions"] += 1

    effective = prediction.effective(settings)
    if not effective:
        for figure in at(series, segments, "arrivals", prediction.waits_until(settings)):
            figure.counts["expired"] += 1
    for truth in prediction.truths:
        if not any(truth is other for other in effective):
            for figure in at(series, segments, "arrivals", prediction.known(truth)):
                figure.counts["late_truths"] += 1
    for change in changes(prediction, effective):
        for lane, when, delay in (("decisions", time, change.delay), ("arrivals", change.known, 0)):
            for figure in at(series, segments, lane, when, delay):
                if change.old is not None and lane == "decisions":
                    figure.cells[change.old, predicted] -= 1
                if change.new is not None:
                    figure.cells[change.new, predicted] += 1
                if lane == "decisions":
                    figure.counts[change.counter] += 1
                    for label, sign in ((change.old, -1), (change.new, 1)):
                        if label is not None and score is not None:
                            figure.scores[label, score] += sign


def changes(prediction: Prediction, effective: list[Truth]) -> list[Change]:
    """Changes of the label in force as the effective truths became known."""
    changes_: list[Change] = []
    labelled = False
    old: str | None = None
    for i in range(len(effective)):
        new = max(effective[: i + 1], key=lambda truth: truth.rank).label
        if new == old:
            continue
        counter = "retracted" if new is None else "corrected" if labelled else "joined"
        changes_.append(
            Change(
                prediction.known(effective[i]), prediction.delay(effective[i]), old, new, counter
            )
        )
        labelled = labelled or new is not None
        old = new
    return changes_


def predicted_label(value: dict[str, Any], configured_threshold: float) -> str:
    """Predicted label of the row; POSITIVE or NEGATIVE if it follows from the score."""
    if value["prediction"] is not None:
        return str(value["prediction"])
    if value.get("score") is not None:
        threshold = value.get("threshold")
        return (
            POSITIVE
            if value["score"] >= (configured_threshold if threshold is None else threshold)
            else NEGATIVE
        )
    scores = value["scores"]
    return min(scores, key=lambda name: (-scores[name], name))


def score_bin(score: float) -> str:
    """The greatest edge at or below the score, with "+" if the score is above it.

    Edges are the multiples of 0.0005 in the middle. Below 0.05 they are the multiples of 2, 5 or 10
    % of the power of ten below, up to 2, 5 and 10 times of it, in whole billionths, from 1e-8 on;
    above 0.95 their differences from 1.
    """
    exact = Decimal(score) * 10**9
    nearest = round(exact)
    is_whole = abs(exact - nearest) <= Decimal("1e-6") and (0 < nearest < 10**9 or score in (0, 1))
    billionths = nearest if is_whole else min(int(exact), 10**9 - 1)
    edge = max(edge for edge in _edges() if edge <= billionths)
    return repr(edge / 10**9) + ("" if is_whole and edge == billionths else "+")


@cache
def _edges() -> list[int]:
    """All edges in billionths."""
    low = {0}
    for power in range(-8, -1):
        unit = Decimal(10) ** power
        for first, last, step in ((1, 2, "0.02"), (2, 5, "0.05"), (5, 10, "0.1")):
            size = Decimal("0.05") if (power, first) == (-2, 5) else Decimal(step)
            value = Decimal(first)
            while value < last:
                scaled = value * unit * 10**9
                if scaled == int(scaled):
                    low.add(int(scaled))
                value += size
    low |= {500_000 * i for i in range(200, 1000)}
    return sorted(low | {500_000_000} | {10**9 - edge for edge in low})


def segments_of(item: Prediction | Incident, settings: Settings) -> list[str]:
    """The segment "all", and "dimension=value" for each configured dimension of the row."""
    if item.series == NO_MODEL:
        return ["all"]
    values = item.row.value.get("segment") or {}
    dimensions = settings.of(item.series[0]).segments
    return ["all"] + [
        f"{name}={label_text(values[name])}" for name in dimensions if values.get(name) is not None
    ]
