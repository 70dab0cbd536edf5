"""Alert rule: Page-Hinkley, a detector of changes in single outcomes."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import msgspec

from driftline.streams.decide.outcome_rule import AtLeastOne, OutcomeRule
from driftline.streams.decide.rule import Positive


class PageHinkleyRule(
    OutcomeRule,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="page_hinkley",
):
    """Fires when the Page-Hinkley test finds that the error rate changed: the sum of the deviations
    from the mean so far moved too far from its extreme.

    Parameters
    ----------
    min_instances
        Outcomes before the first test.
    delta
        Deviation from the mean that is tolerated.
    threshold
        Distance of the sum from its extreme at which a change is found.
    alpha
        Factor by which earlier deviations count less with each outcome.
    mode
        "up" finds rises of the error rate, "down" falls, "both" either.

    Notes
    -----
    With 200 outcomes a day and an error rate of 0.2 there were 3.6 false alarms a year (100
    model-years), and a rise to 0.3 was found after 400 outcomes in the median, 600 at the 90 %
    quantile (`python -m tests.bench.river_detectors`). Recommended are `min_instances` 1000,
    `delta` 0.03, `threshold` 50 and `mode` "up": 0.23 a year, 600 and 800 outcomes, all of 100
    found.

    Examples
    --------
    >>> PageHinkleyRule(mode="up").parameters
    {'min_instances': 30, 'delta': 0.005, 'threshold': 50.0, 'alpha': 0.9999, 'mode': 'up'}

    References
    ----------
    E. S. Page (1954), Continuous inspection schemes, Biometrika 41, 100-115.
    """

    min_instances: AtLeastOne = 30
    delta: Annotated[float, msgspec.Meta(ge=0.0, lt=1.0)] = 0.005
    threshold: Positive = 50.0
    alpha: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 1 - 0.0001
    mode: Literal["up", "down", "both"] = "both"

    title: ClassVar[str] = "Page-Hinkley"
    river_class: ClassVar[str] = "PageHinkley"
