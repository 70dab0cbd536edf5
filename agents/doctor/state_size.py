"""How large the state will be: predictions wait in it until their truth can no longer change
anything.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from driftline.agents.doctor.check_result import CheckResult
from driftline.schemas.results import WindowFigures
from driftline.schemas.settings import Config, ModelConfig
from driftline.schemas.times import DAY_MS, format_duration

# Measured: 400,000 waiting predictions with ids of 36 characters left 148 bytes each on disk,
# joined ones as well, and 160 with three segment dimensions (109 and 116 once RocksDB had compacted
# its files).
ENTRY_BYTES = 148
DIMENSION_BYTES = 4
LARGE_BYTES = 20 << 30


class Load(Struct, frozen=True, kw_only=True):
    """What comes in of one model.

    Attributes
    ----------
    per_day
        Predictions a day.
    coverage
        Share of them that gets a truth, in [0, 1]; 0 where it is not known, which makes the
        estimate an upper bound.
    delay_ms
        How long the truth usually takes.
    """

    model_name: str
    per_day: float
    coverage: float = 0.0
    delay_ms: float = 0.0


def mean_stay_ms(load: Load, settings: ModelConfig) -> float:
    """How long an entry stays on average: to the horizon without a truth, else until it can no
    longer be corrected.
    """
    joined = min(load.delay_ms, settings.label_horizon_ms) + settings.correction_horizon_ms
    return load.coverage * joined + (1 - load.coverage) * settings.label_horizon_ms


def estimate_state_size(loads: list[Load], config: Config) -> Iterator[CheckResult]:
    """Predicted entries and bytes on disk, by model and in total."""
    total = 0.0
    entry_bytes = ENTRY_BYTES + DIMENSION_BYTES * len(config.segments)
    for load in loads:
        settings = config.for_model(load.model_name)
        stay_ms = mean_stay_ms(load, settings)
        entries = load.per_day * stay_ms / DAY_MS
        total += entries * entry_bytes
        seen = (
            f"{load.coverage:.0%} get a truth"
            if load.coverage
            else "no truth assumed: an upper bound"
        )
        yield CheckResult(
            check="state size",
            level="ok",
            message=f"{load.model_name}: {load.per_day:,.0f} predictions a day ({seen}), label horizon "
            f"{format_duration(settings.label_horizon_ms)}: about {entries:,.0f} entries, {_size(entries * entry_bytes)}",
        )
    if total > LARGE_BYTES:
        yield CheckResult(
            check="state size",
            level="note",
            message=f"the state will take about {_size(total)} on disk",
            remedy="shorten label_horizon or correction_horizon where truths come sooner",
        )


def measured_loads(metrics: list[WindowFigures]) -> list[Load]:
    """The load by model, read off the figures of a run for segment "all".

    Predictions a day come from the tumbling windows of the largest size in the traffic lane that
    hold any; coverage and delay from the final windows of the decisions lane.
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
