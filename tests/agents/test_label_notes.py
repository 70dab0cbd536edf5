"""Notes about labels in the log and at the end of a replay."""

from __future__ import annotations

import logging

import pytest

from driftline.agents.label_notes import MOST_NOTES, label_notes, log_labels
from driftline.streams.measure.counts.labels import LabelReport


def report(model: str, *, positive: str | None = None, is_early: bool = False) -> LabelReport:
    basis = None if positive is None else "configured"
    return LabelReport(model, ("bad", "good"), (), positive, basis, None, is_early)


def test_what_is_withheld_is_logged_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "driftline"):
        log_labels([report("a"), report("b", is_early=True), report("c", positive="bad")])
    lines = [(line.levelname, line.getMessage()) for line in caplog.records]
    assert [level for level, _ in lines] == ["WARNING", "INFO"]
    assert [text.partition(":")[0] for _, text in lines] == ["a", "b"]
    assert all("set positive_label" in text for _, text in lines)


def test_notes_of_very_many_models_are_counted() -> None:
    notes = label_notes([report(f"m{number}") for number in range(MOST_NOTES + 5)])
    assert len(notes) == MOST_NOTES + 1
    assert notes[-1] == "5 more notes about labels; driftline doctor lists them"
