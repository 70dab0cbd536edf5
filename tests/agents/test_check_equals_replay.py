"""What `check` says about a drawn log is what a replay of it says afterwards."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from driftline.agents.inprocess.replay import Stages, replay
from driftline.agents.inprocess.run_summary import ReplaySummary
from driftline.agents.input_check.check import check_log
from driftline.schemas.config import parse_config
from driftline.schemas.input_check import InputCheck
from driftline.streams import pipeline
from driftline.streams.measure.counts.labels import LabelReport
from tests.agents import logs_with_faults
from tests.seeds import quick_and_slow

CONFIG = parse_config(
    '[run]\noutcomes = true\n[defaults]\nwindows = ["1h", "6h/2h"]\nmaturity = ["1h", "6h"]\n'
    'label_horizon = "6h"\ncorrection_horizon = "2h"\npark = "6h"\ndetection_window = "6h/2h"\n'
    'reference = "12h"\n'
)
OF_A_SEED = 2


def clock() -> int:
    """Later than every row that is not misdated."""
    return logs_with_faults.NOW_MS


@pytest.mark.parametrize("seed", quick_and_slow(range(10), 5))
def test_check_says_what_a_replay_says(tmp_path: Path, seed: int) -> None:
    for number in range(seed * OF_A_SEED, (seed + 1) * OF_A_SEED):
        log = logs_with_faults.write(
            tmp_path / f"log{number}",
            *logs_with_faults.draw(number),
            logs_with_faults.commands(number),
        )
        out, partitions, keep_order = tmp_path / f"out{number}", 1 + number % 3, number % 4 == 0
        said = Said(partitions)
        summary = replay(
            log,
            out,
            CONFIG,
            partitions=partitions,
            keep_order=keep_order,
            clock=clock,
            stages=said.stages,
        )
        found = check_log(log, CONFIG, partitions=partitions, clock=clock, keep_order=keep_order)
        assert rows_of_check(found) == rows_of_replay(summary), number
        assert met_in_check(found) == met_in_replay(out), number
        assert labels_of_check(found) == labels_of_replay(said.reports), number


class Said:
    """A replay's stages, and what it said about labels at its end."""

    def __init__(self, partitions: int) -> None:
        said = self
        self.reports: list[LabelReport] = []

        class Downstream(pipeline.Downstream):
            def label_reports(self) -> list[LabelReport]:
                said.reports = super().label_reports()
                return said.reports

        self.stages = Stages(
            [pipeline.Upstream(CONFIG, number, partitions) for number in range(partitions)],
            lambda states: Downstream(CONFIG, states),
        )


def rows_of_check(found: InputCheck) -> dict[str, Any]:
    """Lines, rejected lines, order, and rows that do not count with their examples."""
    return {
        "lines": {topic.topic: topic.lines for topic in found.topics},
        "accepted": {topic.topic: topic.accepted for topic in found.topics},
        "rejected": found.rejected,
        "uncounted": [
            (rows.topic, rows.reason, rows.rows, rows.example) for rows in found.not_counted
        ],
        "sorted": [topic.topic for topic in found.topics if topic.sorted],
    }


def rows_of_replay(summary: ReplaySummary) -> dict[str, Any]:
    """The same of a replay."""
    rejected = {topic: sum(by_reason.values()) for topic, by_reason in summary.rejected.items()}
    topics = ("predictions", "ground-truth")
    return {
        "lines": {topic: summary.lines[topic] for topic in topics},
        "accepted": {topic: summary.lines[topic] - rejected.get(topic, 0) for topic in topics},
        "rejected": summary.rejected,
        "uncounted": [
            (rows.topic, rows.reason, rows.rows, rows.example) for rows in summary.uncounted
        ],
        "sorted": [
            topic for topic in topics if topic in summary.order and summary.order[topic].sorted
        ],
    }


def met_in_check(found: InputCheck) -> dict[str, int]:
    """Predictions that have met a truth, by model."""
    return {version.model_name: version.labelled for version in found.versions if version.labelled}


def met_in_replay(out: Path) -> dict[str, int]:
    """The same of a replay: the first outcomes."""
    outcomes = map(json.loads, (out / "outcomes.jsonl").read_text().splitlines())
    return dict(Counter(each["model_name"] for each in outcomes if "correction" not in each))


Labels = tuple[list[str], list[str], str | None, str | None, str | None]


def labels_of_check(found: InputCheck) -> dict[str, Labels]:
    """Classes, strays, the positive label, how it is known, and what is wrong, by model."""
    return {
        model.model_name: (
            [each.name for each in model.classes],
            model.strays,
            model.positive_label,
            model.positive_basis,
            model.problem,
        )
        for model in found.models
        if model.classes
    }


def labels_of_replay(reports: list[LabelReport]) -> dict[str, Labels]:
    """The same of a replay."""
    return {
        report.model: (
            list(report.classes),
            list(report.strays),
            report.positive,
            report.basis,
            report.problem,
        )
        for report in reports
        if report.classes
    }
