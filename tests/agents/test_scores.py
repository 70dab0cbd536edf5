"""Scores as senders write them, through a replay: figures against scikit-learn on exact scores."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics as sklearn

import driftline
from driftline.schemas.results import WindowFigures

START_MS = 1_795_219_200_000  # 2026-11-21T00:00:00Z
N = 400
ACTUAL: NDArray[np.int64] = (np.arange(N) * 7 % 10 < 3).astype(np.int64)
RANKED = np.random.default_rng(2).normal(size=N) + 1.2 * ACTUAL
SHARE = 1 / (1 + np.exp(-RANKED))
CONFIG = """
[run]
lanes = ["decisions"]
park = "1d"
[defaults]
positive_label = "1"
windows = ["1d"]
maturity = ["1d"]
label_horizon = "1d"
metrics = ["accuracy", "recall", "roc_auc", "brier"]
"""


def replayed(folder: Path, outputs: list[Mapping[str, Any]]) -> tuple[WindowFigures, Any]:
    """Figures of the only day, and the summary, of predictions with these fields."""
    results = results_of(folder, outputs)
    (figure,) = [
        record
        for record in results.metrics.where(lane="decisions", segment="all").structs()
        if record.window == "1d" and record.final and record.n
    ]
    return figure, results.summary


def results_of(folder: Path, outputs: list[Mapping[str, Any]]) -> driftline.Results:
    log = folder / "log"
    log.mkdir()
    (log / "driftline.toml").write_text(CONFIG)
    with (log / "predictions.jsonl").open("w") as file:
        for i, fields in enumerate(outputs):
            at = {"timestamp": START_MS + i * 60_000, "model_name": "m", "model_version": "1"}
            file.write(json.dumps({"prediction_id": f"p{i}"} | at | fields) + "\n")
    with (log / "ground-truth.jsonl").open("w") as file:
        for i in range(len(outputs)):
            truth = {"timestamp": START_MS + i * 60_000, "label": int(ACTUAL[i])}
            file.write(json.dumps({"prediction_id": f"p{i}"} | truth) + "\n")
    return driftline.replay(log, config=log / "driftline.toml", out=folder / "out")


@pytest.mark.parametrize(
    "spelled",
    [
        lambda share: share,
        lambda share: 1e-4 * share,
        lambda share: 1e-6 * share,
        lambda share: 1 - 1e-5 * (1 - share),
        lambda share: np.round(share, 2),
        lambda share: (share > 0.5).astype(float),
        lambda share: share.astype(np.float32).astype(float),
    ],
    ids=["plain", "below 1e-4", "below 1e-6", "above 0.99999", "2 decimals", "0 or 1", "32 bits"],
)
def test_roc_auc_is_that_of_the_exact_scores(
    tmp_path: Path, spelled: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> None:
    scores = spelled(SHARE)
    figure, _ = replayed(tmp_path, [{"score": score} for score in scores.tolist()])
    exact = sklearn.roc_auc_score(ACTUAL, scores)
    assert figure.metrics["roc_auc"] == pytest.approx(exact, abs=0.001)
    low, high = figure.ci["roc_auc"]
    assert low < exact < high


def test_scores_in_one_bin_have_no_roc_auc_but_the_reason(tmp_path: Path) -> None:
    scores = 0.3 + 1e-6 * SHARE
    figure, _ = replayed(tmp_path, [{"score": score} for score in scores.tolist()])
    assert (figure.metrics["roc_auc"], "roc_auc" in figure.ci) == (None, False)
    assert figure.null_reasons["roc_auc"] == (
        "scores are too close together: 100.0% of the pairs of a positive and a negative share a"
        " score bin, the error could be 0.500, more than 0.005"
    )
    assert figure.metrics["brier"] == pytest.approx(
        sklearn.brier_score_loss(ACTUAL, scores), abs=2e-6
    )


@pytest.mark.parametrize(
    ("most", "least"),
    [(1.0000001, -1e-17), (1.0000000000000002, -5e-324), (1.0000001192092896, -1.2e-7)],
)
@pytest.mark.parametrize("by_class", [False, True])
def test_scores_that_rounding_put_outside_their_range_count(
    tmp_path: Path, most: float, least: float, by_class: bool
) -> None:
    scores = np.where(SHARE > 0.8, most, np.where(SHARE < 0.2, least, SHARE))
    outputs: list[dict[str, Any]] = [
        {"scores": {"1": score, "0": 1 - score}} if by_class else {"score": score}
        for score in scores.tolist()
    ]
    figure, summary = replayed(tmp_path, outputs)
    predicted = SHARE >= 0.5
    assert (figure.n, summary.rejected) == (N, {})
    assert figure.metrics["accuracy"] == round(float((predicted == ACTUAL).mean()), 6)
    assert figure.metrics["recall"] == round(float(predicted[ACTUAL == 1].mean()), 6)
    assert figure.metrics["roc_auc"] == pytest.approx(
        sklearn.roc_auc_score(ACTUAL, np.clip(scores, 0, 1)), abs=0.001
    )


@pytest.mark.parametrize(("factor", "noted"), [(1.0, 0), (1.004, 0), (1.6, N), (0.5, N)], ids=str)
def test_scores_that_do_not_add_up_to_one_count_and_are_told(
    tmp_path: Path, factor: float, noted: int
) -> None:
    shares = np.clip(SHARE, 0.4, 0.6).tolist()
    outputs = [{"scores": {"1": share * factor, "0": (1 - share) * factor}} for share in shares]
    figure, summary = replayed(tmp_path, outputs)
    assert figure.n == N
    found = [rows for rows in summary.uncounted if rows.reason == "scores_not_one"]
    assert sum(rows.rows for rows in found) == noted
    for rows in found:
        assert (rows.topic, rows.is_rejected) == ("predictions", False)
        assert rows.example == (
            f'predictions@0: field "scores": the probabilities of 2 classes add up to {factor:g},'
            " not to 1"
        )


def test_one_class_that_is_less_probable_than_another_one_is_told(tmp_path: Path) -> None:
    # The probability of the positive class alone counts as "1" in every row, not only from 0.5 on.
    outputs = [{"scores": {"1": share}} for share in SHARE.tolist()]
    _, summary = replayed(tmp_path, outputs)
    (found,) = [rows for rows in summary.uncounted if rows.reason == "scores_not_one"]
    assert found.rows == int((SHARE < 0.5).sum()) > 0
    assert "the only class has the probability" in found.example
    assert "the positive class alone as score" in found.remedy


@pytest.mark.parametrize("scale", ["percentage", "logit"])
def test_percentages_and_logits_are_rejected_with_what_to_send(tmp_path: Path, scale: str) -> None:
    scores = 100 * SHARE if scale == "percentage" else RANKED
    summary = results_of(tmp_path, [{"score": score} for score in scores.tolist()]).summary
    assert summary is not None
    (rejected,) = [rows for rows in summary.uncounted if rows.reason == "out_of_range"]
    assert rejected.rows == int(((scores < 0) | (scores > 1)).sum())
    assert f"a {scale}" in rejected.example
    assert "send" in rejected.example
