"""A log in which a few predictions have very many features, and slow code that says what is kept.

Most predictions have the same few features. Some have one of their own as well, named by an id, and
a few have dozens that no other prediction has. The limits of the product are far above that; the
tests lower them with `lowered_limits`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Final, NamedTuple
from unittest import mock

import xxhash

from driftline.streams.measure.drift import feature_panes
from driftline.streams.summaries import feature_limits

TOML: Final = """[defaults]
windows = ["{detection}"]
detection_window = "{detection}"
reference = "{reference}"
maturity = ["1h"]
label_horizon = "1h"
correction_horizon = "1h"
last_n = []
since_deployment = false
"""

BEGIN_MS: Final = 1_709_251_200_000  # 2024-03-01T00:00:00Z
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
MOST_FEATURES: Final = 40
MOST_SETTLED: Final = 9


class Event(NamedTuple):
    """A prediction: its time and the names of its features."""

    time_ms: int
    names: list[str]


@contextmanager
def lowered_limits() -> Iterator[None]:
    """Limits that the log exceeds."""
    with (
        mock.patch.object(feature_limits.thinned, "__defaults__", (MOST_FEATURES,)),
        mock.patch.object(feature_limits.settled, "__defaults__", (MOST_SETTLED,)),
        mock.patch.object(feature_panes, "MOST_SETTLED", MOST_SETTLED),
    ):
        yield


def write(folder: Path, seed: int, *, reference: str, detection: str, hours: int) -> list[Event]:
    """Write the log of a model with one version; gives its predictions."""
    folder.mkdir(parents=True)
    (folder / "driftline.toml").write_text(TOML.format(reference=reference, detection=detection))
    random, events = Random(seed), []
    with (
        (folder / "predictions.jsonl").open("w") as predictions,
        (folder / "ground-truth.jsonl").open("w") as truths,
    ):
        for number in range(hours * 12):
            time_ms = BEGIN_MS + number * HOUR_MS // 12 + random.randrange(60_000)
            features: dict[str, float | str] = {
                "age": random.randrange(90),
                "plan": random.choice("ab"),
                "": number % 3,
            }
            if random.random() < 0.7:
                features["income"] = random.gauss(0, 1)
            if random.random() < 0.3:
                features[f"user_{random.randrange(400)}"] = 1
            if random.random() < 0.04:
                wide = random.choice((5, 30, 60))
                features |= {f"wide_{number}_{k}": random.choice((k, "text")) for k in range(wide)}
            identity = f"p{number}"
            event = {
                "prediction_id": identity,
                "model_name": "m",
                "model_version": "1",
                "timestamp": time_ms,
                "score": random.random(),
                "features": features,
            }
            predictions.write(json.dumps(event) + "\n")
            truth = {"prediction_id": identity, "label": number % 2, "timestamp": time_ms + 1_000}
            truths.write(json.dumps(truth) + "\n")
            events.append(Event(time_ms, [name or "(no name)" for name in features]))
    return events


class Kept:
    """What is kept of the features of some predictions, by the rules, one by one."""

    def __init__(self, events: list[Event]) -> None:
        self._events = events
        self.left_out_of_hours = 0
        self._hours = {
            start_ms: self._hour(start_ms)
            for start_ms in sorted({event.time_ms // HOUR_MS * HOUR_MS for event in events})
        }

    def rows(self, start_ms: int, end_ms: int) -> int:
        """Number of predictions of a span of time."""
        return sum(start_ms <= event.time_ms < end_ms for event in self._events)

    def values(self, start_ms: int, end_ms: int) -> Counter[str]:
        """Number of values by name in a span of time: whole days are settled by themselves."""
        total: Counter[str] = Counter()
        at = start_ms
        while at < end_ms:
            if at % DAY_MS == 0 and at + DAY_MS <= end_ms:
                hours = (self._hours.get(at + k * HOUR_MS, Counter()) for k in range(24))
                total += settled(sum(hours, Counter()))
                at += DAY_MS
            else:
                total += self._hours.get(at, Counter())
                at += HOUR_MS
        return total

    def reference(self, start_ms: int, end_ms: int) -> tuple[Counter[str], int]:
        """Number of values of the watched features of a reference; that of all others which the
        hours had kept.
        """
        least = max(2, -(-self.rows(start_ms, end_ms) // 1_000))
        values = settled(self.values(start_ms, end_ms))
        watched = Counter({name: n for name, n in values.items() if n >= least})
        hours = (kept.total() for at, kept in self._hours.items() if start_ms <= at < end_ms)
        return watched, sum(hours) - watched.total()

    def _hour(self, start_ms: int) -> Counter[str]:
        values = Counter(
            name
            for event in self._events
            if start_ms <= event.time_ms < start_ms + HOUR_MS
            for name in event.names
        )
        level = 0
        while sum(zero_bits(name) >= level for name in values) > MOST_FEATURES:
            level += 1
        kept = settled(Counter({name: n for name, n in values.items() if zero_bits(name) >= level}))
        self.left_out_of_hours += values.total() - kept.total()
        return kept


def settled(values: Counter[str]) -> Counter[str]:
    """The names that stay of a complete span."""
    if len(values) <= MOST_SETTLED:
        return values
    several = [name for name in values if values[name] > 1]
    several.sort(key=lambda name: (-values[name], name))
    return Counter({name: values[name] for name in several[:MOST_SETTLED]})


def zero_bits(name: str) -> int:
    """Zero bits at the start of the hash of a name, 32 at most."""
    bits = f"{xxhash.xxh64_intdigest(name.encode()):064b}"[:32]
    return len(bits) - len(bits.lstrip("0"))
