"""The comparison with the oracle finds faults that are planted in the output of a run."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.oracle.figures import count
from tests.oracle.joining import join
from tests.oracle.settings import Settings
from tests.oracle.verdict import differences
from tests.simulation import runs
from tests.simulation.histories import write

SEED = 603
Lines = list[dict[str, Any]]


@pytest.fixture(scope="module")
def verdict_on(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str, Callable[[Lines], None]], list[str]]:
    """Function that changes the lines of one output file of a correct run and gives the differences
    that the comparison finds.
    """
    folder = tmp_path_factory.mktemp("run")
    log, out = folder / "log", folder / "out"
    write(log, SEED)
    runs.run(log, out, partitions=2, batch=100)
    settings = Settings.from_toml((log / "driftline.toml").read_text(encoding="utf-8"))
    joined = join(log, settings, partitions=2, now=time.time_ns() // 1_000_000)
    figures = count(joined, settings)
    assert differences(log, out, joined, figures, settings) == []

    def verdict(name: str, change: Callable[[Lines], None]) -> list[str]:
        path: Path = out / name
        untouched = path.read_text(encoding="utf-8")
        lines = [json.loads(line) for line in untouched.splitlines()]
        change(lines)
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        sentences = differences(log, out, joined, figures, settings)
        path.write_text(untouched, encoding="utf-8")
        return sentences

    return verdict


def random_line(lines: Lines, needed: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    return Random(SEED).choice([line for line in lines if needed(line)])


def one_more_in_a_cell(lines: Lines) -> None:
    random_line(lines, lambda line: line["n"] > 0)["matrix"][0][0] += 1


def swapped_cells(lines: Lines) -> None:
    line = random_line(
        lines, lambda line: line["n"] > 0 and line["matrix"][0][-1] != line["matrix"][-1][0]
    )
    line["matrix"][0][-1], line["matrix"][-1][0] = line["matrix"][-1][0], line["matrix"][0][-1]


def one_prediction_less(lines: Lines) -> None:
    random_line(lines, lambda line: line["lane"] == "traffic")["n_predictions"] -= 1


def lost_counter(lines: Lines) -> None:
    random_line(lines, lambda line: "expired" in line.get("counts", {}))["counts"].pop("expired")


def lost_line(lines: Lines) -> None:
    lines.remove(random_line(lines, lambda line: line["n"] > 0))


def repeated_line(lines: Lines) -> None:
    lines.append(random_line(lines, lambda line: line["n"] > 0))


def later_window(lines: Lines) -> None:
    random_line(lines, lambda line: line["n"] > 0)["window_start"] = "2024-03-09T00:00:00Z"


def wrong_coverage(lines: Lines) -> None:
    random_line(lines, lambda line: line["lane"] == "decisions" and line["n"] > 0)[
        "label_coverage"
    ] += 0.01


def lost_stray(lines: Lines) -> None:
    random_line(lines, lambda line: bool(line.get("strays")))["strays"].popitem()


def other_positive_label(lines: Lines) -> None:
    line = random_line(lines, lambda line: line.get("positive_label") is not None)
    (line["positive_label"],) = {*line["labels"]} - {line["positive_label"]}


def guessed_basis(lines: Lines) -> None:
    random_line(lines, lambda line: line.get("positive_basis") == "registry")["positive_basis"] = (
        "vocabulary"
    )


def swapped_false_positives_and_negatives(lines: Lines) -> None:
    line = random_line(lines, lambda line: line.get("fp") != line.get("fn"))
    line["fp"], line["fn"] = line["fn"], line["fp"]


@pytest.mark.parametrize(
    "change",
    [
        one_more_in_a_cell,
        swapped_cells,
        one_prediction_less,
        lost_counter,
        lost_line,
        repeated_line,
        later_window,
        wrong_coverage,
        lost_stray,
        other_positive_label,
        guessed_basis,
        swapped_false_positives_and_negatives,
    ],
    ids=lambda change: change.__name__,
)
def test_comparison_finds_a_wrong_figure(
    verdict_on: Callable[..., list[str]], change: Callable[[Lines], None]
) -> None:
    assert verdict_on("metrics.jsonl", change)


def test_comparison_finds_scores_under_the_wrong_label(
    verdict_on: Callable[..., list[str]],
) -> None:
    def swapped(lines: Lines) -> None:
        line = random_line(lines, lambda line: len({*map(str, line["fit"].values())}) == 2)
        (one, other), fit = line["labels"], line["fit"]
        fit[one], fit[other] = fit.get(other, {}), fit.get(one, {})

    assert verdict_on("histograms.jsonl", swapped)


@pytest.mark.parametrize("fault", ["lost", "repeated", "other bytes", "other reason"])
def test_comparison_finds_a_wrong_dead_letter(
    verdict_on: Callable[..., list[str]], fault: str
) -> None:
    def change(lines: Lines) -> None:
        if fault == "lost":
            lines.pop()
        elif fault == "repeated":
            lines.append(lines[0])
        elif fault == "other bytes":
            lines[0]["value"] = "{}"
            lines[0].pop("value_base64", None)
        else:
            lines[0]["dlq_reason"] = (
                "conflict" if lines[0]["dlq_reason"] != "conflict" else "not_json"
            )

    assert verdict_on("predictions.dlq.jsonl", change)
