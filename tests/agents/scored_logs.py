"""Logs of a model with scores, replayed: the figures of each day, and those by counting."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import driftline
from driftline.schemas.results import WindowFigures

START = 1_767_571_200_000  # 2026-01-05T00:00:00Z
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
ROWS = 240  # of a day
CONFIG = {
    "windows": ["1d"],
    "maturity": ["1d"],
    "label_horizon": "1d",
    "last_n": [],
    "park": "1d",
}


def drawn(days: int = 1, *, seed: int = 5) -> list[tuple[float, bool]]:
    """Score and truth of each row; a truth is positive with the probability of its score."""
    random = Random(seed)
    scores = [round(random.betavariate(1, 1.5), 3) for _ in range(days * ROWS)]
    return [(score, random.random() < score) for score in scores]


def replayed(
    rows: list[dict[str, Any]], truths: list[Any], **settings: Any
) -> tuple[list[WindowFigures], driftline.Results]:
    """The final figures of each day, and all results."""
    predictions, ground_truth = both_topics(rows, truths)
    results = driftline.replay(predictions, ground_truth, config={"defaults": CONFIG | settings})
    return final_days(results), results


def both_topics(
    rows: list[dict[str, Any]], truths: list[Any]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Predictions with these fields, 240 a day, and their truths a minute later."""
    times = [START + i * (DAY // ROWS) for i in range(len(rows))]
    predictions = [
        {
            "prediction_id": f"p{i}",
            "model_name": "m",
            "model_version": "1",
            "timestamp": times[i],
            **row,
        }
        for i, row in enumerate(rows)
    ]
    ground_truth = [
        {"prediction_id": f"p{i}", "timestamp": times[i] + MINUTE, "label": label}
        for i, label in enumerate(truths)
    ]
    return predictions, ground_truth


def final_days(results: driftline.Results) -> list[WindowFigures]:
    table = results.metrics.where(lane="decisions", segment="all", window="1d")
    return [record for record in table.structs() if record.final]


def write_lines(path: Path, values: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(value) + "\n" for value in values))


def expected(rows: list[tuple[float, bool]]) -> dict[str, float]:
    """Figures at a threshold of 0.5 by counting."""
    tp = sum(score >= 0.5 and truth for score, truth in rows)
    fp = sum(score >= 0.5 and not truth for score, truth in rows)
    fn = sum(score < 0.5 and truth for score, truth in rows)
    positive = [score for score, truth in rows if truth]
    negative = [score for score, truth in rows if not truth]
    above = sum((p > n) + 0.5 * (p == n) for p in positive for n in negative)
    return {
        "accuracy": round((len(rows) - fp - fn) / len(rows), 6),
        "f1": round(2 * tp / (2 * tp + fp + fn), 6),
        "recall": round(tp / (tp + fn), 6),
        "roc_auc": round(above / len(positive) / len(negative), 6),
    }


def shown(figures: WindowFigures) -> dict[str, float | None]:
    return {name: figures.metrics[name] for name in ("accuracy", "f1", "recall", "roc_auc")}
