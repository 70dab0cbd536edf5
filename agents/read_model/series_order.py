"""The order of windows and rungs, and the metrics of a lane that are shown where none are named."""

from __future__ import annotations

from typing import Final

from driftline.schemas.times import parse_duration

LANES: Final = ("decisions", "arrivals", "traffic")
USUAL: Final = ("accuracy", "precision", "recall", "f1", "roc_auc")
USUAL_OF_TRAFFIC: Final = ("throughput", "error_rate", "latency_p95")
_KINDS: Final = ("tumbling", "sliding", "last_n", "since_deployment")


def usual_metrics(lane: str) -> tuple[str, ...]:
    """The metrics of a lane that are shown where none are named."""
    return USUAL_OF_TRAFFIC if lane == "traffic" else USUAL


def rung_order(maturity: str | None) -> int:
    """Sort key of a rung: its delay in milliseconds; 0 in a lane without a ladder."""
    return parse_duration(maturity) if maturity else 0


def window_order(window: str, kind: str) -> tuple[int, int, str]:
    """Sort key of a window: kind, size, name."""
    size, _, _ = window.partition("/")
    length = parse_duration(size) if kind in ("tumbling", "sliding") else 0
    return _KINDS.index(kind) if kind in _KINDS else len(_KINDS), length, window
