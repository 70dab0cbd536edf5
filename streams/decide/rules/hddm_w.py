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
    NOTES_hddm_w

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
