"""Responses to an alert of a live run, through kills, and their replay."""

from __future__ import annotations

import json
import time
from pathlib import Path
from random import Random
from threading import Thread
from typing import Any

import pytest
from click.testing import CliRunner

import driftline
from driftline.agents.cli.program import driftline as program
from driftline.agents.inprocess.replay import replay
from driftline.agents.kafka.broker.topics import create
from driftline.agents.kafka.tools.alert_topics import read_actions
from driftline.agents.kafka.tools.export import export
from driftline.agents.kafka.tools.send_log import send_log
from tests.agents.response_log import EPISODE, write_response_log
from tests.kafka.brokers import Names
from tests.kafka.live_run import KAFKA, finish, result_differences
from tests.kafka.worker_process import WorkerProcess

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

KILLS = 3
WAIT_S = 240.0


def test_an_alert_leads_to_its_actions_once_though_the_worker_is_killed(
    names: Names, tmp_path: Path
) -> None:
    random = Random(96)
    written, log = write_response_log(tmp_path)
    config = 'run.clock = "data"\n' + written.read_text()
    toml, connection = names.toml(config, kafka=KAFKA), names.connection(config, kafka=KAFKA)
    create(connection)
    live = tmp_path / "live.toml"
    live.write_text(toml, encoding="utf-8")
    worker = WorkerProcess(tmp_path, toml, name="w").start()
    failed: list[BaseException] = []

    def end() -> None:
        try:
            finish(live, [worker])
        except BaseException as error:
            failed.append(error)

    ending = Thread(target=end)
    try:
        worker.until_ready()
        send_log(connection, log, keep_order=True)
        ending.start()
        for _ in range(KILLS):
            time.sleep(random.uniform(0.2, 2.5))
            worker.kill()
            worker.start().until_ready()
        until_s = time.monotonic() + WAIT_S
        while not read_actions(connection) and time.monotonic() < until_s:
            time.sleep(0.1)
        worker.kill()  # what it committed is there again, and is not done again
        worker.start().until_ready()
        ending.join(WAIT_S)
        assert not failed, failed
        worker.terminate()
    finally:
        worker.kill()
        ending.join(WAIT_S)

    def said(*words: str) -> Any:
        options = ["--json", "--broker", names.servers, "--config", str(live)]
        result = CliRunner().invoke(program, [*words, *options])
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    decided = [(each["action"], each["outcome"]) for each in said("actions", "list")]
    assert decided == [
        ("rollback_configuration", "taken"),
        ("rollback_version", "taken"),
        ("clear_cache", "dry_run"),
    ]
    shown = said("alerts", "show", EPISODE)
    assert [each["change"] for each in shown if "change" in each] == ["firing"]
    assert len(shown) == 1 + len(decided)
    export(connection, tmp_path / "export")
    exported = driftline.open(tmp_path / "export")
    events = [each for each in exported.registry_events.structs() if each.cause == EPISODE]
    assert [(each.event, each.requested_by) for each in events] == [("rollback", "driftline")] * 2
    stages = {each.model_version: each.stage for each in exported.registry.latest().structs()}
    assert stages == {"1.4.1": "production", "1.4.2": "staging"}
    settings = names.config(config, kafka=KAFKA)
    for follow in (False, True):
        again = tmp_path / f"follow-{follow}"
        again.mkdir()
        (again / "export").symlink_to(tmp_path / "export")
        replay(
            tmp_path / "export",
            again / "replayed",
            settings,
            partitions=settings.kafka.input_partitions,
            follow=follow,
        )
        assert result_differences(again) == {}
