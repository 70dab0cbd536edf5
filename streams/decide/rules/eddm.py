"""Alert rule: EDDM, a detector of changes in single outcomes."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

from driftline.streams.decide.outcome_rule import AtLeastOne, OutcomeRule


class EddmRule(
    OutcomeRule,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="eddm",
):
    """Fires when EDDM finds that errors follow each other faster: mean plus two standard deviations
    of the distance between errors fell below a part of its greatest value.

    Parameters
    ----------
    warm_start
        Errors before the first test.
    beta
        The part.

    Notes
    -----
    With 200 outcomes a day and an error rate of 0.2 there were 49 detections a year, mostly in
    one alert that does not resolve, 2.4 alerts a year (100 model-years); a rise to 0.3 was
    "found" after 1,400 outcomes in the median (`python -m tests.bench.river_detectors`). With
    `warm_start` 500, `beta` 0.8 and `memory` 10000 there were 0.30 a year, and 63 of 100 rises
    found within a year, after 3,600 outcomes in the median. Another detector is recommended.

    Examples
    --------
    >>> EddmRule(beta=0.8).parameters
    {'warm_start': 30, 'beta': 0.8}

    References
    ----------
    M. Baena-García, J. del Campo-Ávila, R. Fidalgo, A. Bifet, R. Gavaldà, R. Morales-Bueno (2006),
    Early drift detection method, Fourth International Workshop on Knowledge Discovery from Data
    Streams.
    """

    warm_start: AtLeastOne = 30
    # river refuses more than its level for warnings, 0.95.
    beta: Annotated[float, msgspec.Meta(gt=0.0, le=0.95)] = 0.9

    title: ClassVar[str] = "EDDM"
    river_class: ClassVar[str] = "EDDM"
