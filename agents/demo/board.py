"""The newest results of a run, for the demo's live view.

Uses complete figures for segment "all" only. The layout on a terminal is `view.py`; the summary at
the end is `summary.py`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path

import msgspec

from driftline.schemas.results import (
    Alert,
    Drift,
    Recommendation,
    RegistryEntry,
    WindowFigures,
    decoder,
)
from driftline.schemas.topics import ALERTS, DRIFT, METRICS, RECOMMENDATIONS, REGISTRY

LEVELS = ("insufficient_data", "none", "mild", "moderate", "severe")
DAYS_SHOWN = 60
SHOWN_TOPICS: dict[str, type[msgspec.Struct]] = {
    METRICS: WindowFigures,
    DRIFT: Drift,
    ALERTS: Alert,
    RECOMMENDATIONS: Recommendation,
    REGISTRY: RegistryEntry,
}


class Board:
    """The newest state of a run with one model.

    Attributes
    ----------
    end_ms
        End of the recorded log, once it is known. Records about later windows are ignored, since
        they have no predictions.
    day_ms
        End of the newest day that has figures.
    rungs
        Figures of the newest final sliding window by rung: the same predictions with fewer and with
        more truths.
    days
        Figures of the newest days at the last rung, oldest first.
    drift
        The strongest result of the newest detection window, by target.
    alerts
        The latest record of each episode, by alert id, in the order in which they fired.
    recommendation, outcome
        The newest recommendation, and the newest outcome of one.
    """

    def __init__(self) -> None:
        self.end_ms: int | None = None
        self.day_ms = 0
        self.entries: dict[str, RegistryEntry] = {}
        self.rungs: dict[str, WindowFigures] = {}
        self._open_windows: dict[int, dict[str, WindowFigures]] = {}
        self.days: deque[WindowFigures] = deque(maxlen=DAYS_SHOWN)
        self.drift: dict[str, Drift] = {}
        self.alerts: dict[str, Alert] = {}
        self.recommendation: Recommendation | None = None
        self.outcome: Recommendation | None = None

    def take(self, record: msgspec.Struct) -> None:
        """Take a record into the state."""
        if self.end_ms is not None and _time_ms(record) > self.end_ms:
            return
        match record:
            case WindowFigures(
                lane="decisions",
                segment="all",
                provisional=False,
                kind="sliding",
                maturity=str(rung),
            ):
                self._open_windows.setdefault(record.window_start_ms, {})[rung] = record
                self.day_ms = max(self.day_ms, record.window_end_ms)
                if record.final:
                    self.rungs = self._open_windows.pop(record.window_start_ms)
            case WindowFigures(
                lane="decisions", segment="all", provisional=False, kind="tumbling", final=True
            ):
                self.days.append(record)
            case Drift(segment="all"):
                current = self.drift.get(record.target)
                if current is None or _strength(record) >= _strength(current):
                    self.drift[record.target] = record
            case Alert():
                self.alerts[record.alert_id] = record
            case Recommendation(status="open"):
                self.recommendation = record
            case Recommendation(status="outcome"):
                self.outcome = record
            case RegistryEntry():
                self.entries[record.model_version] = record

    def firing(self) -> list[Alert]:
        """Latest records of the episodes that are not resolved, oldest first."""
        return [alert for alert in self.alerts.values() if alert.status != "resolved"]


def _time_ms(record: msgspec.Struct) -> int:
    """Window end of figures and drift, start of an alert; 0 for other records."""
    match record:
        case WindowFigures() | Drift():
            return record.window_end_ms
        case Alert():
            return record.starts_at_ms
    return 0


def _strength(drift: Drift) -> tuple[int, int, float]:
    return drift.window_end_ms, LEVELS.index(drift.level), drift.effect or 0.0


class Tail:
    """Reads the records that a run has appended to its output files since the last call.

    Parameters
    ----------
    folder
        The output folder; its files need not exist yet.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._positions = dict.fromkeys(SHOWN_TOPICS, 0)
        self._decoders = {topic: decoder(type_) for topic, type_ in SHOWN_TOPICS.items()}

    def records(self) -> Iterator[msgspec.Struct]:
        """New records, topic by topic; figures and drift for segment "all" only."""
        for topic, reader in self._decoders.items():
            path = self._folder / f"{topic}.jsonl"
            if not path.exists():
                continue
            with path.open("rb") as file:
                file.seek(self._positions[topic])
                for line in file:
                    if not line.endswith(b"\n"):
                        break  # the run has not finished writing it
                    self._positions[topic] += len(line)
                    if topic not in (METRICS, DRIFT) or b'"segment":"all"' in line:
                        yield reader.decode(line)
