"""An endless stream of events from one seed: predictions, later truths, and faulty rows of both.

Some models write labels otherwise in predictions than in truths, single truths have a label that is
no class, and single rows are dated days ahead or decades behind.

Event time advances by the same step from prediction to prediction, so the events depend only on the
seed and on the number of predictions, never on a clock.
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
# Distance from every horizon, so that no row crosses one because it is late.
MARGIN = HOUR


class Message(NamedTuple):
    """One record to send; without a partition, the key decides on it."""

    topic: str
    key: bytes | None
    value: bytes
    partition: int | None = None


@dataclass(frozen=True)
class ModelKind:
    """One kind of model: its labels, the form of its predictions, and its labels as truths have
    them, if in another form.
    """

    model: str
    labels: tuple[Any, ...]
    form: str
    truths: tuple[Any, ...] = ()

    def actual(self, label: Any) -> Any:
        """A label as truths have it."""
        return self.truths[self.labels.index(label)] if self.truths else label


# Names such that every partition of the topics after stage 1, up to four, has a model.
MODEL_KINDS = (
    ModelKind("churn", ("no", "yes"), "both", (" No", " Yes")),
    ModelKind("fraud", (False, True), "score"),
    ModelKind("scoring", (0, 1), "score"),
    ModelKind("digits", (0, 1, 2), "scores", ("0.0", "1.0", "2.0")),
    ModelKind("routing/é", ("air", "rail", "road"), "prediction"),
    ModelKind("spam", (0, 1), "prediction", (False, True)),
    ModelKind("visits", ("high", "low"), "both"),
)
VERSIONS = ("1.0", "1.1")
STRAYS = ("maybe", "TBD", "?")
YEAR = 365 * DAY
# In every third period of this length a model is wrong and fails more often, so that alerts fire
# and are resolved.
BAD_HOURS = 3


class Load:
    """The events, in the order in which they are sent.

    Parameters
    ----------
    seed
        Seed of all events.
    step_ms
        Event time from one prediction to the next.
    late
        Whether some rows come after the grace of their topic.
    quiet
        Number of partitions of the input topics. One at a time gets no records for some hours of
        event time, so that it is idle; 0 for never.
    """

    def __init__(self, seed: int, *, step_ms: int, late: bool = True, quiet: int = 0) -> None:
        self._random = Random(seed)
        self._step_ms = step_ms
        self._late = late
        self._quiet = quiet
        self._waiting: list[tuple[int, int, Message]] = []
        self._scheduled = 0
        self.predictions = 0
        self.now_ms = BEGIN

    def __iter__(self) -> Iterator[list[Message]]:
        """The messages that are due after each further prediction, endlessly."""
        while True:
            self._schedule_prediction()
            self.now_ms += self._step_ms
            yield self._take_due(self.now_ms)

    def rest(self) -> list[Message]:
        """The remaining messages, without a further prediction."""
        return self._take_due(None)

    def _take_due(self, until_ms: int | None) -> list[Message]:
        due = []
        while self._waiting and (until_ms is None or self._waiting[0][0] <= until_ms):
            due.append(heapq.heappop(self._waiting)[2])
        return due

    def _schedule(self, at_ms: int, message: Message) -> None:
        self._scheduled += 1
        heapq.heappush(self._waiting, (at_ms, self._scheduled, message))

    def _chance(self, share: float) -> bool:
        return self._random.random() < share

    def _schedule_prediction(self) -> None:
        """Schedule one prediction, and all messages that belong to it."""
        random, time = self._random, self.now_ms
        number, self.predictions = self.predictions, self.predictions + 1
        identity = self._identity(f"{number}")
        kind = random.choice(MODEL_KINDS)
        version = random.choice(VERSIONS)
        # The first predictions show all labels of every model.
        truth = (
            kind.labels[number // len(MODEL_KINDS) % len(kind.labels)]
            if number < 60
            else random.choice(kind.labels)
        )
        bad = (time // (BAD_HOURS * HOUR) + MODEL_KINDS.index(kind)) % 3 == 0
        event: dict[str, Any] = {
            "prediction_id": identity,
            "model_name": kind.model,
            "model_version": version,
            "timestamp": time,
        }
        event |= (
            {"status": "error"}
            if self._chance(0.2 if bad else 0.01)
            else self._predicted(kind, truth, right=0.3 if bad else 0.85)
        )
        if self._chance(0.8):
            event["segment"] = {"plan": random.choice(("free", "a=b/c", 7, True))}
        if self._chance(0.3):
            event["features"] = {
                "age": random.randrange(90),
                "color": random.choice(("red", "green")),
                "balance": None,
            }
        if self._chance(0.3):
            event["latency_ms"] = random.randrange(1, 4_000) / 4
        self._prediction(event)
        if self._chance(0.05):
            self._prediction(
                {
                    **event,
                    "model_name": f"{kind.model}-shadow",
                    "timestamp": time + random.choice((0, 1, MINUTE)),
                }
            )
        if self._chance(0.03):
            self._prediction(event)
        if self._chance(0.02):
            other = {
                **event,
                "status": "ok",
                **self._predicted(kind, truth, right=0.5),
                "latency_ms": 0.125,
            }
            self._prediction({**other, "timestamp": time + random.choice((0, 1, 10 * MINUTE))})
        if self._chance(0.005):
            value = wrong_prediction(_far_ahead(event), random)
            self._schedule(time, Message("predictions", self._garbled_key(identity), value))
        self._truths(number, identity, kind, truth, time)
        if self._chance(0.01):
            self._truth({"prediction_id": f"nobody-{number}", "label": truth, "timestamp": time})
        if self._late and number >= 200 and self._chance(0.01):
            self._misdated(number, event, truth)
        if self._chance(0.005):
            value = wrong_truth(
                _far_ahead({"prediction_id": identity, "label": truth, "timestamp": time}), random
            )
            self._schedule(time, Message("ground-truth", self._garbled_key(identity), value))
        if number % 97 == 0:
            self._command(number, kind.model, version, time)

    def _misdated(self, number: int, event: dict[str, Any], label: Any) -> None:
        """Schedule a row with a wrong time: too far ahead of the others, or decades behind."""
        time = event["timestamp"]
        wrong = time + self._random.choice((3 * HOUR, 30 * HOUR, 200 * DAY, -20 * YEAR))
        identity = self._identity(f"misdated-{number}")
        value = {"prediction_id": identity, "label": label, "timestamp": wrong}
        topic = self._random.choice(("predictions", "ground-truth"))
        if topic == "predictions":
            value = {**event, "prediction_id": identity, "timestamp": wrong}
        self._schedule(time, Message(topic, identity.encode(), _line(value)))

    def _identity(self, name: str) -> str:
        """An id that does not belong to the quiet partition."""
        for attempt in range(100):
            identity = name if attempt == 0 else f"{name}-{attempt}"
            if (
                not self._quiet
                or partition_of(identity.encode(), self._quiet) != self._quiet_partition()
            ):
                return identity
        raise AssertionError(f"no id {name} is outside of the quiet partition among {self._quiet}")

    def _quiet_partition(self) -> int | None:
        """The partition without records, in the second half of every eight hours of event time."""
        day, rest = divmod(self.now_ms - BEGIN, 8 * HOUR)
        return day % self._quiet if rest >= 4 * HOUR else None

    def _predicted(self, kind: ModelKind, truth: Any, *, right: float) -> dict[str, Any]:
        random = self._random
        label = truth if self._chance(right) else random.choice(kind.labels)
        score = round(
            random.uniform(0.5, 1) if label == kind.labels[-1] else random.uniform(0, 0.5), 3
        )
        if kind.form == "prediction":
            return {"prediction": label}
        if kind.form == "both":
            return {"prediction": label, "score": score}
        if kind.form == "score":
            return {"score": score}
        return {"scores": {str(other): 0.6 if other == label else 0.2 for other in kind.labels}}

    def _truths(self, number: int, identity: str, kind: ModelKind, label: Any, time: int) -> None:
        """Usually one truth; sometimes none, or a corrected, retracted or repeated one."""
        random = self._random
        if self._chance(0.05):
            return
        at = time + int((LABEL_HORIZON - 2 * MARGIN) * random.random() ** 4)
        if self._chance(0.05):
            at = time - random.randrange(30 * MINUTE)
        elif self._chance(0.1):
            at = time + random.choice((20 * MINUTE, HOUR, 3 * HOUR)) + random.choice((-1, 0, 1))
        sent = kind.actual(label)
        if number >= 60 and self._chance(0.01):
            sent = random.choice(STRAYS)
        truths = [{"prediction_id": identity, "timestamp": at, "label": sent}]
        while self._chance(0.06) and len(truths) < 4:
            truths.append(
                {
                    **truths[0],
                    "timestamp": self._after(at),
                    "revision": len(truths),
                    "label": kind.actual(random.choice(kind.labels)),
                }
            )
        if self._chance(0.02):
            truths.append(
                {
                    "prediction_id": identity,
                    "timestamp": self._after(at),
                    "revision": len(truths),
                    "retracted": True,
                }
            )
        if self._chance(0.01):
            equal = random.choice(truths)
            truths.append(
                {**equal, "timestamp": equal["timestamp"] + random.choice((-MINUTE, -1, 1))}
            )
        for truth in truths:
            self._truth(truth)
            if self._chance(0.03):
                self._truth(truth)

    def _after(self, at: int) -> int:
        return at + self._random.randrange(CORRECTION_HORIZON - MARGIN)

    def _prediction(self, event: dict[str, Any]) -> None:
        wait = self._random.randrange(GRACE)
        if self._late and self._chance(0.02):
            wait = self._random.choice(
                (GRACE, 10 * MINUTE, HOUR, self._random.randrange(CORRECTION_HORIZON // 2))
            )
        if self._late and self._chance(0.002):
            wait = CORRECTION_HORIZON + self._random.randrange(HOUR)
        self._schedule(
            event["timestamp"] + wait,
            Message("predictions", event["prediction_id"].encode(), _line(event)),
        )

    def _truth(self, event: dict[str, Any]) -> None:
        wait = self._random.randrange(TRUTH_GRACE)
        if self._late and self._chance(0.02):
            wait = self._random.choice(
                (TRUTH_GRACE, 30 * MINUTE, self._random.randrange(MARGIN // 2))
            )
        self._schedule(
            event["timestamp"] + wait,
            Message("ground-truth", event["prediction_id"].encode(), _line(event)),
        )

    def _garbled_key(self, identity: str) -> bytes | None:
        """Key of a message that is not an event: the id, or none."""
        return identity.encode() if self._chance(0.7) else None

    def _command(self, number: int, model: str, version: str, time: int) -> None:
        """Schedule a registry command; about one in three is sent twice."""
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
        for _ in range(2 if self._chance(0.3) else 1):
            self._schedule(
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
    """The event with a time that would move a watermark by ten days if it were accepted."""
    return {**event, "timestamp": _rfc3339(event["timestamp"] + 10 * DAY)}


def _rfc3339(time: int) -> str:
    local = EPOCH + timedelta(milliseconds=time)
    fraction = f".{time % 1000:03d}" if time % 1000 else ""
    return local.strftime("%Y-%m-%dT%H:%M:%S") + fraction + "Z"
