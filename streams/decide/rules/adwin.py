"""Alert rule: ADWIN, a detector of changes in single outcomes."""

from __future__ import annotations

from typing import ClassVar

from driftline.streams.decide.outcome_rule import AtLeastOne, OutcomeRule, Share


class AdwinRule(
    OutcomeRule,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="adwin",
):
    """Fires when ADWIN finds that the error rate changed, either way: two parts of its window have
    other means than one process would give.

    Parameters
    ----------
    delta
        Significance of a difference.
    clock
        Outcomes from one check to the next one.
    max_buckets
        Buckets of each size in which the window is kept.
    min_window_length
        Least number of outcomes of a part.
    grace_period
        Outcomes before the first check.

    Notes
    -----
    With 200 outcomes a day and an error rate of 0.2 there was no alert in 100 model-years, so
    fewer than 0.03 a year. A rise to 0.3 was found in all of 100 models, after 600 outcomes in
    the median and 800 at the 90 % quantile (`python -m tests.bench.river_detectors`). So
    river's parameters are the recommended ones.

    Examples
    --------
    >>> AdwinRule(delta=0.0001).parameters
    {'delta': 0.0001, 'clock': 32, 'max_buckets': 5, 'min_window_length': 5, 'grace_period': 10}

    References
    ----------
    A. Bifet, R. Gavaldà (2007), Learning from time-changing data with adaptive windowing, SIAM
    International Conference on Data Mining, 443-448.
    """

    delta: Share = 0.002
    clock: AtLeastOne = 32
    max_buckets: AtLeastOne = 5
    min_window_length: AtLeastOne = 5
    grace_period: AtLeastOne = 10

    title: ClassVar[str] = "ADWIN"
    river_class: ClassVar[str] = "ADWIN"
