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
    NOTES_adwin

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
