"""What is known about the labels of the models, for the end of a replay and for the log."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Final

from driftline.streams.measure.counts.labels import LabelReport

MOST_NOTES: Final = 20

log = logging.getLogger(__name__)


def label_notes(reports: Sequence[LabelReport]) -> list[str]:
    """Sentences about figures that are withheld and about labels that are in no figure, at most
    MOST_NOTES, and the number of the others.
    """
    notes = [warning for report in reports for warning in report.warnings]
    further = len(notes) - MOST_NOTES
    if further > 0:
        notes[MOST_NOTES:] = [f"{further} more notes about labels; driftline doctor lists them"]
    return notes


def log_labels(reports: Iterable[LabelReport]) -> None:
    """Log the labels of models, with level WARNING where figures are withheld or rows left out
    although the classes are settled.
    """
    for report in reports:
        for warning in report.warnings:
            log.log(logging.INFO if report.is_early else logging.WARNING, "%s", warning)
        if not report.warnings:
            log.info("%s", report.summary)
