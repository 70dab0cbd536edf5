"""A stream of events without end, drawn from one seed: predictions, truths that come later, and
everything that goes wrong with both.

Event time advances by the same step from prediction to prediction, so what is sent depends on the
seed and on the number of predictions alone, never on a clock. What an id does not do: come again
after its entry may have been forgotten. Whether such a row finds the old entry depends on which of
two topics was read first, and no verifier could say what is right.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, NamedTuple

from tests.oracle.recorded import partition_of
from tests.simulation.wrong_lines import wrong_prediction, wrong_truth

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BEGIN = 1_709_251_200_000  # 2024-03-01T00:00:00Z

CONFIGURATION = """
[run]
prediction_grace = "1m"
truth_grace = "10m"
park = "8h"

[defaults]
windows = ["30m", "2h/1h"]
maturity = ["20m", "1h", "3h"]
label_horizon = "6h"
correction_horizon = "2h"
segments = ["plan"]
reference = "3h"
last_n = [100]

[[defaults.rules]]
type = "threshold"
name = "wrong"
metric = "accuracy"
below = 0.6
window = "2h/1h"
maturity = "3h"
min_samples = 20

[models.fraud]
positive_label = "true"

[models.scoring]
positive_label = "1"
"""

LABEL_HORIZON, CORRECTION_HORIZON, GRACE, TRUTH_GRACE = 6 * HOUR, 2 * HOUR, MINUTE, 10 * MINUTE
# Kept from every edge at which forgetting begins, so that lateness does not carry a row over it.
MARGIN = HOUR


class Message(NamedTuple):
    """One record to send. Without a partition the key decides."""

    topic: str
    key: bytes | None
    value: bytes
    partition: int | None = None


@dataclass(frozen=True)
class Kind:
    """One sort of model: its labels, and how it says what it predicts."""

    model: str
    labels: tuple[Any, ...]
    says: str


# Names such that every partition of the topics after stage 1, up to four, has a model.
KINDS = (
    Kind("churn", ("no", "yes"), "both"),
    Kind("fraud", (False, True), "score"),
    Kind("scoring", (0, 1), "score"),
    Kind("digits", (0, 1, 2), "scores"),
    Kind("routing/é", ("air", "rail", "road"), "prediction"),
    Kind("spam", ("no", "yes"), "prediction"),
    Kind("visits", ("high", "low"), "both"),
)
VERSIONS = ("1.0", "1.1")
BAD_HOURS = 3  # so many hours in a row, and every third time, a model is wrong more often and fails more often, so that alerts fire and end


class Load:
    """The events, in the order in which they are sent.

    Parameters
    ----------
    seed
        Everything follows from it.
    step_ms
        Event time from one prediction to the next.
    late
        False keeps every row within the grace of its topic.
    quiet
        Partitions of the input topics of which one at a time gets nothing for some hours of event
        time, so that it idles; 0 for never.
    """

    def __init__(self, seed: int, *, step_ms: int, late: bool = True, quiet: int = 0) -> None:
        self._random = Random(seed)
        self._step_ms = step_ms
        self._late = late
        self._quiet = quiet
        self._waiting: list[tuple[int, int, Message]] = []
        self._told = 0
        self.predictions = 0
        self.now_ms = BEGIN

    def __iter__(self) -> Iterator[list[Message]]:
        """What is sent with each further prediction, without end."""
        while True:
            self._tell()
            self.now_ms += self._step_ms
            yield self._due(self.now_ms)

    def rest(self) -> list[Message]:
        """What is left to send when no further prediction is made."""
        return self._due(None)

    def _due(self, until_ms: int | None) -> list[Message]:
        due = []
        while self._waiting and (until_ms is None or self._waiting[0][0] <= until_ms):
            due.append(heapq.heappop(self._waiting)[2])
        return due

    def _send(self, at_ms: int, message: Message) -> None:
        self._told += 1
        heapq.heappush(self._waiting, (at_ms, self._told, message))

    def _happens(self, share: float) -> bool:
        return self._random.random() < share

    def _tell(self) -> None:
        """One prediction, and all that comes of it."""
        random, time = self._random, self.now_ms
        number, self.predictions = self.predictions, self.predictions + 1
        identity = self._identity(number)
        kind = random.choice(KINDS)
        version = random.choice(VERSIONS)
        # Every model shows all its labels before anything else.
        truth = (
            kind.labels[number // len(KINDS) % len(kind.labels)]
            if number < 60
            else random.choice(kind.labels)
        )
        bad = (time // (BAD_HOURS * HOUR) + KINDS.index(kind)) % 3 == 0
        event: dict[str, Any] = {
            "prediction_id": identity,
            "model_name": kind.model,
            "model_version": version,
            "timestamp": time,
        }
        event |= (
            {"status": "error"}
            if self._happens(0.2 if bad else 0.01)
            else self._said(kind, truth, right=0.3 if bad else 0.85)
        )
        if self._happens(0.8):
            event["segment"] = {"plan": random.choice(("free", "a=b/c", 7, True))}
        if self._happens(0.3):
            event["features"] = {
                "age": random.randrange(90),
                "color": random.choice(("red", "green")),
                "balance": None,
            }
        if self._happens(0.3):
            event["latency_ms"] = random.randrange(1, 4_000) / 4
        self._prediction(event)
        if self._happens(0.05):
            self._prediction(
                {
                    **event,
                    "model_name": f"{kind.model}-shadow",
                    "timestamp": time + random.choice((0, 1, MINUTE)),
                }
            )
        if self._happens(0.03):
            self._prediction(event)
        if self._happens(0.02):
            other = {
                **event,
                "status": "ok",
                **self._said(kind, truth, right=0.5),
                "latency_ms": 0.125,
            }
            self._prediction({**other, "timestamp": time + random.choice((0, 1, 10 * MINUTE))})
        if self._happens(0.005):
            value = wrong_prediction(_far_ahead(event), random)
            self._send(time, Message("predictions", self._garbled(identity), value))
        self._truths(identity, kind, truth, time)
        if self._happens(0.01):
            self._truth({"prediction_id": f"nobody-{number}", "label": truth, "timestamp": time})
        if self._happens(0.005):
            value = wrong_truth(
                _far_ahead({"prediction_id": identity, "label": truth, "timestamp": time}), random
            )
            self._send(time, Message("ground-truth", self._garbled(identity), value))
        if number % 97 == 0:
            self._command(number, kind.model, version, time)

    def _identity(self, number: int) -> str:
        """An id of no quiet partition."""
        for attempt in range(100):
            identity = f"{number}" if attempt == 0 else f"{number}-{attempt}"
            if (
                not self._quiet
                or partition_of(identity.encode(), self._quiet) != self._quiet_partition()
            ):
                return identity
        raise AssertionError(
            f"no id of prediction {number} lies outside of the quiet partition among {self._quiet}"
        )

    def _quiet_partition(self) -> int | None:
        """The partition that gets nothing: one for the second half of every day of event time."""
        day, rest = divmod(self.now_ms - BEGIN, 8 * HOUR)
        return day % self._quiet if rest >= 4 * HOUR else None

    def _said(self, kind: Kind, truth: Any, *, right: float) -> dict[str, Any]:
        random = self._random
        label = truth if self._happens(right) else random.choice(kind.labels)
        score = round(
            random.uniform(0.5, 1) if label == kind.labels[-1] else random.uniform(0, 0.5), 3
        )
        if kind.says == "prediction":
            return {"prediction": label}
        if kind.says == "both":
            return {"prediction": label, "score": score}
        if kind.says == "score":
            return {"score": score}
        return {"scores": {str(other): 0.6 if other == label else 0.2 for other in kind.labels}}

    def _truths(self, identity: str, kind: Kind, label: Any, time: int) -> None:
        """Mostly one truth; sometimes none, sometimes corrected, retracted, repeated."""
        random = self._random
        if self._happens(0.05):
            return
        at = time + int((LABEL_HORIZON - 2 * MARGIN) * random.random() ** 4)
        if self._happens(0.05):
            at = time - random.randrange(30 * MINUTE)
        elif self._happens(0.1):
            at = time + random.choice((20 * MINUTE, HOUR, 3 * HOUR)) + random.choice((-1, 0, 1))
        said = [{"prediction_id": identity, "timestamp": at, "label": label}]
        while self._happens(0.06) and len(said) < 4:
            said.append(
                {
                    **said[0],
                    "timestamp": self._after(at),
                    "revision": len(said),
                    "label": random.choice(kind.labels),
                }
            )
        if self._happens(0.02):
            said.append(
                {
                    "prediction_id": identity,
                    "timestamp": self._after(at),
                    "revision": len(said),
                    "retracted": True,
                }
            )
        if self._happens(0.01):
            equal = random.choice(said)
            said.append(
                {**equal, "timestamp": equal["timestamp"] + random.choice((-MINUTE, -1, 1))}
            )
        for truth in said:
            self._truth(truth)
            if self._happens(0.03):
                self._truth(truth)

    def _after(self, at: int) -> int:
        return at + self._random.randrange(CORRECTION_HORIZON - MARGIN)

    def _prediction(self, event: dict[str, Any]) -> None:
        wait = self._random.randrange(GRACE)
        if self._late and self._happens(0.02):
            wait = self._random.choice(
                (GRACE, 10 * MINUTE, HOUR, self._random.randrange(CORRECTION_HORIZON // 2))
            )
        if self._late and self._happens(0.002):
            wait = CORRECTION_HORIZON + self._random.randrange(HOUR)
        self._send(
            event["timestamp"] + wait,
            Message("predictions", event["prediction_id"].encode(), _line(event)),
        )

    def _truth(self, event: dict[str, Any]) -> None:
        wait = self._random.randrange(TRUTH_GRACE)
        if self._late and self._happens(0.02):
            wait = self._random.choice(
                (TRUTH_GRACE, 30 * MINUTE, self._random.randrange(MARGIN // 2))
            )
        self._send(
            event["timestamp"] + wait,
            Message("ground-truth", event["prediction_id"].encode(), _line(event)),
        )

    def _garbled(self, identity: str) -> bytes | None:
        """The key of a line that is no event: its own, or none at all."""
        return identity.encode() if self._happens(0.7) else None

    def _command(self, number: int, model: str, version: str, time: int) -> None:
        """A command to the registry, one in three sent twice."""
        random = self._random
        command, params = random.choice(
            (
                ("register", {"threshold": 0.5}),
                ("promote", {"to": random.choice(("staging", "production"))}),
                ("set_threshold", {"threshold": round(random.random(), 2)}),
            )
        )
        value = {
            "command_id": f"chaos-{number}",
            "command": command,
            "model_name": model,
            "model_version": version,
            "timestamp": _rfc3339(time),
            "requested_by": "chaos",
            "params": params,
        }
        for _ in range(2 if self._happens(0.3) else 1):
            self._send(
                time + random.randrange(10 * MINUTE),
                Message("registry-commands", model.encode(), _line(value)),
            )


def _line(event: dict[str, Any]) -> bytes:
    time = event["timestamp"]
    return json.dumps(
        {**event, "timestamp": _rfc3339(time) if isinstance(time, int) else time},
        ensure_ascii=False,
    ).encode()


def _far_ahead(event: dict[str, Any]) -> dict[str, Any]:
    """The event with a time that would move a watermark by ten days if it were read."""
    return {**event, "timestamp": _rfc3339(event["timestamp"] + 10 * DAY)}


def _rfc3339(time: int) -> str:
    local = EPOCH + timedelta(milliseconds=time)
    fraction = f".{time % 1000:03d}" if time % 1000 else ""
    return local.strftime("%Y-%m-%dT%H:%M:%S") + fraction + "Z"
