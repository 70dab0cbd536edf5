"""Alert rule: DDM, a detector of changes in single outcomes."""

from __future__ import annotations

from typing import ClassVar

from driftline.streams.decide.outcome_rule import AtLeastOne, OutcomeRule
from driftline.streams.decide.rule import Positive


class DdmRule(
    OutcomeRule,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="ddm",
):
    """Fires when DDM finds that the error rate rose: it is so many standard deviations above its
    least value since the detector began.

    Parameters
    ----------
    warm_start
        Outcomes before the first test.
    drift_threshold
        Number of standard deviations.

    Notes
    -----
    With 200 outcomes a day and an error rate of 0.2 there were 0.34 false alarms a year (100
    model-years), and a rise to 0.3 was found within a year in 81 of 100 models, after 2,000
    outcomes in the median (`python -m tests.bench.river_detectors`). Recommended are
    `warm_start` 500, `drift_threshold` 3.5 and `memory` 5000: 0.28 a year, 98 of 100 found, 800
    outcomes in the median and 1,400 at the 90 % quantile.

    Examples
    --------
    >>> DdmRule(warm_start=500).parameters
    {'warm_start': 500, 'drift_threshold': 3.0}

    References
    ----------
    J. Gama, P. Medas, G. Castillo, P. Rodrigues (2004), Learning with drift detection, SBIA,
    286-295.
    """

    warm_start: AtLeastOne = 30
    drift_threshold: Positive = 3.0

    title: ClassVar[str] = "DDM"
    river_class: ClassVar[str] = "DDM"
