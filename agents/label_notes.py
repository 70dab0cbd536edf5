"""What is known about the labels of the models, for the end of a replay and for the log."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from driftline.agents.input_rules import with_rules
from driftline.streams.measure.counts.labels import LabelReport

MOST_NOTES: Final = 20

log = logging.getLogger(__name__)


def label_notes(reports: Sequence[LabelReport]) -> list[str]:
    """Sentences about figures that are withheld and about labels that are in no figure, at most
    MOST_NOTES, and the number of the others.
    """
    return _limited([with_rules(each, "Labels") for report in reports for each in report.warnings])


def log_labels(reports: Sequence[LabelReport]) -> None:
    """Log what is withheld or left out, with level WARNING where the classes are settled, else
    INFO; at most MOST_NOTES lines of each level.
    """
    for level, is_early in ((logging.WARNING, False), (logging.INFO, True)):
        warnings = [
            with_rules(warning, "Labels")
            for report in reports
            if report.is_early == is_early
            for warning in report.warnings
        ]
        for line in _limited(warnings):
            log.log(level, "%s", line)


def _limited(notes: list[str]) -> list[str]:
    further = len(notes) - MOST_NOTES
    if further > 0:
        notes[MOST_NOTES:] = [f"{further} more notes about labels; driftline doctor lists them"]
    return notes
