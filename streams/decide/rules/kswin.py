"""Alert rule: KSWIN, a detector of changes in single outcomes."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

import msgspec

from driftline.schemas.settings import ModelConfig
from driftline.streams.decide.outcome_rule import AtLeastOne, OutcomeRule, Share
from driftline.streams.decide.rule import InvalidRule


class KswinRule(
    OutcomeRule,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="kswin",
):
    """Fires when KSWIN finds that the error rate changed, either way: the newest outcomes differ in
    a Kolmogorov-Smirnov test from as many drawn at random from those before them.

    A test is made with each outcome, and takes about 1 ms.

    Parameters
    ----------
    alpha
        Significance of a difference.
    window_size
        Outcomes that the detector keeps.
    stat_size
        Newest outcomes that are compared, at most half of the window.
    seed
        Of the draws.
    memory
        As in `OutcomeRule`, at least twice `window_size`; little of it is needed, since the
        detector reads no more than its window.

    Notes
    -----
    With 200 outcomes a day and an error rate of 0.2 there was 1 false alarm a year (5
    model-years only, since it is slow), and a rise to 0.3 was found after 5,800 outcomes in the
    median, in all of 5 models (`python -m tests.bench.river_detectors`). A window of 400
    outcomes with `stat_size` 100 and `alpha` 0.0001 found none of 8. Another detector is
    recommended: the test of Kolmogorov and Smirnov is conservative for zeros and ones.

    Examples
    --------
    >>> KswinRule(alpha=1e-5).parameters
    {'alpha': 1e-05, 'window_size': 100, 'stat_size': 30, 'seed': 0}

    References
    ----------
    C. Raab, M. Heusinger, F.-M. Schleif (2020), Reactive soft prototype computing for concept drift
    streams, Neurocomputing 416, 340-351.
    """

    alpha: Share = 0.005
    window_size: AtLeastOne = 100
    stat_size: AtLeastOne = 30
    seed: int = 0
    memory: Annotated[int, msgspec.Meta(ge=100, le=1_000_000)] = 1_000

    title: ClassVar[str] = "KSWIN"
    river_class: ClassVar[str] = "KSWIN"

    def bound(self, config: ModelConfig) -> Self:
        """As `OutcomeRule.bound`; checks the sizes."""
        if self.window_size < 2 * self.stat_size:
            raise InvalidRule(
                "window_size", f"{self.window_size} is less than twice stat_size, {self.stat_size}"
            )
        if self.memory < 2 * self.window_size:
            raise InvalidRule(
                "memory", f"{self.memory} is less than twice window_size, {self.window_size}"
            )
        return super().bound(config)
