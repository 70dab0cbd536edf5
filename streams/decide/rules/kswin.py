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

    A test is made with each outcome, and takes 1 to 2 ms. Differences of up to 0.1 between the two
    error rates are none to KSWIN, however significant.

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
    With 200 outcomes a day and an error rate of 0.2 there were 0.61 false alarms a year (100
    model-years), and a rise to 0.3 was "found" after 7,600 outcomes in the median, 33,000 at the
    90 % quantile: the rise has left the window after 100, so nearly all of these are chance
    (`python -m tests.bench.river_detectors`). A smaller `alpha` is no help: of 40 rises, 0.005
    divided by the 73,000 tests of a year found none. Recommended are `window_size` 3000,
    `stat_size` 800 and `memory` 6000: 0.03 a year, 99 of 100 found, after 800 outcomes in the
    median and at the 90 % quantile. ADWIN does better, in a thousandth of the time.

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
