"""The summary of a run as text.

Every figure comes from `summary.py`; the sentences assume no particular model or data.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path

from driftline.agents.demo.summary import Period, RuleSummary, RungSummary, Summary
from driftline.streams.decide.wording import metric_name

STRONG_CORRELATION = 0.6  # from here on the text mentions it
MISLEADING = 0.5  # share of misleading days above which the text names a rung as misleading
RELIABLE = 0.05  # share of misleading days up to which it calls a rung reliable


def summary_lines(summary: Summary) -> Iterator[str]:
    """The summary, line by line; sentences are not wrapped."""
    yield from _heading(f"What happened to {summary.model_name} {summary.model_version}")
    yield from _overview(summary)
    yield from _table_of_periods(summary)
    yield from _extremes(summary)
    yield from _heading("What the early figures got wrong")
    yield from _early_figures(summary)
    yield from _heading("Alerts")
    yield from _alerts(summary)
    yield from _heading("Drift")
    yield from _drift(summary)
    yield from _heading("Threshold")
    yield from _recommendations(summary)
    yield from _heading("Output")
    yield from _output(summary)


def wrap_line(line: str, width: int) -> str:
    """Wrap a sentence to the width, indented like its beginning; tables and commands stay as they
    are.

    Examples
    --------
    >>> print(wrap_line("  F1 was 0.5 in May, by far the best", 20))
      F1 was 0.5 in May,
      by far the best
    >>> wrap_line("  driftline alerts list --all --out there", 20)
    '  driftline alerts list --all --out there'
    """
    text = line.lstrip(" ")
    indent = line[: len(line) - len(text)]
    if "  " in text or text.startswith("driftline "):
        return line
    return textwrap.fill(
        text,
        max(width, 20),
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _heading(text: str) -> Iterator[str]:
    yield ""
    yield text
    yield "-" * len(text)


def _overview(summary: Summary) -> Iterator[str]:
    spans = [summary.before, summary.production] if summary.before else [summary.production]
    predictions = sum(span.predictions for span in spans)
    labelled = sum(span.labelled for span in spans)
    yield (
        f"{predictions:,} predictions from {summary.first_day} to {summary.last_day}; "
        f"the truth arrived for {share(labelled / predictions if predictions else None)} of them."
    )
    label = f'"{summary.positive_label}"' if summary.positive_label else "positive"
    if summary.before and summary.in_production_since:
        day = summary.in_production_since[:10]
        yield f"Before its promotion on {day}: {_figures(summary.before, label)}."
        yield f"In production since then: {_figures(summary.production, label)}."
    else:
        yield f"Over the whole run: {_figures(summary.production, label)}."
    if summary.rejected_rows:
        counts = [f"{count:,} of {topic}" for topic, count in summary.rejected_rows.items()]
        yield f"Rejected rows: {', '.join(counts)}."


def _figures(period: Period, positive_label: str) -> str:
    return (
        f"F1 {figure(period.f1)}, precision {figure(period.precision)}, "
        f"recall {figure(period.recall)}, ROC AUC {figure(period.roc_auc)}, "
        f"{share(period.positive_share)} {positive_label}"
    )


def _table_of_periods(summary: Summary) -> Iterator[str]:
    yield ""
    yield f"  {'':10}  {'predictions':>11}  {'positive':>8}  {'F1':>6}  {'ROC AUC':>7}"
    highest = max((period.f1 or 0.0 for period in summary.periods), default=0.0) or 1.0
    for period in summary.periods:
        bar = "█" * round(20 * (period.f1 or 0.0) / highest)
        yield (
            f"  {period.name:10}  {period.predictions:11,}  {share(period.positive_share):>8}  "
            f"{figure(period.f1):>6}  {figure(period.roc_auc):>7}  {bar}"
        )
    yield ""


def _extremes(summary: Summary) -> Iterator[str]:
    with_f1 = [period for period in summary.periods if period.f1 is not None]
    if len(with_f1) < 2:
        return
    best = max(with_f1, key=lambda period: period.f1 or 0.0)
    worst = min(with_f1, key=lambda period: period.f1 or 0.0)
    yield (
        f"F1 was highest in {best.name} ({figure(best.f1)}, {share(best.positive_share)} positive) "
        f"and lowest in {worst.name} ({figure(worst.f1)}, {share(worst.positive_share)} positive)."
    )
    by_f1, by_auc = summary.f1_follows_positive_share, summary.auc_follows_positive_share
    if by_f1 is not None and by_auc is not None and by_f1 >= STRONG_CORRELATION > abs(by_auc):
        yield (
            f"From day to day, F1 follows the share of positives (correlation {by_f1:.2f}), ROC "
            f"AUC much less so ({by_auc:.2f}). A low F1 at a time with few positives does not mean "
            "that the model got worse, so the default rules watch recall and specificity."
        )


def _early_figures(summary: Summary) -> Iterator[str]:
    yield (
        "The same days, counting only the truths known within a time of each prediction. A day is "
        "misleading if its final F1 lies outside the early 95 % interval."
    )
    yield ""
    columns = f"{'coverage':>8}  {'positive':>8}  {'F1':>6}  {'error':>7}  misleading days"
    yield f"  {'known within':12}  {columns}"
    for rung in summary.maturities:
        error = "-" if rung.f1_error is None else f"{rung.f1_error:+.3f}"
        yield (
            f"  {rung.rung:12}  {share(rung.coverage):>8}  {share(rung.positive_share):>8}  "
            f"{figure(rung.f1):>6}  {error:>7}  {share(rung.days_misleading):>15}"
        )
    yield ""
    final = summary.maturities[-1]
    misleading = [
        rung for rung in summary.maturities[:-1] if (rung.days_misleading or 0.0) > MISLEADING
    ]
    if misleading:
        yield from _misleading_rung(misleading[-1], final)
    reliable = next(
        (rung for rung in summary.maturities if (rung.days_misleading or 0.0) <= RELIABLE), final
    )
    yield (
        f"Figures are reliable from {reliable.rung} on: coverage {share(reliable.coverage)}, "
        f"F1 {figure(reliable.f1)}."
    )


def _misleading_rung(rung: RungSummary, final: RungSummary) -> Iterator[str]:
    direction = "low" if (rung.f1_error or 0.0) < 0 else "high"
    yield (
        f"At {rung.rung}, F1 is {figure(rung.f1)} instead of the final {figure(final.f1)}. It is "
        f"too {direction}: {share(rung.positive_share)} of the truths known by then are positive, "
        f"compared with {share(final.positive_share)} in the end."
    )
    yield (
        f"On {share(rung.days_misleading)} of the days, the final F1 lies outside the 95 % "
        f"interval at {rung.rung}: the interval does not account for truths that have not arrived."
    )


def _alerts(summary: Summary) -> Iterator[str]:
    after = summary.alerts_after_the_end
    if not summary.alerts:
        yield "No alert fired" + (" during the log." if after else ".")
    for rule in summary.alerts:
        if [*rule.severities] != ["info"]:
            yield from _rule(rule)
    info = [rule for rule in summary.alerts if [*rule.severities] == ["info"]]
    if info:
        count = sum(rule.episodes for rule in info)
        names = ", ".join(sorted({rule.rule for rule in info}))
        yield f"info: {names} fired {times(count)}, for example: {info[0].first_summary}"
    if info and len(info) == len(summary.alerts):
        yield "No alert had a severity above info."
    if after:
        yield f"Fired after the end of the log, while time was advanced: {after}."


def _rule(rule: RuleSummary) -> Iterator[str]:
    firing = f"{rule.still_firing} still firing" if rule.still_firing else "all resolved"
    where = "all rows" if rule.segments == ["all"] else ", ".join(rule.segments)
    severities = [*rule.severities]
    if len(severities) > 1:
        severities = [f"{count} {severity}" for severity, count in rule.severities.items()]
    yield (
        f"{', '.join(severities)}: {rule.rule} fired {times(rule.episodes)} ({where}; {firing}), "
        f"first on {rule.first_at[:10]}:"
    )
    yield f"  {rule.first_summary}"


def _drift(summary: Summary) -> Iterator[str]:
    for target in summary.drift:
        if target.notable:
            strongest = ""
            if target.strongest_effect is not None and target.strongest_at is not None:
                strongest = (
                    f", most in the window to {target.strongest_at[:10]} "
                    f"({target.strongest_method} {figure(target.strongest_effect)})"
                )
            yield (
                f"{target.target} drifted moderately or severely in {target.notable} of "
                f"{target.windows} windows{strongest}."
            )
    stable = [target.target for target in summary.drift if target.windows and not target.notable]
    if stable:
        yield f"No moderate or severe drift: {', '.join(stable)}."
    for target in summary.drift:
        if not target.windows:
            reasons = "; ".join(target.no_verdict) or "no reason recorded"
            yield f"Not tested: {target.target} ({reasons})."
    if not summary.drift:
        yield "Not tested: no window could be compared with a reference."


def _recommendations(summary: Summary) -> Iterator[str]:
    recommended = summary.recommendations
    if not recommended:
        yield "No other threshold was recommended: none gained enough on held-out rows."
        return
    first, last, metric = recommended[0], recommended[-1], metric_name(recommended[0].metric)
    yield (
        f"Another threshold was recommended {times(len(recommended))}, from {first.at[:10]} to "
        f"{last.at[:10]}, with an expected gain of "
        f"{share(_mean(record.relative_gain for record in recommended))} in {metric} on average."
    )
    pairs = [(record, record.realised) for record in recommended if record.realised is not None]
    if pairs:
        outcomes = [outcome for _, outcome in pairs]
        better = sum(outcome.to > outcome.from_ for outcome in outcomes)
        gain = share(_mean(outcome.relative_gain for outcome in outcomes))
        yield (
            f"In the windows that followed, the recommended thresholds would have changed {metric} "
            f"by {gain} on average; they were better in {better} of {len(outcomes)} cases."
        )
        if 2 * better < len(outcomes):
            yield (
                "Following the recommendations would not have paid off: the best threshold of one "
                "window was usually not the best of the next. They are not applied automatically."
            )
        best, _ = max(pairs, key=lambda pair: pair[1].relative_gain or 0.0)
        yield f"The one with the largest gain, from {best.at[:10]}:"
        yield f"  {best.reason}"
        yield f"  {best.realised_reason}"
    if last.status == "open":
        yield f"Still open, from {last.at[:10]}:"
        yield f"  {last.reason}"


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _output(summary: Summary) -> Iterator[str]:
    folder = Path(summary.out)
    yield (
        f"{folder} holds figures, drift, alerts, recommendations and the registry, one JSON record "
        "per line. To explore it:"
    )
    yield f"  driftline serve --out {folder}"
    yield f"  driftline performance summary --out {folder} --window 1d --maturity all"
    yield f"  driftline alerts list --all --out {folder}"
    yield f"  driftline registry history --out {folder}"
    yield f"The recorded log and its configuration are in {folder.parent}."


def figure(value: float | None) -> str:
    """A metric to three decimals, "-" for None.

    Examples
    --------
    >>> figure(0.12345), figure(None)
    ('0.123', '-')
    """
    return "-" if value is None else f"{value:.3f}"


def share(value: float | None) -> str:
    """A share in percent, "-" for None.

    Examples
    --------
    >>> share(0.1234), share(None)
    ('12.3 %', '-')
    """
    return "-" if value is None else f"{100 * value:.1f} %"


def times(count: int) -> str:
    """A number of occurrences as an adverb.

    Examples
    --------
    >>> times(0), times(1), times(2), times(1200)
    ('never', 'once', 'twice', '1,200 times')
    """
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count:,} times")
