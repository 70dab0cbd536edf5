"""Wording of the summaries of alerts and recommendations."""

from __future__ import annotations

from collections.abc import Sequence

from driftline.schemas.results import WindowFigures
from driftline.schemas.times import DAY_MS, HOUR_MS, MINUTE_MS, format_time

_NAMES = {
    "f1": "F1",
    "fnr": "false negative rate",
    "fpr": "false positive rate",
    "mcc": "Matthews correlation",
    "pr_auc": "PR AUC",
    "roc_auc": "ROC AUC",
}
_LISTED = 5
_UNITS = ((DAY_MS, "day"), (HOUR_MS, "hour"), (MINUTE_MS, "minute"))


def metric_name(metric: str) -> str:
    """Name of a metric in a sentence.

    Examples
    --------
    >>> metric_name("roc_auc"), metric_name("balanced_accuracy"), metric_name("latency_p95")
    ('ROC AUC', 'balanced accuracy', 'latency p95')
    """
    return _NAMES.get(metric, metric.replace("_", " "))


def headline(metric: str) -> str:
    """Name of a metric at the beginning of a sentence.

    Examples
    --------
    >>> headline("roc_auc"), headline("balanced_accuracy")
    ('ROC AUC', 'Balanced accuracy')
    """
    name = metric_name(metric)
    return name[:1].upper() + name[1:]


def figure(value: float, unit: str = "share") -> str:
    """A value with as many digits as are significant for a reader.

    Examples
    --------
    >>> figure(0.41234), figure(0.00012), figure(1234.5, "")
    ('0.412', '0.00012', '1,234')
    >>> figure(1250.4, "ms"), figure(1200.0, "1/s")
    ('1,250 ms', '1,200/s')
    """
    if unit == "ms":
        return f"{value:,.0f} ms"
    if unit == "1/s":
        return f"{value:,.3g}/s" if abs(value) < 1000 else f"{value:,.0f}/s"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.2g}" if 0 < abs(value) < 0.001 else f"{value:.3f}".rstrip("0").rstrip(".")


def interval(ci: tuple[float, float] | None, unit: str = "share") -> str:
    """An interval with a space before it; empty for None.

    Examples
    --------
    >>> interval((0.39, 0.43)), interval(None)
    (' [0.39, 0.43]', '')
    """
    return "" if ci is None else f" [{figure(ci[0], unit)}, {figure(ci[1], unit)}]"


def share(value: float) -> str:
    """A relative change in percent, without its sign.

    Examples
    --------
    >>> share(-0.1234), share(0.004)
    ('12 %', '0.4 %')
    """
    percent = abs(value) * 100
    return f"{percent:.0f} %" if percent >= 1 else f"{percent:.1g} %"


def span(start_ms: int, end_ms: int) -> str:
    """A window as part of a sentence.

    Examples
    --------
    >>> span(0, 7 * DAY_MS), span(0, DAY_MS)
    ('the 7 days to 1970-01-08', 'the day to 1970-01-02')
    >>> span(0, HOUR_MS), span(0, 90 * MINUTE_MS)
    ('the hour to 1970-01-01 01:00', 'the 90 minutes to 1970-01-01 01:30')
    """
    size_ms = end_ms - start_ms
    unit_ms, unit = next(
        ((ms, name) for ms, name in _UNITS if size_ms % ms == 0), (1, "millisecond")
    )
    count = size_ms // unit_ms
    return (
        f"the {unit} to {moment(end_ms)}"
        if count == 1
        else f"the {count:,} {unit}s to {moment(end_ms)}"
    )


def moment(ms: int) -> str:
    """A time in UTC to the minute; at midnight the date alone.

    Examples
    --------
    >>> moment(0), moment(HOUR_MS)
    ('1970-01-01', '1970-01-01 01:00')
    """
    text = format_time(ms)
    return text[:10] if ms % DAY_MS == 0 else f"{text[:10]} {text[11:16]}"


def listed(texts: Sequence[str]) -> str:
    """The first five texts, and how many more there are.

    Examples
    --------
    >>> listed(["age severe", "plan mild"]), listed(list("abcdefg"))
    ('age severe, plan mild', 'a, b, c, d, e and 2 more')
    """
    more = f" and {len(texts) - _LISTED} more" if len(texts) > _LISTED else ""
    return ", ".join(texts[:_LISTED]) + more


def subject(model_name: str, model_version: str, segment: str) -> str:
    """Name of a series in a sentence.

    Examples
    --------
    >>> subject("churn", "1.4.2", "all"), subject("churn", "1.4.2", "plan=pro")
    ('churn 1.4.2', 'churn 1.4.2 (plan=pro)')
    """
    return (
        f"{model_name} {model_version}"
        if segment == "all"
        else f"{model_name} {model_version} ({segment})"
    )


def about(figures: WindowFigures) -> str:
    """Name of the series, with the maturity where there is one."""
    who = subject(figures.model_name, figures.model_version, figures.segment)
    return f"{who} at maturity {figures.maturity}" if figures.maturity else who
