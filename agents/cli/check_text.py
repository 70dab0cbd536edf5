"""The text of `driftline check`: topics, models and versions, features, findings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import click

from driftline.agents.cli.output import minute, number, share
from driftline.agents.cli.tables import print_findings, print_table, wrap
from driftline.agents.input_rules import see
from driftline.agents.recorded.row_order import duration
from driftline.agents.terminal import console, inert
from driftline.streams.label_vocabulary import quoted

if TYPE_CHECKING:
    from driftline.schemas.input_check import (
        ClassRead,
        Delays,
        InputCheck,
        LabelRead,
        ModelRead,
        TopicRead,
        VersionRead,
    )

MOST_LABELS: Final = 10
MOST_FEATURES: Final = 20
_NAME_WIDTH: Final = 14


def print_check(found: InputCheck) -> None:
    """Print everything but the columns of a table, which were printed before its rows were read."""
    for topic in found.topics:
        _print_line(topic.topic, _topic(topic))
    for model in found.models:
        click.echo(inert(f"\n{model.model_name}"))
        for name, text in _model(model):
            _print_line(f"  {name}", text)
        for version in found.versions:
            if version.model_name == model.model_name:
                _print_version(version)
    click.echo()
    print_findings(found.findings, empty="nothing to say about it")
    problems = sum(finding.level == "problem" for finding in found.findings)
    click.echo(
        f"to be set or mended: {problems} ({see('Look before the first run')})"
        if problems
        else "nothing to be set or mended"
    )


def _print_line(name: str, text: str) -> None:
    first, others = f"{name:<{_NAME_WIDTH}} ", " " * (_NAME_WIDTH + 1)
    click.echo(wrap(text, console().width, first, others))


def _topic(topic: TopicRead) -> str:
    parts = [f"{number(topic.lines)} rows, {number(topic.accepted)} accepted"]
    if topic.first_event is not None:
        parts.append(_times(topic))
    if topic.sorted:
        parts.append("sorted by event time")
    return "; ".join(parts)


def _times(read: TopicRead | VersionRead) -> str:
    days = f"{number(read.days)} day{'' if read.days == 1 else 's'}"
    return (
        f"{minute(read.first_event)} to {minute(read.last_event)}; "
        f"{read.per_day:,.0f} a day (median of {days})"
    )


def _model(model: ModelRead) -> Iterator[tuple[str, str]]:
    """Labels as they are written, and what they are read as."""
    written = list(map(_label, model.labels[:MOST_LABELS]))
    if len(model.labels) > MOST_LABELS or model.further_labels:
        written.append("others")
    yield "labels", ", ".join(written) or "none"
    if model.classes:
        yield "classes", ", ".join(map(_class, model.classes[:MOST_LABELS]))


def _label(label: LabelRead) -> str:
    rows = [
        f"{number(n)} {side}"
        for n, side in ((label.truths, "truths"), (label.predictions, "predictions"))
        if n
    ]
    return f"{quoted(label.label)} ({label.kind}; {', '.join(rows)})"


def _class(read: ClassRead) -> str:
    """The name of a class, and its text in predictions where that is another."""
    is_other = read.predicted not in (None, read.name)
    return quoted(read.name) + (
        f" (predicted as {quoted(read.predicted or '')})" if is_other else ""
    )


def _print_version(version: VersionRead) -> None:
    click.echo(inert(f"  version {version.model_version}"))
    for name, text in _version(version):
        _print_line(f"    {name}", text)
    features = version.features[:MOST_FEATURES]
    if features:
        print_table(
            ["Feature", "Kind", ">Missing"],
            [(feature.name, feature.kind, share(feature.missing_share)) for feature in features],
            empty="",
        )
    if len(version.features) > MOST_FEATURES:
        click.echo(f"    and {len(version.features) - MOST_FEATURES} more features; see --json")


def _version(version: VersionRead) -> Iterator[tuple[str, str]]:
    yield "rows", f"{number(version.predictions)}; {_times(version)}"
    sent = f"{number(version.with_label)} with a label, {number(version.with_score)} with a score"
    if version.score_low is not None:
        sent += f" from {version.score_low:.6g} to {version.score_high:.6g}"
    yield "output", sent
    met = version.labelled / version.predictions
    yield "truths", f"{number(version.labelled)} rows have met one ({share(met)})"
    if version.delays is not None:
        yield "delays", _delays(version.delays)
    whole = ", ".join(f"{number(window.whole)} of {window.window}" for window in version.windows)
    yield "windows", f"covered wholly: {whole}; others only in part"


def _delays(delays: Delays) -> str:
    until = [rung.share for rung in delays.within].index(delays.within[-1].share)
    within = ", ".join(
        f"{rung.maturity} {share(rung.share)}" for rung in delays.within[: until + 1]
    )
    return (
        f"median {duration(delays.p50_ms)}, 99 % within {duration(delays.p99_ms)}, "
        f"at most {duration(delays.max_ms)}; known within {within}"
    )
