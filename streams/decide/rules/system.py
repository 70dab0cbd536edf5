"""Alert rule: a worker or its machine is short of something."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final, Literal, NamedTuple, Self

import msgspec

from driftline.schemas.reports import WorkerMetrics
from driftline.schemas.settings import ModelConfig
from driftline.schemas.times import parse_time
from driftline.streams.decide.judgement import Judgement, Measurement, Severity, Situation
from driftline.streams.decide.report_rule import ReportRule
from driftline.streams.decide.rule import InvalidRule, Positive, Reads
from driftline.streams.decide.wording import figure

Figure = Literal["cpu", "process_cpu", "memory", "rss", "disk", "network", "lag", "restarts"]

_CLEAR: Final = 0.95
"""By default an alert resolves at this part of the lowest level."""


class _Words(NamedTuple):
    """How a figure is told: {} is its value, {who} the worker."""

    text: str
    is_share: bool = False


_WORDS: Final[dict[Figure, _Words]] = {
    "cpu": _Words("{} of the processors of the machine of {who} were busy", is_share=True),
    "process_cpu": _Words("{who} used {} processors"),
    "memory": _Words("{} of the memory of the machine of {who} is in use", is_share=True),
    "rss": _Words("{who} holds {} bytes of memory"),
    "disk": _Words("{} of the disk with the state of {who} is in use", is_share=True),
    "network": _Words("{} bytes a second go through the networks of the machine of {who}"),
    "lag": _Words("{who} has not taken {} records of its inputs"),
    "restarts": _Words("{who} was started again {} times"),
}


class SystemRule(
    ReportRule,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="system",
):
    """Fires while a figure of `worker-metrics` is at or above a level for some time.

    A worker that does not report for three of its intervals begins anew. The alert of one that has
    not reported for an hour resolves.

    Parameters
    ----------
    metric
        "cpu", "memory" and "disk" (shares of the machine's); "process_cpu" (processors), "rss"
        (bytes) and "restarts" of the worker; "network" (bytes a second, sent and received); "lag"
        (records).
    warning, error, critical
        Levels by severity; at least one.
    clear
        Value at which the alert resolves; by default 0.95 of the lowest level.

    Examples
    --------
    >>> rule = SystemRule(metric="disk", warning=0.90, critical=0.95)
    >>> rule.segment, round(rule.clears_at, 3)
    ('worker=*', 0.855)
    """

    metric: Figure
    segment: str = "worker=*"
    for_: int | str = msgspec.field(default="5m", name="for")
    warning: Positive | None = None
    error: Positive | None = None
    critical: Positive | None = None
    clear: Positive | None = None

    reads: ClassVar[Reads] = "workers"
    concerns: ClassVar[Literal["behavior", "supply", "service", "alerts"]] = "service"
    grades: ClassVar[Mapping[Severity, str]] = {
        "warning": "warning",
        "error": "error",
        "critical": "critical",
    }

    @property
    def levels(self) -> dict[Severity, float]:
        """The levels, the lowest first."""
        levels = {severity: getattr(self, field) for severity, field in self.grades.items()}
        return {severity: level for severity, level in levels.items() if level is not None}

    @property
    def clears_at(self) -> float:
        """`clear`, or its default."""
        return _CLEAR * min(self.levels.values()) if self.clear is None else self.clear

    def bound(self, config: ModelConfig) -> Self:
        """As `ReportRule.bound`; checks the levels."""
        levels = self.levels
        if not levels:
            raise InvalidRule("warning", "a level is needed: warning, error or critical")
        for severity, level in levels.items():
            if _WORDS[self.metric].is_share and level > 1:
                raise InvalidRule(
                    severity,
                    f'{level} lies outside [0, 1]; "{self.metric}" is a share, not a percentage',
                )
        return super().bound(config)

    def judge(self, measurement: Measurement, situation: Situation) -> Judgement:
        """Judge one record; "unclear" without the figure."""
        if not isinstance(measurement, WorkerMetrics):
            raise TypeError(f"{self.kind}: reads workers, got {type(measurement).__name__}")
        at_ms, value = parse_time(measurement.timestamp), value_of(measurement, self.metric)
        judged = Judgement(
            verdict="unclear",
            window_start_ms=at_ms,
            window_end_ms=at_ms,
            at_ms=at_ms,
            metric=self.metric,
            value=value,
            comparator=">=",
            details={"host": measurement.host},
        )
        if value is None:
            return judged
        levels = self.levels
        reached = [severity for severity, level in levels.items() if value >= level]
        severity = reached[-1] if reached else next(iter(levels))
        is_back = value <= self.clears_at
        side = "at or above" if reached else "below"
        return msgspec.structs.replace(
            judged,
            verdict="breach" if reached else "clear" if is_back else "within",
            severity=severity,
            threshold=levels[severity],
            finding=f"{self._clause(value, measurement)}, {side} {self._figure(levels[severity])}",
        )

    def _clause(self, value: float, metrics: WorkerMetrics) -> str:
        who = f"worker {metrics.worker} on {metrics.host}"
        text = _WORDS[self.metric].text.format(self._figure(value), who=who)
        return text[0].upper() + text[1:]

    def _figure(self, value: float) -> str:
        if _WORDS[self.metric].is_share:
            return f"{figure(100 * value)} %"
        return figure(value)


def value_of(metrics: WorkerMetrics, name: Figure) -> float | None:
    """A figure of a record; None without it.

    Examples
    --------
    >>> metrics = WorkerMetrics(worker="w1", timestamp="", host="h", interval_s=60, disk_share=0.5)
    >>> value_of(metrics, "disk"), value_of(metrics, "network")
    (0.5, None)
    """
    if name == "network":
        rates = [metrics.sent_bytes_s, metrics.received_bytes_s]
        known = [rate for rate in rates if rate is not None]
        return sum(known) if known else None
    values: dict[Figure, float | None] = {
        "cpu": metrics.cpu_share,
        "process_cpu": metrics.process_cpu,
        "memory": metrics.memory_share,
        "rss": metrics.rss_bytes,
        "disk": metrics.disk_share,
        "lag": metrics.lag_records,
        "restarts": metrics.restarts,
    }
    return values[name]
