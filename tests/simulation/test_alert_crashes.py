"""A short campaign of crashes of runs with alerts and commands, and faults that its count finds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.simulation import runs
from tests.simulation.alert_crashes import Report, campaign, count
from tests.simulation.alert_log import AlertLog


def test_no_record_is_lost_or_doubled_through_crashes(tmp_path: Path) -> None:
    report = campaign(tmp_path, seed=15, crashes=20)
    assert report.faults == []
    assert (report.crashes, report.lost, report.doubled) == (20, 0, 0)
    assert report.records > 200
    assert report.episodes > 20
    assert report.acknowledged > 2
    assert report.silenced > 2


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[AlertLog, Path]:
    """A log and the outputs of its run."""
    folder = tmp_path_factory.mktemp("undisturbed")
    log = AlertLog.drawn(15)
    log.write(folder / "log")
    runs.run(folder / "log", folder / "out", partitions=2, batch=60)
    return log, folder / "out"


def counted(log: AlertLog, out: Path) -> Report:
    report = Report()
    count(log, out, report)
    return report


def test_logs_hold_every_kind_of_act(undisturbed: tuple[AlertLog, Path]) -> None:
    log, out = undisturbed
    report = counted(log, out)
    assert (report.lost, report.doubled, report.faults) == (0, 0, [])
    written = (out / "alert-events.jsonl").read_text() + (out / "alerts.jsonl").read_text()
    for event in ("acknowledge", "unacknowledge", "silence", "unsilence", "rejected"):
        assert f'"event":"{event}"' in written
    for change in ("firing", "acknowledged", "silenced", "unsilenced", "resolved"):
        assert f'"change":"{change}"' in written
    assert '"event":"set_rule_level"' in (out / "registry-events.jsonl").read_text()


@pytest.mark.parametrize(
    ("topic", "what"),
    [
        ("alerts", '"change":"firing"'),
        ("alerts", '"change":"resolved"'),
        ("alerts", '"change":"silenced"'),
        ("alerts", '"change":"acknowledged"'),
        ("alert-events", '"event":"silence"'),
        ("alert-events", '"event":"rejected"'),
        ("registry-events", '"event":"set_rule_level"'),
        ("alert-commands.dlq", ""),
    ],
)
def test_a_missing_and_a_doubled_record_are_counted(
    tmp_path: Path, undisturbed: tuple[AlertLog, Path], topic: str, what: str
) -> None:
    log, out = undisturbed

    def changed(change: Callable[[list[str], int], None]) -> Report:
        for path in out.glob("*.jsonl"):
            (tmp_path / path.name).write_bytes(path.read_bytes())
        lines = (out / f"{topic}.jsonl").read_text().splitlines(keepends=True)
        # The last one: a level that is no longer known to be accepted changes what follows.
        place = max(number for number, line in enumerate(lines) if what in line)
        change(lines, place)
        (tmp_path / f"{topic}.jsonl").write_text("".join(lines))
        return counted(log, tmp_path)

    lost = changed(lambda lines, place: lines.__delitem__(place))
    doubled = changed(lambda lines, place: lines.insert(place, lines[place]))
    assert (doubled.lost, doubled.doubled) == (0, 1)
    if topic == "registry-events":
        assert lost.lost > 0
    else:
        assert (lost.lost, lost.doubled) == (1, 0)
