"""Alert rule: HDDM_A, a detector of changes in single outcomes."""

from __future__ import annotations

from typing import ClassVar

from driftline.streams.decide.outcome_rule import OutcomeRule, Share


class HddmARule(
    OutcomeRule,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="hddm_a",
):
    """Fires when HDDM_A finds that the error rate rose: the mean of all outcomes is above that of
    the first ones by more than Hoeffding's bound.

    Parameters
    ----------
    drift_confidence
        Probability that the bound allows.
    two_sided_test
        Whether falls are found too.

    Notes
    -----
    With 200 outcomes a day and an error rate of 0.2 there were 0.45 false alarms a year (100
    model-years), and a rise to 0.3 was found in all of 100 models, after 600 outcomes in the
    median and 1,200 at the 90 % quantile (`python -m tests.bench.river_detectors`). Recommended
    is `drift_confidence` 1e-5: none in 100 years, so fewer than 0.03 a year; 800 and 1,400
    outcomes, all of 100 found.

    Examples
    --------
    >>> HddmARule(drift_confidence=1e-5).parameters
    {'drift_confidence': 1e-05, 'two_sided_test': False}

    References
    ----------
    I. Frías-Blanco, J. del Campo-Ávila, G. Ramos-Jiménez, R. Morales-Bueno, A. Ortiz-Díaz, Y.
    Caballero-Mota (2015), Online and non-parametric drift detection methods based on Hoeffding's
    bounds, IEEE Transactions on Knowledge and Data Engineering 27, 810-823.
    """

    drift_confidence: Share = 0.001
    two_sided_test: bool = False

    title: ClassVar[str] = "HDDM_A"
    river_class: ClassVar[str] = "HDDMA"
