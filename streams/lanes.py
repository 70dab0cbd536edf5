"""Lanes, measures and counters, with the codes they have between stages 1 and 2.

A lane is a set of event-time panes; a measure is a kind of count inside a pane. Every count is an
integer and merges by addition. `driftline.streams.join` fills them, `driftline.streams.measure`
adds them up.
"""

from __future__ import annotations

from typing import Final

# Lanes: by prediction time; by prediction time and maturity; by the time from which the truth
# counts as known.
TRAFFIC: Final = 0
DECISIONS: Final = 1
ARRIVALS: Final = 2
LANE_NAMES: Final = ("traffic", "decisions", "arrivals")

# Measures. `a` and `b` are the two indexes of a count inside its measure. Packed keys of both
# stages have 4 bits for the measure, so the largest code is 15.
COUNT: Final = 0  # b: index into COUNTERS
CELLS: Final = 1  # a: actual label, b: predicted label
SCORES_FIT: Final = 2  # a: actual label, b: score bin; ids whose hash is even
SCORES_HOLDOUT: Final = 3  # a: actual label, b: score bin; ids whose hash is odd
SCORE_SUM: Final = 4  # a: actual label; the count is the sum of scores in SUM_UNITS
SCORE_SQUARES: Final = 5  # a: actual label; the sum of squared scores in SUM_UNITS
DELAY: Final = 6  # b: log-linear bin of the delay in milliseconds
LATENCY: Final = 7  # b: log-linear bin of the latency in microseconds
PREDICTED_SCORES: Final = 8  # a: predicted label, b: score bin
PREDICTED: Final = 9  # a: predicted label, of rows without a score

LABEL_MEASURES: Final = (
    CELLS,
    SCORES_FIT,
    SCORES_HOLDOUT,
    SCORE_SUM,
    SCORE_SQUARES,
    PREDICTED_SCORES,
    PREDICTED,
)
"""Measures whose `a` is the code of a label; `b` of CELLS is one too."""

COUNTERS: Final = (
    "predictions",  # traffic: in time; decisions: all accepted, at the rung of their lateness
    "errors",  # traffic: status "error"
    "late_predictions",  # arrivals: behind the watermark by more than the grace
    "dropped_predictions",  # arrivals: so late that their entry may have expired; no other count
    "joined",  # decisions: predictions whose first truth is known at this rung
    "corrected",  # decisions: the label in force changed to another
    "retracted",  # decisions: the label in force was taken back
    "late_truths",  # arrivals: further ones, after the label horizon or the correction horizon
    "duplicate_predictions",  # arrivals
    "conflicting_predictions",  # arrivals
    "duplicate_truths",  # arrivals
    "expired",  # arrivals: no truth within the horizon
    "unmatched",  # arrivals: truths that met no prediction within `park`; of no model
)
COUNTER_CODES: Final = {name: code for code, name in enumerate(COUNTERS)}

# Codes of labels. A predicted label that follows from a score gets its text in stage 2, once labels
# have been seen.
OTHER_LABEL: Final = 65_532  # a label beyond the limits of stage 1
NO_LABEL: Final = 65_533
PREDICTED_POSITIVE: Final = 65_534
PREDICTED_NEGATIVE: Final = 65_535

ALL: Final = "all"  # the segment of every row
NO_MODEL: Final = ""  # key of counts that belong to no model: truths without a prediction
