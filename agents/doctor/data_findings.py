"""Findings about data that `doctor` has of results and `check` of a log: truths and labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from driftline.agents.input_rules import see, with_rules
from driftline.schemas.check_result import CheckResult
from driftline.streams.label_vocabulary import quoted

LOW_COVERAGE: Final = 0.5


def labelled_predictions(name: str, predictions: int, labelled: int) -> Iterator[CheckResult]:
    """Whether the predictions of a model version got truths."""
    if not labelled:
        yield CheckResult(
            check="data",
            level="problem",
            message=f"{name}: no prediction has a truth",
            remedy=with_rules(
                "compare the prediction ids in both files, and label_horizon with the delay",
                "Ids and names",
            ),
        )
    elif labelled < LOW_COVERAGE * predictions:
        yield CheckResult(
            check="data",
            level="note",
            message=f"{name}: only {labelled / predictions:.0%} of the predictions got a truth "
            "within the label horizon",
            remedy="read figures with their bounds; lengthen label_horizon if truths arrive later",
        )


def known_labels(
    name: str,
    labels: Sequence[str],
    positive: str | None,
    basis: str | None,
    problem: str | None,
) -> Iterator[CheckResult]:
    """Whether figures that need labels are given, and how the positive one is known.

    Parameters
    ----------
    labels
        The classes.
    positive, basis
        The positive label, and how it is known; None if it is not.
    problem
        Why figures that need labels are withheld.
    """
    if problem is not None:
        yield CheckResult(
            check="labels",
            level="problem",
            message=f"{name}: figures that need labels are withheld: {problem}",
            remedy=see("Labels"),
        )
    elif len(labels) == 2 and positive is None:
        yield CheckResult(
            check="labels",
            level="problem",
            message=f"{name}: which of {quoted(labels[0])} and {quoted(labels[1])} is positive is "
            "not known; F1, precision, recall and figures of scores are withheld",
            remedy=with_rules("set positive_label", "Labels"),
        )
    elif positive is not None and len(labels) == 2:
        yield CheckResult(
            check="labels",
            level="ok",
            message=f"{name}: the positive label is {quoted(positive)} ({basis})",
        )


def stray_labels(name: str, listed: str) -> CheckResult:
    """Labels whose rows are in no figure."""
    return CheckResult(
        check="labels",
        level="note",
        message=f"{name}: in no figure because their label is none of the model's: {listed}",
        remedy=with_rules("set labels to make it one of them, or correct the events", "Labels"),
    )
