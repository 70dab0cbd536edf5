"""A producer: sends predictions and, later, their ground truth to Driftline's topics.

    python examples/producer.py localhost:9092

It shows what a service that scores requests has to do: one JSON object per record, `prediction_id`
as the key, Java's partitioner, and an acknowledged delivery. Needs confluent-kafka, which the extra
`kafka` installs.
"""

from __future__ import annotations

import json
import random
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

from confluent_kafka import KafkaError, Message, Producer


class Events:
    """Sends the events of one model.

    Parameters
    ----------
    servers
        Bootstrap servers, such as "localhost:9092".
    prefix
        What the names of the topics begin with (`run.topic_prefix` in the configuration).
    """

    def __init__(self, servers: str, prefix: str = "") -> None:
        self._prefix = prefix
        self._producer = Producer(
            {
                "bootstrap.servers": servers,
                # Java's default. librdkafka's own default would send the prediction and the ground
                # truth of one id to different partitions if another producer uses Java's client.
                "partitioner": "murmur2_random",
                "enable.idempotence": True,
                "linger.ms": 20,
            }
        )

    def prediction(self, **fields: Any) -> None:
        """Send one prediction; `prediction_id`, `model_name`, `model_version` and `timestamp` are
        required, and one of `prediction`, `score` and `scores`.
        """
        self._send("predictions", fields)

    def ground_truth(self, **fields: Any) -> None:
        """Send one ground truth: `prediction_id`, `label` and `timestamp`."""
        self._send("ground-truth", fields)

    def flush(self) -> None:
        """Wait until the broker has acknowledged every event, for 30 seconds at most.

        Raises
        ------
        TimeoutError
            If some were not acknowledged by then.
        """
        if left := self._producer.flush(30):
            raise TimeoutError(f"{left} events were not acknowledged within 30 s")

    def _send(self, topic: str, fields: dict[str, Any]) -> None:
        key = str(fields["prediction_id"]).encode()
        value = json.dumps(fields).encode()
        self._producer.produce(self._prefix + topic, value, key, on_delivery=_report)
        self._producer.poll(0)


def _report(error: KafkaError | None, message: Message) -> None:
    if error is not None:
        print(f"not delivered to {message.topic()}: {error}", file=sys.stderr)


def main(servers: str, prefix: str = "", rows: int = 200) -> None:
    """Send the predictions of an hour, and the ground truth of most of them ten minutes later."""
    chance = random.Random(7)
    events = Events(servers, prefix)
    start = datetime.now(UTC) - timedelta(minutes=70)
    for number in range(rows):
        time = start + timedelta(seconds=3600 * number / rows)
        score = round(chance.betavariate(1, 3), 4)
        events.prediction(
            prediction_id=f"order-{number}",
            model_name="fraud",
            model_version="1.0.0",
            timestamp=time.isoformat(),
            score=score,
            threshold=0.5,
            features={"amount": round(chance.lognormvariate(3, 1), 2), "country": "DE"},
            segment={"channel": chance.choice(["app", "web"])},
            latency_ms=round(chance.uniform(5, 40), 1),
        )
        if chance.random() < 0.9:
            events.ground_truth(
                prediction_id=f"order-{number}",
                label="fraud" if chance.random() < score else "ok",
                timestamp=(time + timedelta(minutes=10)).isoformat(),
            )
    events.flush()
    print(f"sent {rows} predictions to {prefix}predictions")


if __name__ == "__main__":
    main(*sys.argv[1:3])
