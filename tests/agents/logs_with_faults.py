"""Small recorded logs drawn from a seed: kinds of labels, orders, faults and wrong times."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from driftline.schemas.times import DAY_MS, HOUR_MS, MINUTE_MS

BEGIN_MS: Final = 20_458 * DAY_MS  # 2026-01-05
NOW_MS: Final = BEGIN_MS + 400 * DAY_MS
# Labels of predictions, and of truths.
LABELS: Final = (
    (("yes", "no"), ("yes", "no")),
    ((1, 0), (True, False)),
    (("Fraud", "legit"), ("fraud", "legit")),
    (("good", "bad"), ("good", "bad")),
    (("1.1", "1.10", "1.2"), ("1.1", "1.10", "1.2")),
    (("a", "b"), ("c", "d")),
    ((None,), ("yes", "no")),
    ((None,), ("paid", "default")),
    ((None,), (" Yes", "no", "maybe")),
    ((None,), ("yes",)),
)
FEATURES: Final = (41, 2.5, "pro", None, [1, 2], float("nan"), True)
Event = dict[str, Any]
Lines = list[Event | str]


def draw(seed: int) -> tuple[Lines, Lines]:
    """Predictions and truths in the order of their files; a text is a line that is no JSON."""
    rng = random.Random(seed)
    predicted, actual = rng.choice(LABELS)
    n, step_ms = rng.randint(1, 250), rng.choice((MINUTE_MS, 20 * MINUTE_MS, HOUR_MS))
    delay_ms = rng.choice((0, 5 * MINUTE_MS, 7 * HOUR_MS))
    predictions: list[Event] = []
    truths: list[Event] = []
    for i in range(n):
        time_ms = BEGIN_MS + i * step_ms
        label, score = rng.choice(predicted), rng.random()
        event: Event = {
            "prediction_id": f"p{i}",
            "timestamp": time_ms,
            "model_name": rng.choice(("m", "m", "k")),
            "model_version": "1",
            "features": {"age": rng.choice(FEATURES), "plan": rng.choice(("pro", "free"))},
        }
        if label is None or rng.random() < 0.5:
            event["score"] = score
        if label is not None:
            event["prediction"] = label
        predictions.append(event)
        if rng.random() < 0.9:
            known_ms = time_ms + rng.randint(0, delay_ms)
            label = rng.choice(actual) if rng.random() < 0.98 else "stray"
            truths.append({"prediction_id": f"p{i}", "timestamp": known_ms, "label": label})
    truths.sort(key=lambda truth: truth["timestamp"])
    for rows in (predictions, truths):
        for fault in rng.sample(FAULTS, rng.randint(0, 4)):
            fault(rng, rows)
    ordered = rng.choice(ORDERS)
    return spoiled(rng, ordered(rng, predictions)), spoiled(rng, ordered(rng, truths))


def spoiled(rng: random.Random, rows: list[Event]) -> Lines:
    """The rows with some lines that are no events."""
    lines: Lines = list(rows)
    for _ in range(rng.choice((0, 0, 1, 3))):
        lines.insert(rng.randrange(len(lines) + 1), rng.choice(("nonsense", "[]", "{}", "")))
    return lines


def repeated(rng: random.Random, rows: list[Event]) -> None:
    """A row comes again, perhaps with another content."""
    if rows:
        at = rng.randrange(len(rows))
        rows.insert(rng.randint(at + 1, len(rows)), rows[at] | rng.choice(({}, {"label": "no"})))


def misdated(rng: random.Random, rows: list[Event]) -> None:
    """Rows somewhere are dated ahead."""
    for _ in range(rng.choice((1, 3))):
        at = rng.randrange(len(rows) + 1)
        time_ms = rows[at - 1]["timestamp"] if at else BEGIN_MS
        rows.insert(at, wrong(rng, rows, time_ms))


def misdated_at_the_end(rng: random.Random, rows: list[Event]) -> None:
    """The last rows are dated ahead."""
    last_ms = rows[-1]["timestamp"] if rows else BEGIN_MS
    rows += [wrong(rng, rows, last_ms) for _ in range(rng.choice((1, 2, 12)))]


def wrong(rng: random.Random, rows: list[Event], time_ms: int) -> Event:
    """A row that is ahead of a time, by less than a day or much more."""
    ahead_ms = rng.choice((2 * HOUR_MS, 20 * HOUR_MS, 30 * HOUR_MS, 3 * DAY_MS, 30 * DAY_MS))
    pattern = rows[0] if rows else {"label": "yes"}
    return pattern | {
        "prediction_id": f"w{rng.randrange(10**6)}",
        "timestamp": time_ms + ahead_ms,
    }


def out_of_range(rng: random.Random, rows: list[Event]) -> None:
    """Values that are rejected, and a time that was never set."""
    for _ in range(min(len(rows), 3)):
        rows[rng.randrange(len(rows))].update(
            rng.choice(({"score": 1.7}, {"timestamp": 0}, {"prediction_id": ""}, {"label": None}))
        )


def unknown_ids(rng: random.Random, rows: list[Event]) -> None:
    """Rows whose counterpart never comes."""
    for row in rng.sample(rows, len(rows) // 10):
        row["prediction_id"] = f"other-{row['prediction_id']}"


def late(rng: random.Random, rows: list[Event]) -> None:
    """A few rows come long after their time."""
    for _ in range(min(len(rows), 2)):
        rows.append(rows.pop(rng.randrange(len(rows))))


def corrected(rng: random.Random, rows: list[Event]) -> None:
    """Truths that are replaced or taken back."""
    for row in rng.sample(rows, min(len(rows), 3)):
        if "label" in row:
            change = rng.choice(({"label": "no"}, {"label": None, "retracted": True}))
            rows.append(row | change | {"timestamp": row["timestamp"] + MINUTE_MS})


FAULTS: Final[tuple[Callable[[random.Random, list[Event]], None], ...]] = (
    repeated,
    misdated,
    misdated_at_the_end,
    out_of_range,
    unknown_ids,
    late,
    corrected,
)
ORDERS: Final[tuple[Callable[[random.Random, list[Event]], list[Event]], ...]] = (
    lambda rng, rows: rows,
    lambda rng, rows: rows,
    lambda rng, rows: rows[::-1],
    lambda rng, rows: rng.sample(rows, len(rows)),
    lambda rng, rows: rows[::2] + rows[1::2],
)


def commands(seed: int) -> Lines:
    """Commands to the registry about the labels of a model, in some logs."""
    rng = random.Random(f"commands {seed}")
    asked: Event = {
        "command_id": "c1",
        "command": "set_labels",
        "model_name": "m",
        "timestamp": BEGIN_MS + rng.randint(1, 48) * HOUR_MS,
        "requested_by": "ada",
        "params": rng.choice(({"positive_label": "yes"}, {"labels": ["no", "yes", "stray"]})),
    }
    return [asked] if rng.random() < 0.3 else []


def write(folder: Path, predictions: Lines, truths: Lines, asked: Lines) -> Path:
    """Write a log; gives its folder."""
    folder.mkdir()
    files = {"predictions": predictions, "ground-truth": truths, "registry-commands": asked}
    for name, lines in files.items():
        texts = (line if isinstance(line, str) else json.dumps(line) for line in lines)
        (folder / f"{name}.jsonl").write_text("".join(f"{text}\n" for text in texts))
    return folder
