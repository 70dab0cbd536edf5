"""People's acts on a live run, with the verbs of `driftline alerts` and `driftline models`, and
their replay.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from driftline.agents.cli.program import driftline
from driftline.agents.inprocess.replay import replay
from driftline.agents.kafka.broker.topics import create
from driftline.agents.kafka.tools.export import export
from driftline.agents.kafka.tools.send_log import send_log
from driftline.agents.sample_log import write_sample
from tests.kafka.brokers import Names
from tests.kafka.live_run import KAFKA, finish, result_differences
from tests.kafka.worker_process import WorkerProcess

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

WAIT_S = 60.0


class Console:
    """The verbs of a group on the broker of a test."""

    def __init__(self, names: Names, config: Path) -> None:
        self.options = ["--broker", names.servers, "--config", str(config)]

    def run(self, *words: str, group: str = "alerts") -> Result:
        return CliRunner().invoke(driftline, [group, *words, *self.options])

    def read(self, *words: str) -> Any:
        result = self.run(*words, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def act(self, *words: str, group: str = "alerts") -> Result:
        return self.run(*words, "--by", "ann", "--wait", f"{WAIT_S}", group=group)

    def change(self, *words: str) -> list[str]:
        """The lines that a verb of `driftline models` answers with, which accepts the change."""
        result = self.act(*words, group="models")
        assert result.exit_code == 0, result.output
        return result.stdout.splitlines()

    def level(self, name: str) -> tuple[float, str | None]:
        """The level below which a rule of the model fires, and who set it by a command."""
        (rule,) = [each for each in self.read("rules", "--model", "churn") if each["name"] == name]
        return rule["below"], rule.get("command", {}).get("set_by")

    def open_alert(self) -> dict[str, Any]:
        """The only open alert, once there is one."""
        until_s = time.monotonic() + WAIT_S
        while not (rows := self.read("list")) and time.monotonic() < until_s:
            time.sleep(0.5)
        (row,) = rows
        assert isinstance(row, dict)
        return row


def test_acts_on_a_live_alert_are_answered_recorded_and_replayed(
    names: Names, tmp_path: Path
) -> None:
    write_sample(tmp_path)
    # At the end of time a command is carried out at once.
    config = 'run.clock = "data"\n' + (tmp_path / "driftline.toml").read_text()
    toml, connection = names.toml(config, kafka=KAFKA), names.connection(config, kafka=KAFKA)
    create(connection)
    (tmp_path / "live.toml").write_text(toml, encoding="utf-8")
    console = Console(names, tmp_path / "live.toml")
    worker = WorkerProcess(tmp_path, toml, name="w").start()
    try:
        worker.until_ready()
        send_log(connection, tmp_path / "sample-log", keep_order=True)
        # F1 of the second day is judged two days later, which only `finish` reaches.
        level = console.run(
            *("threshold", "churn", "f1", "--below", "0.79", "--by", "ann", "--wait", "1"),
            *("--at", "2025-06-03T12:00:00Z"),
        )
        assert level.exit_code == 0, level.output
        finish(tmp_path / "live.toml", [worker])
        fired = console.open_alert()
        assert (fired["rule"], fired["status"]) == ("f1_low", "firing")
        assert fired["threshold"] == 0.79

        taken = console.act("ack", fired["fingerprint"][:6], "--reason", "on it")
        assert (taken.exit_code, taken.stdout) == (0, f"acknowledge: {fired['alert_id']}\n")
        quiet = console.act("silence", "--model", "churn", "--for", "900w", "--id", "long")
        assert quiet.exit_code == 0, quiet.output
        worker.kill()  # what it committed is there again
        worker.start()
        row = console.open_alert()
        assert (row["status"], row["silenced_by"]) == ("silenced", ["long"])
        assert row["acknowledged"]["by"] == "ann"
        assert [each["id"] for each in console.read("silences")] == ["long"]
        loud = console.act("unsilence", "long", "--model", "churn")
        assert loud.exit_code == 0, loud.output
        wrong = console.act("silence", "--model", "churn", "--for", "1h", "--name", "f1_lo")
        assert wrong.exit_code == 1
        assert "rejected: silence: churn has no rule 'f1_lo'" in wrong.stdout
        missed = console.act("threshold", "churn", "f1", "--below", "79")
        assert missed.exit_code == 1
        assert 'rejected: set_rule_level: params.below: 79.0 lies outside [0, 1]; "f1"' in (
            missed.stdout
        )
        assert console.level("f1_low") == (0.79, "ann")
        back = console.act("threshold", "churn", "f1_low", "--reset", "--reason", "too early")
        assert back.exit_code == 0, back.output
        assert "rules.f1_low.below: 0.79 -> 0.8" in back.stdout
        assert console.level("f1_low") == (0.8, None)

        tried = console.change("promote", "churn@1.4.2", "--dry-run")
        assert tried[0].startswith("would change, revision ")
        assert console.change("promote", "churn@1.4.2", "--reason", "the best one")[-1] == (
            "1.4.2 stage: development -> production"
        )
        console.change("register", "churn@2.0.0", "--threshold", "0.4", "--owner", "ann")
        refused = console.act("archive", "churn@1.4.2", group="models")
        assert refused.exit_code == 1
        assert "rejected: archive: churn 1.4.2 is in production; promote" in refused.stdout
        console.change("update", "churn@2.0.0", "--tag", "team=growth")
        console.change("archive", "churn@2.0.0")
        assert console.change("delete", "churn@2.0.0")[-1].startswith("2.0.0 deleted_at: ")
        assert console.change("rollback", "churn@2.0.0")[-1] == "2.0.0 deleted_at"
        worker.terminate()
    finally:
        worker.kill()
    assert [each["change"] for each in console.read("show", fired["fingerprint"])] == [
        "firing",
        "acknowledged",
        "silenced",
        "unsilenced",
    ]
    export(connection, tmp_path / "export")
    settings = names.config(config, kafka=KAFKA)
    replay(
        tmp_path / "export",
        tmp_path / "replayed",
        settings,
        partitions=settings.kafka.input_partitions,
        follow=True,
    )
    assert result_differences(tmp_path) == {}
