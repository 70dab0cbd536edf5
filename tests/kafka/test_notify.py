"""The notifier of a running worker: what receivers on loopback get of alerts on their topic."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition

from driftline.agents.kafka.broker import topics
from driftline.agents.kafka.broker.connection import Connection
from driftline.agents.kafka.broker.ranges import offset_ranges
from driftline.agents.kafka.tools.send_log import send_log
from driftline.agents.sample_log import write_sample
from driftline.agents.worker import rights
from driftline.agents.worker.rights import TOPIC, Right
from driftline.schemas.config import parse_config
from tests.kafka.brokers import BrokerProcess, Names
from tests.kafka.guarded import PASSWORD, Guarded, wait_for_rights
from tests.kafka.live_run import finish
from tests.kafka.notify_live import (
    AT_ONCE,
    KAFKA,
    Inbox,
    channels,
    escalation,
    eventually,
    firing,
    inbox,
    notifications,
    resolved,
    write,
)
from tests.kafka.test_alert_acts import Console
from tests.kafka.worker_process import WorkerProcess

pytestmark = pytest.mark.kafka


@contextmanager
def worker_of(
    names: Names, folder: Path, text: str, *, is_started: bool = True
) -> Iterator[tuple[WorkerProcess, Connection]]:
    """A worker with these notifications, and a connection to its broker."""
    connection = names.connection(text, kafka=KAFKA)
    topics.create(connection)
    worker = WorkerProcess(folder, names.toml(text, kafka=KAFKA))
    try:
        if is_started:
            worker.start().until_ready()
        yield worker, connection
    finally:
        worker.kill()


def got(own: Inbox, path: str, *kinds: str) -> None:
    """Wait until a path has taken these kinds, in this order, and nothing else."""
    eventually(
        lambda: len(own.all_kinds(path)) >= len(kinds),
        lambda: f"{path} took {own.all_kinds(path)}, not {kinds}",
    )
    assert own.all_kinds(path) == list(kinds)


def metric(worker: WorkerProcess, name: str, labels: str) -> float:
    """A sample of /metrics."""
    lines = worker.get("/metrics")[1].splitlines()
    (value,) = (line.split()[1] for line in lines if line.startswith(f"{name}{{{labels}}} "))
    return float(value)


def test_one_firing_and_one_resolved_are_received_through_a_restart(
    names: Names, tmp_path: Path
) -> None:
    with (
        inbox() as own,
        worker_of(names, tmp_path, channels({"ops": own.url("/ops")})) as (worker, connection),
    ):
        alert = firing("f1_low")
        write(connection, [alert])
        got(own, "/ops", "firing")
        worker.terminate()
        worker.start().until_ready()
        write(connection, [resolved(alert)])
        got(own, "/ops", "firing", "resolved")
        sent = [*own.taken["/ops"].values()]
        assert [each["group_key"] for each in sent] == ["f1_low", "f1_low"]
        assert [each["alerts"][0]["status"] for each in sent] == ["firing", "resolved"]
        eventually(
            lambda: metric(worker, "driftline_notifications_pending", 'channel="ops"') == 0,
            lambda: worker.get("/metrics")[1],
        )
        labels = 'channel="ops",status="sent"'
        assert metric(worker, "driftline_notifications_total", labels) == 1
        worker.terminate()
        records = {
            id_: [each.status for each in notifications(connection) if each.notification_id == id_]
            for id_ in own.taken["/ops"]
        }
    assert list(records.values()) == [["planned", "sent"], ["planned", "sent"]]


def test_first_start_over_an_old_topic_tells_only_what_is_open(
    names: Names, tmp_path: Path
) -> None:
    with (
        inbox() as own,
        worker_of(names, tmp_path, channels({"ops": own.url("/ops")}), is_started=False) as (
            worker,
            connection,
        ),
    ):
        old = [firing(f"old{number}", model=f"m{number}") for number in range(20)]
        write(connection, old)
        write(connection, [firing("open", model="m3")])
        write(connection, [resolved(alert) for alert in old])
        worker.start().until_ready()
        got(own, "/ops", "firing")
        write(connection, [firing("newer")])
        got(own, "/ops", "firing", "firing")
    groups = [each["group_key"] for each in own.taken["/ops"].values()]
    assert groups == ["open", "newer"]


def test_nobody_acknowledges_so_the_next_level_is_told(names: Names, tmp_path: Path) -> None:
    with inbox() as own:
        text = channels({"ops": own.url("/ops")}, settings=f'{AT_ONCE}\nescalate_after = "3s"') + (
            '[notifications.channels.boss]\ntype = "webhook"\nlevel = 2\nmin_severity = "error"\n'
            f'url = "{own.url("/boss")}"\nallow_private = true\n'
        )
        with worker_of(names, tmp_path, text) as (_, connection):
            write(connection, [firing("left alone", severity="critical")])
            got(own, "/boss", "escalation")
            got(own, "/ops", "firing")


def test_response_escalates_to_the_next_level_once_through_a_kill(
    names: Names, tmp_path: Path
) -> None:
    with inbox() as own:
        more = 'level = 2\nmin_severity = "warning"\n'
        text = channels({"ops": own.url("/ops")}) + (
            f'[notifications.channels.boss]\ntype = "webhook"\n{more}'
            f'url = "{own.url("/boss")}"\nallow_private = true\n'
        )
        with worker_of(names, tmp_path, text) as (worker, connection):
            early = firing("early", severity="warning", model="m3")
            write(connection, [escalation(early)])
            alert = firing("f1_low", severity="error")
            write(connection, [alert, escalation(alert)])
            got(own, "/boss", "escalation")
            got(own, "/ops", "firing")
            worker.kill()
            worker.start().until_ready()
            write(connection, [escalation(alert), early])
            got(own, "/boss", "escalation", "escalation")
            got(own, "/ops", "firing", "firing")
            write(connection, [resolved(alert)])
            got(own, "/boss", "escalation", "escalation", "resolved")
    groups = [each["group_key"] for each in own.taken["/boss"].values()]
    assert groups == ["f1_low", "early", "f1_low"]
    assert own.changed == []


def test_slow_channel_does_not_hold_up_another(names: Names, tmp_path: Path) -> None:
    with inbox() as own:
        is_over = threading.Event()
        own.before_answer = lambda path: None if path == "/quick" else _wait(is_over)
        urls = {"slow": own.url("/slow"), "quick": own.url("/quick")}
        with worker_of(names, tmp_path, channels(urls)) as (worker, connection):
            write(connection, [firing("first")])
            eventually(lambda: own.under_way == 1, lambda: "the slow channel is not tried")
            write(connection, [firing("second", model="other")])
            got(own, "/quick", "firing", "firing")
            assert own.all_kinds("/slow") == ["firing"], "one at a time"
            pending = metric(worker, "driftline_notifications_pending", 'channel="slow"')
            age_s = metric(
                worker, "driftline_notifications_oldest_pending_seconds", 'channel="slow"'
            )
            assert (pending, age_s > 0) == (2, True)
            is_over.set()
            got(own, "/slow", "firing", "firing")


def _wait(event: threading.Event) -> None:
    assert event.wait(30)


def test_worker_that_ends_waits_for_the_send_under_way(names: Names, tmp_path: Path) -> None:
    with inbox() as own:
        own.before_answer = lambda _: time.sleep(0.7)
        with worker_of(names, tmp_path, channels({"ops": own.url("/ops")})) as (worker, connection):
            write(connection, [firing("f1_low")])
            eventually(lambda: own.under_way == 1, lambda: "nothing is sent")
            worker.terminate()
            assert [each.status for each in notifications(connection)] == ["planned", "sent"]
            worker.start().until_ready()
            write(connection, [firing("another", model="other")])
            got(own, "/ops", "firing", "firing")
    assert sorted(own.requests["/ops"].values()) == [1, 1]


def test_what_may_have_been_sent_before_a_kill_is_resolved_after_it(
    names: Names, tmp_path: Path
) -> None:
    with inbox() as own:
        is_over = threading.Event()
        own.before_answer = lambda _: _wait(is_over)
        with worker_of(names, tmp_path, channels({"ops": own.url("/ops")})) as (worker, connection):
            alert = firing("f1_low")
            write(connection, [alert])
            eventually(lambda: own.under_way == 1, lambda: "nothing is sent")
            worker.kill()
            is_over.set()
            write(connection, [resolved(alert)])
            worker.start().until_ready()
            got(own, "/ops", "firing", "resolved")


def test_what_was_sent_before_a_kill_comes_again_with_the_same_key(
    names: Names, tmp_path: Path
) -> None:
    with inbox() as own:
        is_over = threading.Event()
        own.before_answer = lambda _: _wait(is_over)
        with worker_of(names, tmp_path, channels({"ops": own.url("/ops")})) as (worker, connection):
            write(connection, [firing("f1_low")])
            eventually(lambda: own.under_way == 1, lambda: "nothing is sent")
            worker.kill()
            is_over.set()
            worker.start().until_ready()
            eventually(
                lambda: list(own.requests["/ops"].values()) == [2],
                lambda: own.requests["/ops"],
            )
            eventually(
                lambda: [each.status for each in notifications(connection)] == ["planned", "sent"],
                lambda: notifications(connection),
            )
    assert own.changed == []


def test_channel_that_fails_is_logged_counted_and_told_to_the_others(
    names: Names, tmp_path: Path
) -> None:
    with inbox() as own:
        own.status["/s3cret-path"] = 404
        urls = {"ops": own.url("/s3cret-path"), "other": own.url("/other")}
        with worker_of(names, tmp_path, channels(urls)) as (worker, connection):
            write(connection, [firing("first")])
            got(own, "/other", "firing", "firing")
            told = [each["alerts"][0]["rule"] for each in own.taken["/other"].values()]
            assert sorted(told) == ["channel_failed", "first"]
            labels = 'channel="ops",status="failed"'
            assert metric(worker, "driftline_notifications_total", labels) == 1
            failed = metric(worker, "driftline_notification_failed_sends_total", 'channel="ops"')
            assert failed == 1, [(each.attempts, each.error) for each in notifications(connection)]
            assert worker.get("/health/ready")[0] == 200, "the pipeline goes on"
            own.status.clear()
            write(connection, [firing("second", model="other")])
            got(own, "/s3cret-path", "firing")
            got(own, "/other", "firing", "firing", "firing", "resolved")
            log = worker.read_log()
    assert "channel ops does not take notifications: http://127.0.0.1:" in log
    assert "channel ops takes notifications again" in log
    assert "s3cret-path" not in log


def test_another_worker_takes_over_from_a_killed_one(names: Names, tmp_path: Path) -> None:
    with inbox() as own:
        text, kafka = channels({"ops": own.url("/ops")}), KAFKA.replace('static_member = "one"', "")
        connection = names.connection(text, kafka=kafka)
        topics.create(connection)
        toml = names.toml(text, kafka=kafka)
        workers = [WorkerProcess(tmp_path, toml, name=f"w{number}").start() for number in range(2)]
        try:
            for worker in workers:
                worker.until_ready()
            alert = firing("f1_low")
            write(connection, [alert])
            got(own, "/ops", "firing")
            owners: list[WorkerProcess] = []

            def is_owned() -> bool:
                owners[:] = [each for each in workers if 0 in each.tasks("downstream")]
                return len(owners) == 1

            eventually(is_owned, lambda: [each.readiness() for each in workers])
            owners[0].kill()
            write(connection, [resolved(alert)])
            got(own, "/ops", "firing", "resolved")
        finally:
            for worker in workers:
                worker.kill()
    # The result of the first may not have been committed before the kill: then it came twice.
    assert len(own.requests["/ops"]) == 2
    assert own.changed == []


def test_broker_that_is_killed_and_restarted_costs_no_notification(
    own_broker: BrokerProcess, tmp_path: Path
) -> None:
    names = Names(own_broker.servers, "again")
    with (
        inbox() as own,
        worker_of(names, tmp_path, channels({"ops": own.url("/ops")})) as (_, connection),
    ):
        alert = firing("f1_low")
        write(connection, [alert])
        own_broker.kill()
        own_broker.start()
        got(own, "/ops", "firing")
        write(connection, [resolved(alert)])
        got(own, "/ops", "firing", "resolved")


def test_alerts_deleted_before_they_were_read_are_passed_over(names: Names, tmp_path: Path) -> None:
    with (
        inbox() as own,
        worker_of(names, tmp_path, channels({"ops": own.url("/ops")})) as (worker, connection),
    ):
        write(connection, [firing("before")])
        got(own, "/ops", "firing")
        worker.terminate()
        write(connection, [firing("deleted")])
        admin = connection.admin()  # must live until the answer is there
        for log in offset_ranges(connection, ["alerts"])["alerts"]:
            place = TopicPartition(connection.name("alerts"), log.partition, log.end)
            admin.delete_records([place])[place].result()
        worker.start().until_ready()
        write(connection, [firing("after")])
        got(own, "/ops", "firing", "firing")
        assert "were deleted before they were read" in worker.read_log()
    groups = [each["group_key"] for each in own.taken["/ops"].values()]
    assert groups == ["before", "after"]


def test_the_listed_rights_are_enough_and_one_taken_away_ends_the_worker_by_name(
    guarded: Guarded, tmp_path: Path
) -> None:
    with inbox() as own:
        text = channels({"ops": own.url("/ops")})
        free = Connection(parse_config(guarded.free_toml("notified") + text))
        topics.create(free)
        toml = guarded.toml("notified") + text
        ann = Connection(parse_config(toml), None, {"TEST_PASSWORD": PASSWORD})
        guarded.grant(rights.needed(ann))
        wait_for_rights(ann, [])
        worker = WorkerProcess(tmp_path, toml).start()
        try:
            worker.until_ready()
            write(free, [firing("f1_low")])
            got(own, "/ops", "firing")
            assert worker.get("/health/ready")[0] == 200
            lost = Right(TOPIC, "notified.notifications", "Write")
            guarded.revoke(lost)
            write(free, [firing("another", model="other")])
            assert worker.exit_code() == 78
            assert f"lacks rights: {lost}. Grant" in worker.read_log()
        finally:
            worker.kill()


def test_worker_without_channels_needs_no_topic_of_the_notifier(
    names: Names, tmp_path: Path
) -> None:
    with worker_of(names, tmp_path, "") as (worker, connection):
        there = {name for name in connection.reach().topics if name.startswith(names.prefix)}
        assert not {name for name in there if "notif" in name.removeprefix(names.prefix)}
        assert "driftline_notifications_pending{" not in worker.get("/metrics")[1]


@pytest.mark.slow
def test_acknowledgement_by_command_stops_the_escalation_of_a_live_alert(
    names: Names, tmp_path: Path
) -> None:
    write_sample(tmp_path)
    with inbox() as own:
        # At the end of time a command is carried out at once.
        text = 'run.clock = "data"\n' + (tmp_path / "driftline.toml").read_text()
        text += channels(
            {"ops": own.url("/ops")},
            settings=f'{AT_ONCE}\nescalate_after = "30s"\nescalate_from = "warning"',
        )
        text += (
            '[notifications.channels.boss]\ntype = "webhook"\nlevel = 2\nmin_severity = "warning"\n'
            f'url = "{own.url("/boss")}"\nallow_private = true\n'
        )
        with worker_of(names, tmp_path, text) as (worker, connection):
            config = tmp_path / "live.toml"
            config.write_text(names.toml(text, kafka=KAFKA), encoding="utf-8")
            console = Console(names, config)
            send_log(connection, tmp_path / "sample-log", keep_order=True)
            finish(config, [worker])
            fired = console.open_alert()
            eventually(
                lambda: own.kinds("/ops", fired["alert_id"]) == ["firing"],
                lambda: own.taken,
            )
            fired_s = time.monotonic()
            taken = console.act("ack", fired["fingerprint"], "--reason", "on it")
            assert taken.exit_code == 0, taken.output
            assert time.monotonic() < fired_s + 28, "too late for this test"
            time.sleep(max(0.0, fired_s + 38 - time.monotonic()))
            assert own.kinds("/boss", fired["alert_id"]) == []

            again = console.act("unack", fired["fingerprint"], "--reason", "not me")
            assert again.exit_code == 0, again.output
            eventually(
                lambda: own.kinds("/boss", fired["alert_id"]) == ["escalation"],
                lambda: own.taken,
            )
