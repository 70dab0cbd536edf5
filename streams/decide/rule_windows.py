"""Records of `rule-windows`: which window each rule of a series reads, and which cannot judge."""

from __future__ import annotations

from collections.abc import Mapping

from driftline.schemas.results import RuleWindow, RuleWindows, WindowFigures
from driftline.streams.decide.fitting_window import FittingWindow, RowCounts
from driftline.streams.decide.rule import MetricRule, Rule


def rule_windows_of(
    figures: WindowFigures, rules: Mapping[str, Rule], fits: Mapping[str, FittingWindow]
) -> RuleWindows:
    """The windows of all rules of the series of a record, at the time of it.

    Parameters
    ----------
    rules, fits
        By name of the rule.
    """
    return RuleWindows(
        model_name=figures.model_name,
        model_version=figures.model_version,
        segment=figures.segment,
        at_ms=figures.complete_at_ms,
        rules={
            name: _rule_window(rule, fits[name])
            for name, rule in rules.items()
            if name in fits and isinstance(rule, MetricRule)
        },
    )


def _rule_window(rule: MetricRule, fit: FittingWindow) -> RuleWindow:
    counts = fit.counts.get(fit.window, RowCounts())
    reason = None
    if fit.judges is False:
        rows = "predictions" if rule.lane() == "traffic" else "rows"
        reason = (
            f"needs {rule.min_samples:,} {rows}: {counts.all_enough} of "
            f"{counts.all_windows} windows of {fit.window} have as many"
        )
    return RuleWindow(
        window=fit.window,
        min_samples=rule.min_samples,
        judges=fit.judges,
        n_windows=counts.all_windows,
        n_enough=counts.all_enough,
        reason=reason,
    )
