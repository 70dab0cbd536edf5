"""Alert rule: too many predictions that ended in an error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final, Literal

from driftline.schemas.results import WindowFigures
from driftline.streams.decide.against_levels import Levels
from driftline.streams.decide.detectors.level_evidence import Trial, raised
from driftline.streams.decide.judgement import Severity, rows_of
from driftline.streams.decide.level_rule import LevelRule
from driftline.streams.decide.rule import Positive

_GREATEST: Final = 0.99


class ErrorRateRule(
    LevelRule,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="error_rate",
):
    """Fires when the share of predictions with status "error" is above a level.

    The evidence of windows is added up: some tens of errors in a row are enough, and so is a rate
    that no single window proves. The budget holds while the rate is at most `clear`; rates between
    `clear` and `warning` lead to an alert seldom.

    Parameters
    ----------
    false_alarms
        Budget: mean number of false alarms a year, over all segments; by default its part of
        `false_alarms_per_year`.
    warning, critical
        The levels.
    clear
        The level at which the alert resolves; 0.8 of `warning` by default.

    Examples
    --------
    >>> ErrorRateRule(warning=0.02).levels().clear
    0.016

    References
    ----------
    E. S. Page (1954), Continuous inspection schemes, Biometrika 41, 100-115. G. Lorden (1971),
    Procedures for reacting to a change in distribution, Annals of Mathematical Statistics 42,
    1897-1908. D. Siegmund (1985), Sequential Analysis, Springer.
    """

    warning: Positive = 0.05
    critical: Positive = 0.15
    clear: Positive | None = None

    beyond: ClassVar[str] = "ended in an error"
    concerns: ClassVar[Literal["behavior", "supply", "service"]] = "service"

    grades: ClassVar[Mapping[Severity, str]] = {"warning": "warning", "critical": "critical"}

    @property
    def _clear(self) -> float:
        return 0.8 * self.warning if self.clear is None else self.clear

    def metric(self) -> str:
        """The error rate."""
        return "error_rate"

    def levels(self) -> Levels:
        """As the parameters say."""
        return Levels(
            (("warning", self.warning), ("critical", self.critical)), below=False, clear=self._clear
        )

    def trial(self, figures: WindowFigures, level: float) -> Trial:
        """The errors of a window."""
        n = rows_of(figures)
        # A recovery is judged by the same two rates as the warning.
        level = min(max(level, self.warning), _GREATEST)
        allowed = level * self._clear / self.warning
        return Trial(n, n * (figures.metrics["error_rate"] or 0.0), allowed, raised(level))
