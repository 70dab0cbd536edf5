"""The labels of each model over time: which of them a figure counts under, and which row is in no
figure.

Labels are known as windows are complete. Steps are in the order of (edge of a pane at which windows
are due + grace), in each of them traffic, decisions, arrivals; the grace of traffic is that of the
predictions, that of the others the greater of both. Every figure of a lane in a step follows the
labels of all figures of that lane up to this step, and what was known before:

- traffic names the predicted labels of its rows. The scores of rows with a label are compared in
  the rows since the last window of the smallest step. As soon as there are three labels, or both
  overlap, the scores decide nothing, for ever.
- decisions name both labels of each row that counts.
- arrivals name both labels too. The classes are settled after the window with the smallest step in
  which the 100th truth came, each truth of these windows counted once.

A command `set_labels` is in force from the first step that is later than its time. It makes the
classes anew from the texts of the classes and of the listed strays, unless it names the same labels
as the one before it. What the configuration sets stays.

The rules for what follows from the labels are in `label_rules.py`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from tests.oracle.figures import NEGATIVE, POSITIVE, Figure, Place
from tests.oracle.label_rules import (
    APART_ROWS,
    SCORED_ROWS,
    SETTLED_ROWS,
    Class,
    class_of,
    classes_of,
    nothing_in_common,
    positive_of,
    settled,
    told_by_scores,
    with_implied,
)
from tests.oracle.recorded import LabelCommand
from tests.oracle.settings import ModelSettings, Settings

LANES = ("traffic", "decisions", "arrivals")
DERIVED = (POSITIVE, NEGATIVE)
MOST_STRAYS = 10
OTHER = "(other)"


@dataclass(frozen=True)
class Judged:
    """What the labels of a model mean at one moment.

    `listed` are the strays with a number of their own; without `counted` no figure by label is
    given.
    """

    classes: tuple[Class, ...]
    listed: tuple[str, ...]
    positive: str | None
    basis: str | None
    counted: bool

    @property
    def names(self) -> list[str]:
        """The labels of a matrix."""
        return list(ordered(each.name for each in self.classes))

    def cells(self, figure: Figure) -> tuple[Counter[tuple[str, str]], Counter[str]]:
        """Rows by class of the truth and of the prediction, and rows by stray label."""
        cells: Counter[tuple[str, str]] = Counter()
        strays: Counter[str] = Counter()
        for (actual, predicted), n in figure.cells.items():
            one, other = self.actual(actual), self.predicted(predicted)
            if one is not None and other is not None:
                cells[one, other] += n
            else:
                stray = actual if one is None else predicted
                strays[stray if stray in self.listed else OTHER] += n
        return cells, strays

    def scores(self, figure: Figure) -> dict[tuple[str, str], int]:
        """Rows by class of the truth and bin of the score."""
        found: Counter[tuple[str, str]] = Counter()
        for (actual, score), n in figure.scores.items():
            name = self.actual(actual)
            if name is not None:
                found[name, score] += n
        return {key: n for key, n in found.items() if n}

    def actual(self, text: str) -> str | None:
        return next((each.name for each in self.classes if each.actual == text), None)

    def predicted(self, text: str) -> str | None:
        if text not in DERIVED:
            return next((each.name for each in self.classes if each.predicted == text), None)
        if self.positive is None or text == POSITIVE:
            return self.positive
        return next(each.name for each in self.classes if each.name != self.positive)


class LabelSet:
    """The labels of one model so far."""

    def __init__(self, model: ModelSettings) -> None:
        self.settings = model
        self.registered: tuple[tuple[str, ...] | None, str | None] = (None, None)
        self.actual: list[str] = []
        self.predicted: list[str] = []
        self.derived = False
        self.fixed: list[Class] | None = None
        self.fixed_positive: tuple[str | None, str | None] = (None, None)
        self.truths: Counter[str] = Counter()
        self.predictions: Counter[str] = Counter()
        self.scores: dict[str, list[tuple[float, bool]]] = {}
        self.higher: str | None = None
        self.scores_decide = model.positive_label is None
        self.apart = False
        self._fix_named()

    @property
    def configured(self) -> str | None:
        """The positive label that the configuration or a command names."""
        return self.settings.positive_label or self.registered[1]

    def register(self, labels: tuple[str, ...] | None, positive: str | None) -> None:
        """Carry out a command."""
        is_same, self.registered = labels == self.registered[0], (labels, positive)
        if is_same:
            return
        texts = [
            [*seen, *(text for text in of_classes if text is not None)]
            for seen, of_classes in (
                (self.actual, [each.actual for each in self.fixed or []]),
                (self.predicted, [each.predicted for each in self.fixed or []]),
            )
        ]
        self.actual, self.predicted, self.fixed = [], [], None
        self.fixed_positive, self.apart = (None, None), False
        self._fix_named()
        self.see(*texts)

    def _fix_named(self) -> None:
        """Take the labels that the configuration or a command names as the classes."""
        labels = self.registered[0] if self.settings.labels is None else self.settings.labels
        if labels is not None:
            positive = [] if self.configured is None else [self.configured]
            self.fixed = [Class(name) for name in dict.fromkeys([*labels, *positive])]

    def see(self, actual: Iterable[str], predicted: Iterable[str]) -> None:
        """Take in labels of truths and of predictions."""
        predicted = set(predicted)
        self.derived = self.derived or bool(predicted & set(DERIVED))
        known = self.fixed or []
        new = [
            ordered(set(actual) - {*self.actual, *(each.actual for each in known)}),
            ordered(predicted - {*self.predicted, *(each.predicted for each in known), *DERIVED}),
        ]
        if self.fixed is None:
            self.actual, self.predicted = (
                list(ordered([*before, *more]))
                for before, more in zip((self.actual, self.predicted), new, strict=True)
            )
            return
        for label in new[0]:
            mine = class_of(self.fixed, label)
            if mine is not None and mine.actual is None:
                self.fixed[self.fixed.index(mine)] = replace(mine, actual=label)
            elif len(self.actual) < MOST_STRAYS:
                self.actual.append(label)
        for label in new[1]:
            mine = class_of(self.fixed, label)
            if mine is not None and mine.predicted is None:
                self.fixed[self.fixed.index(mine)] = replace(mine, predicted=label)
            elif len(self.predicted) < MOST_STRAYS:
                self.predicted.append(label)

    def compare_scores(self, figure: Figure) -> None:
        """Take in predictions with a label and a score."""
        if not self.scores_decide:
            return
        for (label, score), n in figure.outputs.items():
            if score is not None and label not in DERIVED:
                place = float(score.rstrip("+")), score.endswith("+")
                self.scores.setdefault(label, []).extend([place] * n)
        if len(self.scores) > 2:
            self.scores_decide = False
        elif len(self.scores) == 2:
            low, high = sorted(self.scores, key=lambda label: min(self.scores[label]))
            lowest = [min(self.scores[label]) for label in (low, high)]
            if lowest[0] == lowest[1] or max(self.scores[low]) > lowest[1]:
                self.scores_decide = False
            elif min(map(len, self.scores.values())) >= SCORED_ROWS:
                self.higher, self.scores_decide = high, False

    def settle(self, figure: Figure) -> None:
        """Take in truths that became known, and fix the classes if there are enough of them."""
        if self.fixed is not None:
            return
        self.see_cells(figure)
        for (actual, predicted), n in figure.cells.items():
            self.truths[actual] += n
            if predicted not in DERIVED:
                self.predictions[predicted] += n
        classes, n = self.classes(), self.truths.total()
        if nothing_in_common(classes):
            self.apart = self.apart or n >= APART_ROWS
            return
        if n < SETTLED_ROWS or len(classes) < 2:
            return
        positive = positive_of(classes, self.configured, self.higher)[0]
        kept = settled(classes, positive, self.truths, self.predictions, n)
        if len(kept) < 2 or (len(kept) > 2 and self.derived and _from_scores_only(kept)):
            return
        texts = {each.actual for each in kept}, {each.predicted for each in kept}
        self.fixed = kept
        self.truths, self.predictions = Counter(), Counter()
        self.actual = [text for text in self.actual if text not in texts[0]][:MOST_STRAYS]
        self.predicted = [text for text in self.predicted if text not in texts[1]][:MOST_STRAYS]
        self.fixed_positive = positive_of(kept, self.configured, self.higher)

    def see_cells(self, figure: Figure) -> None:
        there = [cell for cell, n in figure.cells.items() if n]
        self.see((actual for actual, _ in there), (predicted for _, predicted in there))

    def classes(self) -> list[Class]:
        if self.fixed is not None:
            return self.fixed
        named = [] if self.configured is None else [self.configured]
        classes = with_implied(classes_of(self.actual, self.predicted, named))
        if self.derived and _from_scores_only(classes):
            return told_by_scores(classes, self.configured)
        return classes

    def judged(self) -> Judged:
        classes = self.classes()
        positive, basis = self.fixed_positive
        if positive is None or self.configured is not None:
            positive, basis = positive_of(classes, self.configured, self.higher)
        if basis == "configured" and self.settings.positive_label is None:
            basis = "registry"
        if len(classes) != 2:
            positive = basis = None
        sides = (
            (self.actual, {each.actual for each in classes}),
            (self.predicted, {each.predicted for each in classes}),
        )
        listed = [
            label
            for seen, taken in sides
            for label in [label for label in seen if label not in taken][:MOST_STRAYS]
        ]
        from_scores = self.derived and _from_scores_only(classes)
        withheld = (from_scores and positive is None) or (self.apart and nothing_in_common(classes))
        return Judged(tuple(classes), tuple(listed), positive, basis, not withheld)


class _Step(NamedTuple):
    """A lane of a model in one step."""

    released: int
    lane: int


def labels_of(
    figures: dict[Place, Figure],
    newest: dict[Place, Figure],
    settings: Settings,
    commands: Sequence[LabelCommand] = (),
) -> dict[Place, Judged]:
    """What the labels mean in each figure.

    Parameters
    ----------
    figures, newest
        As `figures.count` and `figures.newest` compute them.
    """
    steps: dict[str, dict[_Step, list[Place]]] = {}
    for place in [*figures, *newest]:
        steps.setdefault(place.model, {}).setdefault(_step_of(place, settings), []).append(place)
    found: dict[Place, Judged] = {}
    for model, of_model in steps.items():
        labels = LabelSet(settings.of(model))
        later = [command for command in commands if command.model == model]
        for step in sorted(of_model):
            while later and later[0].time < step.released:
                command = later.pop(0)
                labels.register(command.labels, command.positive)
            places = sorted(of_model[step], key=lambda place: place.start)
            for place in places:
                if place in newest and step.lane == 0:
                    labels.compare_scores(newest[place])
                elif place in newest:
                    labels.settle(newest[place])
            counted = [figures[place] for place in places if place in figures]
            labels.see(
                {actual for figure in counted for (actual, _), n in figure.cells.items() if n},
                {label for figure in counted for (_, label), n in figure.cells.items() if n}
                | {label for figure in counted for (label, _), n in figure.outputs.items() if n},
            )
            found |= dict.fromkeys((place for place in places if place in figures), labels.judged())
    return found


def due(place: Place, settings: Settings) -> int:
    """Event time at which a figure is announced at the latest, the grace apart: the first edge of
    a pane at or after its rung.
    """
    model = settings.of(place.model)
    size = next(size for name, size, _ in model.window_sizes if name == place.window)
    complete = place.start + size + dict(model.rungs).get(place.rung, 0)
    return -(-complete // settings.pane) * settings.pane


def _step_of(place: Place, settings: Settings) -> _Step:
    grace = settings.prediction_grace
    if place.lane != "traffic":
        grace = max(grace, settings.truth_grace)
    return _Step(due(place, settings) + grace, LANES.index(place.lane))


def _from_scores_only(classes: Sequence[Class]) -> bool:
    return all(each.predicted is None for each in classes)


def ordered(labels: Iterable[str]) -> tuple[str, ...]:
    """Distinct labels, as numbers if all are integers, else by text."""
    distinct = set(labels)
    if all(re.fullmatch("-?[0-9]+", label) for label in distinct):
        return tuple(sorted(distinct, key=lambda label: (int(label), label)))
    return tuple(sorted(distinct))
