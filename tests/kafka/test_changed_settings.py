"""Settings that are changed between two starts of a worker with state, on a real broker."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from driftline.agents.doctor.broker import check_settings
from driftline.agents.inprocess.replay import replay
from driftline.agents.kafka.broker import failures
from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.topics import create
from driftline.agents.kafka.stages.downstream import downstream_processors
from driftline.agents.kafka.stages.join import join_processors
from driftline.agents.kafka.task.runtime import Runtime
from driftline.agents.kafka.task.task import Task
from driftline.agents.kafka.tools.export import export
from driftline.agents.kafka.tools.finish import FinishError
from driftline.agents.kafka.tools.finish import finish as finish_workers
from driftline.agents.kafka.tools.lag import lag
from driftline.agents.kafka.tools.send_log import send_log
from driftline.agents.sample_log import write_sample
from driftline.schemas.config import load_config, parse_config
from driftline.schemas.setting_changes import KAFKA, MODEL, REDIS, RUN, recorded_settings
from driftline.schemas.times import parse_time
from tests.kafka.brokers import Names
from tests.kafka.live_run import finish, result_differences
from tests.kafka.worker_process import WorkerProcess
from tests.setting_values import CHANGES, document

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

EFFECTS = {
    f"{table}.{key}": effect
    for table, effects in (
        ("run", RUN),
        ("models.churn", MODEL),
        ("kafka", KAFKA),
        ("redis", REDIS),
    )
    for key, effect in effects.items()
}
NEW_RULE = (
    '[{ type = "threshold", name = "accuracy_above", metric = "accuracy", window = "1d", '
    'maturity = "1h", above = 0.01, min_samples = 1 }]'
)
IN_FORCE = {
    "models.churn.rules": NEW_RULE,
    "models.churn.default_rules": "false",
    "run.max_ahead": '"1h"',
    "kafka.commit_interval": '"50ms"',
    "kafka.memory": '"32MB"',
}


def toml_of(names: Names, change: Mapping[str, str]) -> str:
    """The configuration of the test's own program, changed."""
    own = {
        "run.topic_prefix": f'"{names.prefix}"',
        "kafka.app": f'"{names.app}"',
        "kafka.bootstrap_servers": f'"{names.servers}"',
    }
    return document(own | dict(change))


def halves(log: Path, folder: Path) -> Iterator[Path]:
    """The rows of a log before and after the middle of its time, as two logs."""
    rows = {
        topic: [
            (json.loads(line)["timestamp"], line)
            for line in (log / f"{topic}.jsonl").read_bytes().splitlines()
        ]
        for topic in ("predictions", "ground-truth")
    }
    times = sorted(time for time, _ in rows["predictions"])
    cut = times[len(times) // 2]
    for half in ("first", "second"):
        (folder / half).mkdir()
        for topic, timed in rows.items():
            lines = [line for time, line in timed if (time < cut) == (half == "first")]
            (folder / half / f"{topic}.jsonl").write_bytes(b"\n".join(lines))
        yield folder / half


def test_every_setting_is_refused_or_in_force_from_a_moment_that_the_replay_follows(
    names: Names, tmp_path: Path, stops: list[str]
) -> None:
    write_sample(tmp_path)
    first, second = halves(tmp_path / "sample-log", tmp_path)
    before = parse_config(toml_of(names, {}))
    connection = Connection(before, names.servers)
    create(connection)
    worker = WorkerProcess(tmp_path, toml_of(names, {})).start()
    try:
        worker.until_ready()
        send_log(connection, first)
        worker.until(
            lambda: [lag(connection, kind) for kind in ("join", "downstream")] == [0, 0],
            "has a lag",
        )
        worker.terminate()

        for path, change in CHANGES.items():
            found = _opened(names, toml_of(names, change), tmp_path / "checked", stops)
            if EFFECTS[path] == "refused":
                (message,) = found
                assert message.startswith(f"{failures.CONFIGURATION}: {names.prefix}"), path
                assert f"{path} was " in message
            else:
                assert found == [], path

        _assert_doctor_and_finish_compare_settings(names)
        refused = WorkerProcess(
            tmp_path, toml_of(names, CHANGES["models.churn.positive_label"]), name="refused"
        ).start()
        assert refused.exit_code() == failures.CONFIGURATION
        assert 'models.churn.positive_label was "yes", is now "no"' in refused.read_log()

        worker = WorkerProcess(tmp_path, toml_of(names, IN_FORCE)).start()
        worker.until_ready()
        send_log(connection, second)
        finish(tmp_path / "w.toml", [worker])
        assert 'run.max_ahead was "5m", is now "1h"; in force from' in worker.read_log()
        worker.terminate()
    finally:
        worker.kill()
    export(connection, tmp_path / "export")

    recorded = load_config(tmp_path / "export" / "driftline.toml")
    in_force = parse_config(toml_of(names, IN_FORCE))
    assert recorded_settings(recorded, partitions=True) == recorded_settings(
        in_force, partitions=True
    )
    effects = _lines(tmp_path / "export" / "registry-effects.jsonl")
    (changed,) = [effect for effect in effects if "settings" in effect]
    assert changed["settings"]["rules"][0]["name"] == "accuracy_above"
    assert changed["settings_before"]["rules"] == []
    alerts = [
        alert
        for alert in _lines(tmp_path / "export" / "alerts.jsonl")
        if alert["rule"] == "accuracy_above"
    ]
    assert alerts
    assert all(parse_time(alert["starts_at"]) > parse_time(changed["frontier"]) for alert in alerts)
    replay(tmp_path / "export", tmp_path / "replayed", recorded, partitions=2, follow=True)
    assert result_differences(tmp_path) == {}


def _assert_doctor_and_finish_compare_settings(names: Names) -> None:
    same = Connection(parse_config(toml_of(names, {})), names.servers)
    assert [found.level for found in check_settings(same)] == ["ok"]
    longer = {"models.churn.label_horizon": '"15d"', "models.churn.rules": NEW_RULE}
    config = parse_config(toml_of(names, longer))
    other = Connection(config, names.servers)
    findings = {found.message.split()[0]: found.level for found in check_settings(other)}
    assert findings == {
        "models.churn.maturity": "problem",
        "models.churn.label_horizon": "problem",
        "models.churn.rules": "note",
    }
    words = 'models.churn.label_horizon was "14d", is now "15d"; call it with the configuration of'
    with pytest.raises(FinishError, match=words):
        finish_workers(other, config, timeout_s=5.0)


def _opened(names: Names, toml: str, folder: Path, stops: list[str]) -> list[str]:
    """Open a task of each kind with its state, unless the configuration is that of another
    program; returns why the process would stop.
    """
    config = parse_config(toml)
    if (config.topic_prefix, config.kafka.app) != (names.prefix, names.app):
        return []
    connection = Connection(config, names.servers)
    stops.clear()
    runtime = Runtime(connection, folder)

    def clock() -> int:
        return 0

    for kind, processors in (("join", join_processors), ("downstream", downstream_processors)):
        task = Task(runtime, kind, 0, processors(config, clock=clock))
        try:
            task.open()
        except SystemExit:
            break
        finally:
            task.close()
    runtime.close()
    return list(stops)


def _lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
