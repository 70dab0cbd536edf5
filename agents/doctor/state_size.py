"""Estimate of the state's size: each prediction has an entry until its truth can no longer
change a figure.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from driftline.schemas.check_result import CheckResult
from driftline.schemas.results import WindowFigures
from driftline.schemas.settings import Config, ModelConfig
from driftline.schemas.times import DAY_MS, format_duration

# Measured with 400,000 entries and ids of 36 characters: 148 bytes on disk per entry, joined or
# not; 160 with three segment dimensions (109 and 116 after RocksDB had compacted its files).
ENTRY_BYTES = 148
DIMENSION_BYTES = 4
LARGE_BYTES = 20 << 30


class Load(Struct, frozen=True, kw_only=True):
    """Rate of predictions and arrival of truths of one model.

    Attributes
    ----------
    per_day
        Predictions a day.
    coverage
        Share of them that gets a truth, in [0, 1]; 0 if unknown, which makes the estimate an upper
        bound.
    delay_ms
        Median delay of the truth, in milliseconds.
    """

    model_name: str
    per_day: float
    coverage: float = 0.0
    delay_ms: float = 0.0


def mean_stay_ms(load: Load, settings: ModelConfig) -> float:
    """Mean life of an entry in milliseconds: to the label horizon without a truth, else to the end
    of the correction horizon.
    """
    joined = min(load.delay_ms, settings.label_horizon_ms) + settings.correction_horizon_ms
    return load.coverage * joined + (1 - load.coverage) * settings.label_horizon_ms


def estimate_state_size(loads: list[Load], config: Config) -> Iterator[CheckResult]:
    """Estimate entries and bytes on disk, by model and in total."""
    total = 0.0
    entry_bytes = ENTRY_BYTES + DIMENSION_BYTES * len(config.segments)
    for load in loads:
        settings = config.for_model(load.model_name)
        stay_ms = mean_stay_ms(load, settings)
        entries = load.per_day * stay_ms / DAY_MS
        total += entries * entry_bytes
        coverage = (
            f"{load.coverage:.0%} get a truth"
            if load.coverage
            else "no truth assumed: an upper bound"
        )
        yield CheckResult(
            check="state size",
            level="ok",
            message=f"{load.model_name}: {load.per_day:,.0f} predictions a day ({coverage}), label "
            f"horizon {format_duration(settings.label_horizon_ms)}: about {entries:,.0f} entries, "
            f"{_size(entries * entry_bytes)}",
        )
    if total > LARGE_BYTES:
        yield CheckResult(
            check="state size",
            level="note",
            message=f"the state will take about {_size(total)} on disk",
            remedy="shorten label_horizon or correction_horizon if truths arrive sooner",
        )


def measured_loads(metrics: list[WindowFigures]) -> list[Load]:
    """The load of each model, from the figures of a run for segment "all".

    The rate is taken from the largest tumbling windows of the traffic lane that have predictions;
    coverage and delay are taken from the final windows of the decisions lane.
    """
    loads = []
    for name in sorted({record.model_name for record in metrics}):
        own = [
            record for record in metrics if record.model_name == name and record.kind == "tumbling"
        ]
        traffic = [record for record in own if record.lane == "traffic" and record.n_predictions]
        if not traffic:
            continue
        longest = max(map(_span_ms, traffic))
        chosen = [record for record in traffic if _span_ms(record) == longest]
        days = len({record.window_start_ms for record in chosen}) * longest / DAY_MS
        final = [record for record in own if record.lane == "decisions" and record.final]
        predictions, labelled = (
            sum(record.n_predictions for record in final),
            sum(record.n for record in final),
        )
        delays = sorted(
            value for record in final if (value := record.metrics.get("delay_p50")) is not None
        )
        loads.append(
            Load(
                model_name=name,
                per_day=sum(record.n_predictions for record in chosen) / days,
                coverage=labelled / predictions if predictions else 0.0,
                delay_ms=delays[len(delays) // 2] if delays else 0.0,
            )
        )
    return loads


def _span_ms(record: WindowFigures) -> int:
    return record.window_end_ms - record.window_start_ms


def _size(count: float) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:,.0f} {unit}"
        count /= 1024
    return f"{count:,.1f} TiB"
