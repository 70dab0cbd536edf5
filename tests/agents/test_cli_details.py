"""`performance details`, on records that are written by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from driftline.agents.cli.performance_details import matrix_in_words
from driftline.schemas.results import LostRows, WindowFigures, encode
from driftline.schemas.times import EpochMs
from tests.agents.test_cli_over_time import document, figures, out, refusal, text

__all__ = ["out"]  # the fixture

MATRIX = {"labels": ["no", "yes"], "matrix": [[600, 100], [50, 150]], "positive_label": "yes"}


def add(out: Path, *records: WindowFigures) -> None:
    with (out / "metrics.jsonl").open("ab") as file:
        file.write(b"".join(encode(each) + b"\n" for each in records))


def details(out: Path, *options: str) -> str:
    return " ".join(text(out, "performance", "details", *options).split())


def starts(out: Path, *options: str) -> list[tuple[str, str, str]]:
    records = document(out, "performance", "details", *options)
    return [(each["model_version"], each["window"], each["window_start"]) for each in records]


def test_the_largest_window_of_at_most_a_day_is_shown_for_each_version(out: Path) -> None:
    add(out, figures(0, 0.3, hours=24), figures(0, 0.3, hours=48), figures(0, 0.2, version="4"))
    # No window of version 1 is longer than 24 h and at most a day.
    assert starts(out) == [
        ("1", "24h", "2026-03-01T00:00:00Z"),
        ("2", "1h", "2026-03-01T03:00:00Z"),
        ("3", "1h", "2026-03-01T09:00:00Z"),
        ("4", "1h", "2026-03-01T00:00:00Z"),
    ]


def test_the_window_is_complete_and_at_the_last_rung_that_has_it(out: Path) -> None:
    """Of hour 4 there is a figure at 1 h; the one at 2 h is provisional."""
    shown = details(out, "--version", "1", "--window", "1h")
    assert "1h from 2026-03-01 04:00 to 2026-03-01 05:00, maturity 1h, not final" in shown
    shown = details(out, "--version", "1", "--window", "1h", "--maturity", "2h")
    assert "1h from 2026-03-01 03:00 to 2026-03-01 04:00, maturity 2h 900 of 1,200" in shown
    at_start = ("--version", "1", "--window", "1h", "--from", "2026-03-01T01:00:00Z")
    assert "maturity 2h 900 of 1,200 predictions have a label (75.0 %)" in details(out, *at_start)


def test_a_window_is_shown_with_all_that_is_known(out: Path) -> None:
    losses = [
        LostRows(topic="predictions", from_ms=EpochMs(0), until_ms=EpochMs(60_000), records=20)
    ]
    add(
        out,
        figures(
            6,
            None,
            hours=6,
            metrics={"accuracy": 0.8333, "mcc": None, "delay_p50": 7_200_000.0},
            ci={"accuracy": (0.81, 0.86)},
            bounds={"accuracy": (0.625, 0.875)},
            null_reasons={"mcc": "one class only"},
            strays={"\x1b[31m": 7},
            counts={"corrected": 3},
            completeness=0.9,
            covered_share=0.5,
            losses=losses,
            **MATRIX,
        ),
    )
    # It is shown where it is named: the newest one that data cover is the one before.
    assert starts(out, "--version", "1") == [("1", "6h", "2026-03-01T00:00:00Z")]
    shown = details(out, "--version", "1", "--from", "2026-03-01T06:00:00Z")
    for part in (
        "of the labels that come in the end, 90.0 % are usually known at this maturity",
        "data cover 50.0 % of the window",
        "may lack rows that were lost before they were read: 20 of predictions",
        "counted: corrected 3",
        'in no figure: "\\u001b[31m" 7',
        'of the rows that came true as "yes", 150 of 200 (75.0 %) were predicted so; '
        'of those predicted as "yes", 150 of 250 (60.0 %) were right',
        '"no" 600 (85.7 %) 100 (14.3 %) 700',
        '"yes" 50 (25.0 %) 150 (75.0 %) 200',
        "right of predicted 600 of 650 (92.3 %) 150 of 250 (60.0 %) 750 of 900 (83.3 %)",
        "accuracy 0.833 0.810 to 0.860 0.625 to 0.875",
        "mcc one class only - -",
        "delay_p50 2 hours - -",
        "bounds: the values if all missing labels were wrong, and if all were right",
    ):
        assert part in shown, part


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (MATRIX | {"positive_label": None}, "750 of 900 (83.3 %) predictions were right"),
        (MATRIX | {"matrix": [[9, 0], [0, 0]]}, '"yes", 0 of 0 were predicted so'),
        (
            {"labels": ["a", "b", "c"], "matrix": [[5, 1, 0], [0, 3, 0], [1, 0, 0]]},
            "8 of 10 (80.0 %) predictions were right",
        ),
    ],
)
def test_a_matrix_in_words(more: dict[str, Any], words: str) -> None:
    assert words in matrix_in_words(figures(0, 0.5, **more))


def test_labels_are_shown_as_they_are(out: Path) -> None:
    labels = [">[/bold]", "\x1b[31m"]
    add(out, figures(9, 0.5, hours=6, labels=labels, matrix=[[1, 0], [2, 3]]))
    shown = details(out, "--version", "1")
    assert 'Actual ">[/bold]" "\\u001b[31m" Rows' in shown


def test_traffic_has_predictions_and_no_labels(out: Path) -> None:
    shown = details(out, "--lane", "traffic")
    assert "1,200 predictions Metric" in shown
    assert "latency_p95 250 ms -" in shown


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--window", "3h"), "there is no window 3h; there are 1h, 6h"),
        (("--maturity", "9d"), "there is no maturity 9d; there is 2h"),
        (("--from", "noon"), "--from noon: "),
        (
            ("--window", "1h", "--from", "2026-03-02T00:00:00Z"),
            "no window of 1h starts at 2026-03-02T00:00:00Z; the newest ones start at "
            "2026-03-01 00:00, 2026-03-01 01:00, 2026-03-01 02:00, 2026-03-01 03:00",
        ),
    ],
)
def test_wrong_calls_say_what_there_is(out: Path, options: tuple[str, ...], words: str) -> None:
    assert words in refusal(out, "performance", "details", "--version", "1", *options)


def test_without_figures_it_says_so(out: Path) -> None:
    assert "no complete window in" in details(out, "--model", "other")
    assert starts(out, "--model", "other") == []
