"""Settings of the tuner."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any

import msgspec

from driftline.schemas.results import Histogram
from driftline.schemas.settings import ModelConfig, parse_rung, parse_window
from driftline.schemas.times import DAY_MS, parse_duration
from driftline.streams.catalogue import plugins
from driftline.streams.decide.rule import largest_window
from driftline.streams.decide.tuner.objective import Objective
from driftline.streams.lanes import ALL
from driftline.streams.toml_tables import convert_table

_Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]


class _TunerTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    enabled: bool = True
    objective: str | dict[str, Any] = "f1"
    window: str | None = None
    maturity: str | None = None
    min_labels: Annotated[int, msgspec.Meta(ge=1)] = 100
    min_gain: Annotated[float, msgspec.Meta(ge=0.0)] = 0.03
    range: tuple[_Share, _Share] = (0.0, 1.0)
    span: str = "28d"
    every: str = "7d"
    expires: str = "30d"
    after_rollback: str = "30d"


class TunerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the tuner of one model.

    Parameters
    ----------
    enabled
        Whether thresholds are recommended.
    objective
        The objective to improve.
    window, maturity
        Windows of the histograms, and their rung; by default the windows of a day, and the first
        rung at which 95 % of the labels have been known so far.
    span_ms, every_ms
        Length of the span that is evaluated, and how often it is.
    min_labels
        Least number of labelled rows in the span, in both halves together.
    min_gain
        Least relative gain of a recommendation.
    lowest, highest
        The smallest and the largest threshold that is recommended (`range`).
    expires_ms
        Time that a recommendation stays open.
    after_rollback_ms
        Time after a recommended threshold was in force and was replaced by hand, in which the next
        recommended threshold has to be clearly better than that one; 0 for no such time.
    """

    enabled: bool
    objective: Objective
    window: str
    maturity: str | None
    span_ms: int
    every_ms: int
    min_labels: int
    min_gain: float
    lowest: float
    highest: float
    expires_ms: int
    after_rollback_ms: int

    def reads(self, histogram: Histogram) -> bool:
        """Whether the tuner reads this histogram, whatever its rung."""
        return (
            histogram.window == self.window
            and histogram.segment == ALL
            and histogram.lane == "decisions"
            and len(histogram.labels) == 2
            and histogram.positive_label in histogram.labels
        )


@lru_cache(maxsize=1)
def objective_plugins() -> dict[str, type[Objective]]:
    """All objectives by name."""
    return plugins(Objective, ("driftline.streams.decide.tuner.objectives",))


def build_tuner(config: ModelConfig, where: str | None = None) -> TunerSettings:
    """The tuner of a model.

    Parameters
    ----------
    where
        Path of the table in the file, such as "models.churn.tuner"; by default the one in the
        settings.

    Raises
    ------
    ValueError
        If a key is unknown or a value invalid; the message begins with its path.

    Examples
    --------
    >>> costs = {"type": "cost", "fp": 1.0, "fn": 5.0}
    >>> tuner = build_tuner(ModelConfig(tuner={"objective": costs}))
    >>> tuner.objective.name, tuner.window
    ('cost', '1d')
    """
    where = where or config.tuner_path
    table: _TunerTable = convert_table(config.tuner, _TunerTable, where)
    plain = {"type": table.objective} if isinstance(table.objective, str) else table.objective
    kind = objective_plugins().get(plain.get("type", ""))
    if kind is None:
        raise ValueError(
            f'{where}.objective: "{plain.get("type", "")}" is not known; '
            f"known are {', '.join(sorted(objective_plugins()))}"
        )
    window = _one_name(
        table.window or _usual_window(config),
        "window",
        parse_window,
        [w.name for w in config.windows],
        where,
    )
    rungs = [rung.name for rung in config.maturity]
    maturity = (
        None
        if table.maturity is None
        else _one_name(table.maturity, "maturity", parse_rung, rungs, where)
    )
    lowest, highest = table.range
    if lowest >= highest:
        raise ValueError(f"{where}.range: {lowest} is not below {highest}")
    lengths = {}
    for field in ("span", "every", "expires", "after_rollback"):
        try:
            lengths[field] = parse_duration(getattr(table, field))
        except ValueError as error:
            raise ValueError(f"{where}.{field}: {error}") from error
        if not lengths[field] and field != "after_rollback":
            raise ValueError(f"{where}.{field}: it has to be longer than nothing")
    return TunerSettings(
        enabled=table.enabled,
        objective=convert_table(plain, kind, f"{where}.objective"),
        window=window,
        maturity=maturity,
        min_labels=table.min_labels,
        min_gain=table.min_gain,
        lowest=lowest,
        highest=highest,
        span_ms=lengths["span"],
        every_ms=lengths["every"],
        expires_ms=lengths["expires"],
        after_rollback_ms=lengths["after_rollback"],
    )


def _usual_window(config: ModelConfig) -> str:
    """The shortest tumbling window of at least a day, else the largest window; stage 2 makes no
    histograms of shorter windows.
    """
    days = [
        window
        for window in config.windows
        if window.kind == "tumbling" and window.size_ms >= DAY_MS
    ]
    return min(days, key=lambda window: window.size_ms).name if days else largest_window(config)


def _one_name(text: str, field: str, parse: Any, known: list[str], where: str) -> str:
    try:
        name: str = parse(text).name
    except ValueError as error:
        raise ValueError(f"{where}.{field}: {error}") from error
    if name not in known:
        raise ValueError(
            f'{where}.{field}: "{text}" is not kept for this model; known are {", ".join(known)}'
        )
    return name
