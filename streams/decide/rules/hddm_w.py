"""Alert rule: HDDM_W, a detector of changes in single outcomes."""

from __future__ import annotations

from typing import ClassVar

from driftline.streams.decide.outcome_rule import OutcomeRule, Share


class HddmWRule(
    OutcomeRule,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="hddm_w",
):
    """Fires when HDDM_W finds that the error rate rose: the weighted mean of the newest outcomes is
    above that of those before them by more than McDiarmid's bound.

    Parameters
    ----------
    drift_confidence
        Probability that the bound allows.
    lambda_val
        Weight of the newest outcome.
    two_sided_test
        Whether falls are found too.

    Notes
    -----
    With 200 outcomes a day and an error rate of 0.2 there were 5.1 false alarms a year (100
    model-years), and a rise to 0.3 was found in all of 100 models, after 200 outcomes in the
    median and 800 at the 90 % quantile (`python -m tests.bench.river_detectors`). Recommended
    are `drift_confidence` 1e-5 and `lambda_val` 0.01: none in 100 years, so fewer than 0.03 a
    year; 800 and 2,200 outcomes, all of 100 found.

    Examples
    --------
    >>> HddmWRule(lambda_val=0.01).parameters
    {'drift_confidence': 0.001, 'lambda_val': 0.01, 'two_sided_test': False}

    References
    ----------
    I. Frías-Blanco, J. del Campo-Ávila, G. Ramos-Jiménez, R. Morales-Bueno, A. Ortiz-Díaz, Y.
    Caballero-Mota (2015), Online and non-parametric drift detection methods based on Hoeffding's
    bounds, IEEE Transactions on Knowledge and Data Engineering 27, 810-823.
    """

    drift_confidence: Share = 0.001
    lambda_val: Share = 0.05
    two_sided_test: bool = False

    title: ClassVar[str] = "HDDM_W"
    river_class: ClassVar[str] = "HDDMW"
