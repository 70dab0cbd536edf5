"""Alert rule: performance fell, by evidence gathered over time."""

from __future__ import annotations

from collections.abc import Mapping
from math import exp, log
from typing import Any, ClassVar, Self

import msgspec

from driftline.schemas.results import WindowFigures
from driftline.schemas.settings import ModelConfig
from driftline.schemas.times import DAY_MS, format_time, parse_duration
from driftline.streams.decide.detectors import rate_history
from driftline.streams.decide.detectors.rate_history import BASELINE_DAYS, Finding, RateHistory
from driftline.streams.decide.false_alarm_budget import part_of, windows_a_year
from driftline.streams.decide.judgement import (
    Judgement,
    Severity,
    Situation,
    Verdict,
    judgement_of,
)
from driftline.streams.decide.metric_info import Lane
from driftline.streams.decide.rule import (
    InvalidRule,
    Positive,
    SequentialRule,
    tumbling_window_of_a_day,
)
from driftline.streams.decide.wording import about, figure, headline, interval, moment, share

LEAST_BASELINE_DAYS = 7
RECOVERED = 20.0
"""Bayes factor of a rise at which an alert resolves."""


class PerformanceDropRule(
    SequentialRule,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="performance_drop",
):
    """Fires when the share of right predictions of a class, or of all classes, fell for good.

    Reads the arrivals lane, where a label counts on the day on which it is known, and judges at the
    end of each day with labels. Watched are the recalls of all classes (recall and specificity of a
    binary model), since they do not follow the base rate. Each day since the baseline may have been
    the begin of a change: the days before it are the baseline, the days from it on
    are compared with them, with the uncertainty of both and the variance between days
    (`detectors/change_evidence.py`, `detectors/dispersion.py`). The evidence is summed over all
    these days, the Shiryaev-Roberts statistic, which grows by one a day without change; the alert
    fires at 365 / `false_alarms`, times the number of segments that it judges. It resolves when a
    Bayes factor of 20 says that the same share rose again, to within `clear` of the baseline, or
    when the loss since the change is at most `clear`.

    Parameters
    ----------
    false_alarms
        Budget: mean number of false alarms a year, over all classes and segments; by default its
        part of `false_alarms_per_year`.
    baseline
        Days with labels before the first judgement, as a duration of whole days. By default as many
        as the reference of drift has, at least 7 and at most 30.
    warning, critical
        Relative losses since the change. An alert on one class is no more than a warning where the
        other classes gained half of its loss or more: then the threshold has become wrong, and not
        the model.
    clear
        Relative loss at which the alert resolves.

    Notes
    -----
    The metric of an alert is "recall" or "specificity", or "standardized_accuracy": the mean recall
    of all classes, with the same weights before and since the change. Its details have the recalls
    of all classes. `make bench-statistics` measures false alarms and delays.

    A change of the threshold in the registry moves recall and specificity on purpose, so the
    baseline begins anew with it. Where a person accepts an alert, it begins with the change that
    the alert is about.

    Examples
    --------
    >>> rule = PerformanceDropRule().bound(ModelConfig())
    >>> rule.window, rule.baseline
    ('1d', '30d')

    References
    ----------
    M. Pollak (1985), Optimal detection of a change in distribution, Annals of Statistics 13,
    206-227. J. Shin, A. Ramdas, A. Rinaldo (2024), E-detectors: a nonparametric framework for
    sequential change detection, New England Journal of Statistics in Data Science 2, 229-260. D. M.
    Hawkins, P. Qiu, C. W. Kang (2003), The changepoint model for statistical process control,
    Journal of Quality Technology 35, 355-366.
    """

    false_alarms: Positive | None = None
    baseline: str | None = None
    warning: Positive = 0.05
    critical: Positive = 0.10
    clear: Positive = 0.03

    judges_performance: ClassVar[bool] = True
    accepts: ClassVar[bool] = True
    grades: ClassVar[Mapping[Severity, str]] = {"warning": "warning", "critical": "critical"}

    def lane(self) -> Lane:
        """The arrivals lane."""
        return "arrivals"

    def default_window(self, config: ModelConfig) -> str | None:
        """The largest tumbling window that divides a day; None without one."""
        return tumbling_window_of_a_day(config)

    def bound(self, config: ModelConfig) -> Self:
        """As `MetricRule.bound`; checks the baseline, and that the windows do not overlap."""
        rule = super().bound(config)
        if self.baseline is None:
            rule = msgspec.structs.replace(rule, baseline=_default_baseline(config))
        else:
            _check_baseline(self.baseline)
        tumbling = [each.name for each in config.windows if each.size_ms == each.step_ms]
        if rule.window is not None and rule.window not in tumbling:
            raise InvalidRule("window", f'"{rule.window}" is not a tumbling window')
        return rule

    @property
    def baseline_days(self) -> int:
        """Days with labels that the baseline has at least."""
        return BASELINE_DAYS if self.baseline is None else parse_duration(self.baseline) // DAY_MS

    def limit(self, situation: Situation) -> float:
        """The statistic at which the alert fires."""
        part = part_of(self.kind, situation.config, self.false_alarms)
        return windows_a_year(DAY_MS, situation.segments) / part

    def judge_next(
        self, figures: WindowFigures, situation: Situation, history: RateHistory
    ) -> tuple[RateHistory, Judgement | None]:
        """As `SequentialRule.judge_next`: a judgement at the end of each day with labels."""
        start_ms, end_ms = int(figures.window_start_ms), int(figures.window_end_ms)
        if end_ms <= history.end_ms:
            return history, None
        threshold = situation.standing.threshold
        if threshold != history.threshold:
            was_open = history.changed_ms is not None
            history = RateHistory(threshold=threshold)
            if was_open:
                history, _ = rate_history.with_counts(
                    history, start_ms, end_ms, _counts(figures), self.baseline_days
                )
                return history, msgspec.structs.replace(
                    judgement_of(figures, "clear"),
                    finding=f"The performance of {about(figures)} has a new baseline, since the "
                    "threshold changed",
                )
        history, closed = rate_history.with_counts(
            history, start_ms, end_ms, _counts(figures), self.baseline_days
        )
        if not closed or history.before is None:
            return history, None
        limit = self.limit(situation)
        if history.changed_ms is None:
            return self._without_change(figures, history, limit)
        return self._with_change(figures, history, limit)

    def accepted(self, history: RateHistory) -> RateHistory:
        """The history whose baseline begins with the open change."""
        return rate_history.accepted(history)

    def _without_change(
        self, figures: WindowFigures, history: RateHistory, limit: float
    ) -> tuple[RateHistory, Judgement | None]:
        found = rate_history.fall(history, log(limit))
        if found is None or found.fall.loss < self.warning:
            return history, judgement_of(figures, "within")
        changed = rate_history.with_change(history, found)
        return changed, self._judgement(figures, changed, found, "breach", 0, limit)

    def _with_change(
        self, figures: WindowFigures, history: RateHistory, limit: float
    ) -> tuple[RateHistory, Judgement]:
        since = rate_history.fall_since_change(history)
        back = rate_history.recovery(history, since.fall.stream, log(RECOVERED))
        if back is not None and back.fall.loss <= self.clear:
            judged = self._judgement(figures, history, back, "clear", back.block, limit)
            return rate_history.without_change(history, back.block), judged
        if since.fall.loss <= self.clear:
            judged = self._judgement(figures, history, since, "clear", 0, limit)
            return rate_history.without_change(history), judged
        verdict: Verdict = "breach" if since.fall.loss >= self.warning else "within"
        return history, self._judgement(figures, history, since, verdict, 0, limit)

    def _judgement(
        self,
        figures: WindowFigures,
        history: RateHistory,
        found: Finding,
        verdict: Verdict,
        first: int,
        limit: float,
    ) -> Judgement:
        """The judgement of what was found; `first` is the first block since then."""
        size = found.fall
        metric = _metric(figures, history, size.stream)
        name = headline(metric) if metric else f"Recall of {history.labels[size.stream]}"
        details = _details(history, found, first)
        recalls = {
            label: (each["before"], each["since"]) for label, each in details["recalls"].items()
        }
        critical = size.loss >= self.critical and not _traded(recalls, size.stream)
        if verdict != "clear":
            details |= {
                "statistic": exp(min(found.log_statistic, 700.0)),
                "statistic_limit": limit,
            }
        return msgspec.structs.replace(
            judgement_of(figures, verdict),
            severity="critical" if critical else "warning",
            finding=f"{name} of {about(figures)} {_moved(found, back=verdict == 'clear')}"
            + _other(figures, recalls, size.stream),
            metric=metric or "recall",
            value=size.since,
            baseline=size.before,
            threshold=size.before * (1.0 - self.warning),
            comparator="<",
            n=size.n_since,
            ci=size.since_ci,
            details=details,
            began_ms=found.changed_ms if history.changed_ms is None else history.changed_ms,
        )


def _default_baseline(config: ModelConfig) -> str:
    reference = config.reference
    if reference.from_ms is not None and reference.to_ms is not None:
        span_ms = reference.to_ms - reference.from_ms
    else:
        span_ms = reference.span_ms or BASELINE_DAYS * DAY_MS
    return f"{min(max(span_ms // DAY_MS, LEAST_BASELINE_DAYS), BASELINE_DAYS)}d"


def _check_baseline(text: str) -> None:
    try:
        span_ms = parse_duration(text)
    except ValueError as error:
        raise InvalidRule("baseline", str(error)) from error
    if span_ms % DAY_MS or span_ms < LEAST_BASELINE_DAYS * DAY_MS:
        raise InvalidRule(
            "baseline",
            f'"{text}" is not whole days, at least {LEAST_BASELINE_DAYS}, such as "14d"',
        )


def _moved(found: Finding, *, back: bool) -> str:
    """What a rate did, as part of a sentence."""
    size = found.fall
    since = "since" if found.sized_ms == found.changed_ms else f"since {moment(found.sized_ms)}"
    side = "below" if size.loss >= 0 else "above"
    text = (
        f"{'is back' if back else 'fell'} from about {moment(found.changed_ms)} on: "
        f"{figure(size.since)}{interval(size.since_ci)} of {size.n_since:,} rows {since}, "
        f"{share(size.loss)} {side} {figure(size.before)} of {size.n_before:,} rows before"
    )
    if back:
        return text
    least, most = (share(max(loss, 0.0)) for loss in size.loss_ci)
    return f"{text} (the loss is {least} to {most})"


def _traded(recalls: Mapping[str, tuple[float | None, float | None]], stream: int) -> bool:
    """Whether the other classes gained at least half of what the class of a stream lost."""
    falls = [
        0.0 if before is None or since is None else before - since
        for before, since in recalls.values()
    ]
    return stream < len(falls) and sum(falls) < falls[stream] / 2.0


def _other(
    figures: WindowFigures,
    recalls: Mapping[str, tuple[float | None, float | None]],
    stream: int,
) -> str:
    """What the other class of two did, as the end of a sentence."""
    if len(recalls) != 2 or stream == 2:
        return ""
    label = [*recalls][1 - stream]
    before, since = recalls[label]
    if before is None or since is None:
        return ""
    name = f"recall of {label}"
    if figures.positive_label is not None:
        name = "recall" if label == figures.positive_label else "specificity"
    if since == before:
        return f"; {name} is {figure(since)} as before"
    moved = "rose" if since > before else "fell"
    return f"; {name} {moved} from {figure(before)} to {figure(since)}"


def _details(history: RateHistory, found: Finding, first: int) -> dict[str, Any]:
    size, changed_ms = found.fall, history.changed_ms
    recalls = {
        label: {
            "before": _share(right_before, n_before),
            "since": _share(right_since, n_since),
            "n_before": n_before,
            "n_since": n_since,
        }
        for label, (n_before, right_before, n_since, right_since) in rate_history.rates(
            history, first
        ).items()
    }
    return {
        "changed_at": format_time(found.changed_ms if changed_ms is None else changed_ms),
        "sized_from": format_time(found.sized_ms),
        "relative_change": -size.loss,
        "relative_change_ci": [-size.loss_ci[1], -size.loss_ci[0]],
        "recalls": recalls,
        "variance_inflation": float(found.by.factors[size.stream]),
    }


def _counts(figures: WindowFigures) -> list[tuple[str, int, int]]:
    return [
        (label, sum(row), row[number])
        for number, (label, row) in enumerate(zip(figures.labels, figures.matrix, strict=True))
    ]


def _metric(figures: WindowFigures, history: RateHistory, stream: int) -> str | None:
    """Name of the watched rate; None for a recall of one of many classes."""
    if stream == len(history.labels):
        return "standardized_accuracy"
    if figures.positive_label is None or len(figures.labels) != 2:
        return None
    return "recall" if history.labels[stream] == figures.positive_label else "specificity"


def _share(right: int, n: int) -> float | None:
    return right / n if n else None
