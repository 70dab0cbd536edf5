"""A worker whose clock differs from the broker's: it is not ready and says so, rejects no row of
the present, and writes no tick of the future.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from driftline.agents.cli.program import driftline
from driftline.agents.kafka.broker import topics
from driftline.agents.kafka.broker.broker_clock import BrokerClock, Measurement
from driftline.agents.kafka.broker.ranges import offset_ranges
from driftline.agents.kafka.broker.received_records import ReceivedRecords
from driftline.agents.kafka.stages.join import JoinProcessor
from driftline.agents.kafka.stages.ticking import BEHIND_MS
from driftline.agents.kafka.tools.lag import lag
from driftline.agents.state.dict_state import MemoryState
from driftline.schemas.config import parse_config
from driftline.schemas.decode import decode_ticks
from driftline.schemas.topics import PREDICTIONS, TICKS
from tests.kafka.brokers import Names
from tests.kafka.worker_process import WorkerProcess

NOW_MS = 1_790_000_000_000
TWO_HOURS_MS = 7_200_000
MINUTE_MS = 60_000
CONFIG = parse_config("[kafka]\ninput_partitions = 1\npartitions = 1")
KAFKA = "input_partitions = 1\npartitions = 1\nreplication_factor = 1"
# The machine's clock as Python sees it, ahead by the seconds in a file.
SHIFTED_TIME = """
import time
local, local_ns = time.time, time.time_ns
def seconds():
    with open({path!r}) as file:
        return int(file.read() or 0)
time.time = lambda: local() + seconds()
time.time_ns = lambda: local_ns() + seconds() * 10**9
"""


def taken(ahead_ms: int, row_ms: int) -> list[str]:
    """Topics to which a worker writes for a prediction, with its clock ahead of the broker's."""
    join = JoinProcessor(CONFIG, 0, MemoryState(), clock=lambda: NOW_MS, ahead=lambda: ahead_ms)
    _take(join, row_ms)
    return [out.topic for out in join.process({PREDICTIONS: 1})]


def _take(join: JoinProcessor, row_ms: int) -> None:
    names = '"model_name":"m","model_version":"1","score":0.5'
    value = f'{{"prediction_id":"a","timestamp":{row_ms},{names}}}'.encode()
    join.take(
        ReceivedRecords(
            topic=PREDICTIONS,
            partition=0,
            offsets=[0],
            keys=[b"a"],
            values=[value],
            timestamps_ms=[0],
            start=0,
            next=1,
        )
    )


@pytest.mark.parametrize("ahead_ms", [-TWO_HOURS_MS, 0, TWO_HOURS_MS])
def test_rows_of_the_present_by_either_clock_are_accepted(ahead_ms: int) -> None:
    assert "predictions.dlq" not in taken(ahead_ms, NOW_MS)
    assert "predictions.dlq" not in taken(ahead_ms, NOW_MS + ahead_ms)
    later_ms = NOW_MS + max(0, ahead_ms) + CONFIG.max_ahead_ms
    assert "predictions.dlq" not in taken(ahead_ms, later_ms)
    assert "predictions.dlq" in taken(ahead_ms, later_ms + 1)


@pytest.mark.parametrize("ahead_ms", [-TWO_HOURS_MS, 0, TWO_HOURS_MS])
def test_ticks_of_idle_partitions_follow_the_earlier_clock(ahead_ms: int) -> None:
    now_ms = NOW_MS
    join = JoinProcessor(CONFIG, 0, MemoryState(), clock=lambda: now_ms, ahead=lambda: ahead_ms)
    _take(join, NOW_MS - 4 * TWO_HOURS_MS)
    join.process({PREDICTIONS: 1})
    join.note_caught_up(True, now_ms=now_ms)
    now_ms += 2 * MINUTE_MS
    (tick,) = [out.value for out in join.process({PREDICTIONS: 1}) if out.topic == TICKS]
    ((row,), _, _) = decode_ticks([tick or b""], [0])
    limit_ms = now_ms + min(0, ahead_ms) - BEHIND_MS
    assert limit_ms - CONFIG.pane_ms - CONFIG.truth_grace_ms <= row.timestamp_ms <= limit_ms


def test_a_jump_of_the_machines_clock_does_not_move_the_brokers_time() -> None:
    local_ms, steady_s = NOW_MS, 5.0
    clock = BrokerClock(local=lambda: local_ms, steady=lambda: steady_s)
    assert (clock(), clock.ahead_ms()) == (NOW_MS, 0)
    clock.note(Measurement(broker_ms=NOW_MS + 250, at_s=5.0, round_trip_s=0.01))
    assert (clock(), clock.ahead_ms()) == (NOW_MS + 250, -250)
    local_ms, steady_s = NOW_MS + TWO_HOURS_MS, 6.0
    assert (clock(), clock.ahead_ms()) == (NOW_MS + 1_250, TWO_HOURS_MS - 1_250)


@pytest.mark.kafka
def test_a_worker_with_a_wrong_clock_is_not_ready_and_joins_what_comes(
    names: Names, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shift = tmp_path / "shift"
    shift.write_text("-7200")
    (tmp_path / "sitecustomize.py").write_text(SHIFTED_TIME.format(path=str(shift)))
    found = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(found))
    connection = names.connection(kafka=KAFKA)
    topics.create(connection)
    worker = WorkerProcess(tmp_path, names.toml(kafka=KAFKA), fresh=True).start()
    try:
        worker.until(lambda: "clock" in str(worker.readiness().get("reasons")), "is ready")
        assert "behind the broker's" in str(worker.readiness()["reasons"])
        assert worker.get("/health/ready")[0] == 503
        _send(names, 100)
        worker.until(lambda: lag(connection, "join") == 0, "lags")
        counts = worker.get("/metrics")[1]
        ahead_s = float(counts.partition("\ndriftline_clock_ahead_seconds ")[2].split()[0])
        assert ahead_s == pytest.approx(-7200, abs=5)
        shift.write_text("0")
        worker.until_ready()
        shift.write_text("7200")
        worker.until(
            lambda: "ahead of the broker's" in str(worker.readiness().get("reasons")), "is ready"
        )
        shift.write_text("0")
        worker.until_ready()
        worker.terminate()
        log = worker.read_log()
        assert "s behind the broker's" in log
        assert "synchronize the wrong one of them" in log
        assert "Traceback" not in log
    finally:
        worker.kill()
    logs = offset_ranges(connection, ["predictions.dlq", "ground-truth.dlq"])
    assert [part.end for parts in logs.values() for part in parts] == [0, 0]


@pytest.mark.kafka
def test_doctor_compares_the_clocks(
    names: Names, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    topics.create(names.connection(kafka=KAFKA))
    config = tmp_path / "driftline.toml"
    config.write_text(names.toml(kafka=KAFKA))
    words = ["doctor", "--json", "--config", str(config), "--out", str(tmp_path / "none")]

    def clock_check() -> dict[str, str]:
        rows = json.loads(CliRunner().invoke(driftline, words).stdout)
        (found,) = [row for row in rows if row["check"] == "clock"]
        return dict(found)

    assert clock_check()["level"] == "ok"
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + 7_200 * 10**9)
    found = clock_check()
    assert found["level"] == "problem"
    assert "ahead of the broker's" in found["message"]
    assert "kafka.max_clock_error = 60 s" in found["message"]
    assert found["remedy"] == "synchronize the wrong one of them (NTP)"


def _send(names: Names, count: int) -> None:
    producer = names.connection().producer()
    for number in range(count):
        key, at_ms = f"p{number}", time.time_ns() // 1_000_000
        row = {
            "prediction_id": key,
            "model_name": "m",
            "model_version": "1",
            "timestamp": at_ms,
            "prediction": "yes",
        }
        truth = {"prediction_id": key, "label": "yes", "timestamp": at_ms + 1}
        producer.produce(f"{names.prefix}predictions", json.dumps(row), key)
        producer.produce(f"{names.prefix}ground-truth", json.dumps(truth), key)
    assert producer.flush(30) == 0
