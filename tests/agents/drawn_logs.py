"""Drawn recorded logs, and slow and obvious code for what their figures have to be.

A draw is a log of one day and one model as careless producers write it: labels of the two sides in
other spellings and JSON types, tokens for missing values, rare other labels, ids and times in many
forms, files in any order, and rows that no rule can read. `Expected` follows the rules of
`docs/inputs.md` row by row, without any code of the product.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction
from random import Random
from typing import Any

from tests.oracle.label_rules import (
    APART_ROWS,
    NO_LABEL,
    OTHER_EVIDENT,
    SCORED_ROWS,
    SETTLED_ROWS,
    SIGNED,
    Class,
    classes_of,
    nothing_in_common,
    positive_of,
    settled,
    told_by_scores,
    with_implied,
)
from tests.simulation.label_spellings import STRAYS, spelling

START = 1_767_571_200_000  # 2026-01-05T00:00:00Z
HOUR = 3_600_000
MINUTE = 60_000
CLOCK = START + 400 * 24 * HOUR

NEGATED = (("not donated", "donated"), ("no_churn", "churn"), ("non-smoker", "smoker"))
UNKNOWN = (("good", "bad"), ("paid", "default"), ("stay", "leave"), ("a", "b"))
SEVERAL = (("cat", "dog", "fox"), ("1", "2", "3", "4"), ("1.1", "1.10", "1.2"), ("007", "7", "70"))

Json = dict[str, Any]


@dataclass
class Log:
    """Lines of both files, what they hold, and the settings.

    `accepted` and `truths` are the valid rows as meant: id, text of the label or None, score or
    None; id and text of the label.
    """

    predictions: list[str] = field(default_factory=list)
    ground_truth: list[str] = field(default_factory=list)
    accepted: list[tuple[str, str | None, float | None]] = field(default_factory=list)
    truths: list[tuple[str, str]] = field(default_factory=list)
    rejected: Counter[tuple[str, str]] = field(default_factory=Counter)
    settings: Json = field(default_factory=dict)


def draw(seed: int) -> Log:
    """A log."""
    random = Random(seed)
    log = Log()
    n = random.choice([1, 2, 5, 19, 21, 40, 60, 150, 240])
    labels = _label_pair(random)
    spell = [spelling(random, labels) for _ in range(2)]
    kind = random.choice(["label", "label", "score", "both", "both"])
    agrees = random.random() < 0.5
    bad = random.choice([0.0, 0.0, 0.1])
    absent = random.choice([0.0, 0.1])
    stray_rows = set(random.sample(range(n), 1)) if n >= 150 and random.random() < 0.5 else set()
    stray_side = random.randrange(2)
    form = random.choice([_plain_id, _plain_id, _integer_id, _odd_id])
    time_forms = random.choice([[each] for each in TIMES] + [list(TIMES)])
    rows: tuple[list[tuple[int, str]], list[tuple[int, str]]] = ([], [])
    for row in range(n):
        at = START + HOUR + row * (18 * HOUR // n)
        truth = random.choice(labels) if random.random() < 0.8 else labels[0]
        predicted = truth if random.random() < 0.7 else random.choice(labels)
        side = predicted if agrees else random.choice(labels)
        score = round(random.random() / 2 + (0.5 if side == labels[-1] else 0), 3)
        texts = [predicted, truth]
        if row in stray_rows:
            texts[stray_side] = random.choice(STRAYS)
        sent_id, read_id = form(row)
        value: Json = {
            "prediction_id": sent_id,
            "model_name": "m",
            "model_version": random.choice([3, "3"]),
            "timestamp": random.choice(time_forms)(at),
            "features": {"age": random.choice([40, None, float("nan")]), "nested": None},
        }
        meant_score = meant_label = None
        if kind != "score":
            value["prediction"], meant_label = spell[0](texts[0], random)
            if random.random() < absent:
                value["prediction"], meant_label = random.choice([None, *NO_LABEL]), None
        if kind != "label":
            value["score"], meant_score = _score(score, random)
        reason = None
        if meant_label is None and meant_score is None:
            reason = "missing_field"
        elif random.random() < bad:
            reason = _spoil(value, random, PREDICTION_FAULTS)
        rows[0].append((at, _line(value)))
        if reason is None:
            log.accepted.append((read_id, meant_label, meant_score))
        else:
            log.rejected["predictions", reason] += 1
        if random.random() < 0.1:
            continue
        known = at + random.randrange(30 * MINUTE)
        sent_id, read_id = random.choice([form, form, form, _other_id])(row)
        value = {"prediction_id": sent_id, "timestamp": random.choice(time_forms)(known)}
        value["label"], meant = spell[1](texts[1], random)
        reason = None
        if random.random() < absent:
            value["label"], reason = random.choice([None, *NO_LABEL]), "missing_field"
        elif random.random() < bad:
            reason = _spoil(value, random, TRUTH_FAULTS)
        rows[1].append((known, _line(value)))
        if reason is None:
            log.truths.append((read_id, meant))
        else:
            log.rejected["ground-truth", reason] += 1
    log.predictions, log.ground_truth = ([*_in_order(lines, random)] for lines in rows)
    if len(labels) == 2 and random.random() < 0.2:
        log.settings["positive_label"] = random.choice(labels)
    return log


def _label_pair(random: Random) -> tuple[str, ...]:
    return random.choice(random.choice([SIGNED, SIGNED, OTHER_EVIDENT, NEGATED, UNKNOWN, SEVERAL]))


def _plain_id(row: int) -> tuple[Any, str]:
    return f"p{row}", f"p{row}"


def _integer_id(row: int) -> tuple[Any, str]:
    """Integers and texts of the same digits meet."""
    return (row if row % 2 else str(row)), str(row)


def _odd_id(row: int) -> tuple[Any, str]:
    odd = (f"é/{row}%", f" {row}", f"00{row}", f"😀{row}\t")[row % 4]
    return odd, odd


def _other_id(row: int) -> tuple[Any, str]:
    """An id that looks like one of the predictions, and is none."""
    other = (f"P{row}", f"p{row} ", f"p0{row}", f"x{row}")[row % 4]
    return other, other


def _rfc3339(ms: int, zone: timezone = UTC) -> str:
    moment = datetime.fromtimestamp(ms // 1000, UTC) + timedelta(milliseconds=ms % 1000)
    return moment.astimezone(zone).isoformat(timespec="milliseconds")


TIMES: tuple[Callable[[int], Any], ...] = (
    lambda ms: ms,
    lambda ms: ms / 1000,
    lambda ms: ms * 1000 + 999,
    lambda ms: ms * 1_000_000 + 999_999,
    lambda ms: str(ms),
    _rfc3339,
    lambda ms: _rfc3339(ms).replace("+00:00", "Z"),
    lambda ms: _rfc3339(ms)[:-6].replace("T", " "),
    lambda ms: _rfc3339(ms, timezone(timedelta(hours=5, minutes=30))),
)


def _score(score: float, random: Random) -> tuple[float, float]:
    return random.choice([(score, score)] * 8 + [(1.0000001, 1.0), (-1e-17, 0.0)])


def _set(key: str, *values: Any) -> Callable[[Json, Random], None]:
    def spoil(value: Json, random: Random) -> None:
        value[key] = random.choice(values)

    return spoil


def _remove(key: str) -> Callable[[Json, Random], None]:
    def spoil(value: Json, random: Random) -> None:
        del value[key]

    return spoil


Fault = tuple[str, Callable[[Json, Random], None]]
_ANY_FAULTS: tuple[Fault, ...] = (
    ("out_of_range", _set("timestamp", 0, "1970-01-01", "0001-01-01T00:00:00Z", 86_400)),
    ("wrong_type", _set("timestamp", "05/01/2026", "yesterday", "2026-01-05T10:00:00 CET", [1])),
    ("too_far_ahead", _set("timestamp", CLOCK + HOUR, "9999-12-31T00:00:00Z")),
    ("missing_field", _set("prediction_id", "", None)),
    ("missing_field", _remove("prediction_id")),
    ("missing_field", _remove("timestamp")),
    ("wrong_type", _set("prediction_id", 1.5, True, ["p1"], {"id": 1})),
)
PREDICTION_FAULTS: tuple[Fault, ...] = (
    *_ANY_FAULTS,
    ("out_of_range", _set("score", 87.5, -2.3, 1.00001)),
    ("not_finite", _set("score", float("nan"), float("inf"))),
    ("wrong_type", _set("prediction", ["yes"], {"label": "yes"})),
    ("missing_field", _set("model_version", None, "")),
)
TRUTH_FAULTS: tuple[Fault, ...] = (
    *_ANY_FAULTS,
    ("wrong_type", _set("label", ["yes"], {"label": "yes"})),
    ("not_finite", _set("label", float("nan"), float("-inf"))),
    ("missing_field", _remove("label")),
)


def _spoil(value: Json, random: Random, faults: Sequence[Fault]) -> str:
    reason, spoil = random.choice(faults)
    spoil(value, random)
    return reason


def _line(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False)


def _in_order(rows: list[tuple[int, str]], random: Random) -> Sequence[str]:
    """The lines in order of time, newest first, one host after the other, or shuffled."""
    lines = [line for _, line in sorted(rows)]
    if len(lines) < 20:
        return lines
    order = random.choice(["time", "time", "newest first", "hosts", "shuffled"])
    if order == "newest first":
        return lines[::-1]
    if order == "hosts":
        return lines[::2] + lines[1::2]
    return random.sample(lines, len(lines)) if order == "shuffled" else lines


@dataclass
class Expected:
    """What the last figures of the day have to be.

    `cells` counts the joined rows by actual and predicted class; None if figures by label are
    withheld. `metrics` has those that are judged here, None where one is withheld or undefined.
    `uncounted` is what the table at the end of the run has to list.
    """

    n_predictions: int
    classes: list[str]
    positive: tuple[str | None, str | None]
    strays: Counter[str]
    cells: Counter[tuple[str, str]] | None
    metrics: dict[str, Fraction | None]
    uncounted: Counter[tuple[str, str]]


def expect(log: Log) -> Expected:
    """By the rules of `docs/inputs.md`, row by row."""
    by_id = {id_: (label, score) for id_, label, score in log.accepted}
    joined = [(label, *by_id[id_]) for id_, label in log.truths if id_ in by_id]
    uncounted = log.rejected.copy()
    uncounted["ground-truth", "unmatched_truth"] = len(log.truths) - len(joined)
    uncounted["predictions", "expired_prediction"] = len(log.accepted) - len(joined)
    actual = Counter(label for label, _, _ in joined)
    predicted = Counter(label for _, label, _ in joined if label is not None)
    from_scores = any(label is None for _, label, _ in log.accepted)
    # Predictions without a truth name classes too.
    named = {label: 0 for _, label, _ in log.accepted if label is not None}
    configured = log.settings.get("positive_label")
    classes = classes_of([*actual], [*named], [] if configured is None else [configured])
    classes = with_implied(classes)
    only_scores = from_scores and not named
    if only_scores:
        classes = told_by_scores(classes, configured)
    higher = _higher(log.accepted)
    if len(joined) >= SETTLED_ROWS:
        at_first = positive_of(classes, configured, higher)[0]
        classes = settled(classes, at_first, actual, predicted, len(joined))
    positive = positive_of(classes, configured, higher) if len(classes) == 2 else (None, None)
    withheld = (only_scores and (len(classes) != 2 or positive[0] is None)) or (
        len(joined) >= APART_ROWS and nothing_in_common(classes)
    )
    strays: Counter[str] = Counter()
    cells: Counter[tuple[str, str]] = Counter()
    scored: list[tuple[str, float]] = []
    for truth, label, score in joined:
        one = next((each.name for each in classes if each.actual == truth), None)
        if label is None:
            other = _of_score(score, classes, positive[0])
        else:
            other = next((each.name for each in classes if each.predicted == label), None)
        if one is not None and score is not None:
            scored.append((one, score))
        if one is None or other is None:
            strays[truth if one is None else label or "(other)"] += 1
        else:
            cells[one, other] += 1
    return Expected(
        len(log.accepted),
        [each.name for each in classes],
        positive,
        strays,
        None if withheld else cells,
        {} if withheld else _metrics(cells, scored, positive[0]),
        +uncounted,
    )


def _metrics(
    cells: Counter[tuple[str, str]], scored: list[tuple[str, float]], positive: str | None
) -> dict[str, Fraction | None]:
    right = sum(count for (actual, predicted), count in cells.items() if actual == predicted)
    metrics: dict[str, Fraction | None] = {"accuracy": _ratio(right, cells.total())}
    if positive is None:
        return metrics | {"precision": None, "recall": None, "roc_auc": None}
    hits = cells[positive, positive]
    claimed = sum(count for (_, predicted), count in cells.items() if predicted == positive)
    positives = [score for name, score in scored if name == positive]
    negatives = [score for name, score in scored if name != positive]
    twice_above = sum(
        2 * (one > other) + (one == other) for one in positives for other in negatives
    )
    there = sum(count for (actual, _), count in cells.items() if actual == positive)
    return metrics | {
        "precision": _ratio(hits, claimed),
        "recall": _ratio(hits, there),
        "roc_auc": _ratio(twice_above, 2 * len(positives) * len(negatives)),
    }


def _ratio(part: int, whole: int) -> Fraction | None:
    return Fraction(part, whole) if whole else None


def _higher(accepted: Sequence[tuple[str, str | None, float | None]]) -> str | None:
    """The predicted label with the higher scores, if a threshold separates those of two."""
    scores: dict[str, list[float]] = {}
    for _, label, score in accepted:
        if label is not None and score is not None:
            scores.setdefault(label, []).append(score)
    if len(scores) != 2 or min(map(len, scores.values())) < SCORED_ROWS:
        return None
    low, high = sorted(scores, key=lambda label: min(scores[label]))
    return high if max(scores[low]) <= min(scores[high]) else None


def _of_score(score: float | None, classes: list[Class], positive: str | None) -> str | None:
    assert score is not None
    if positive is None or len(classes) != 2:
        return None
    negative = next(each.name for each in classes if each.name != positive)
    return positive if score >= 0.5 else negative
