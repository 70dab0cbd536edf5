"""Output folders: records in order, selections, damaged lines, folders of something else."""

from __future__ import annotations

import pytest

from driftline.agents.output_folder import ReadError, latest
from driftline.agents.results import Results
from driftline.schemas.results import Alert, encode
from driftline.schemas.times import DAY_MS, HOUR_MS, EpochMs


def alert(
    number: int, *, status: str = "firing", model_name: str = "churn", segment: str = "all"
) -> Alert:
    return Alert(
        fingerprint=f"{model_name}/{segment}/f1_low",
        alert_id=f"{model_name}-{number}",
        group_id=f"{model_name}-{number}",
        model_name=model_name,
        model_version="1",
        segment=segment,
        rule="f1_low",
        status=status,
        change="firing" if status == "firing" else "resolved",
        severity="warning",
        summary="F1 is low.",
        starts_at_ms=EpochMs.of("2026-01-05T00:00:00Z"),
        at_ms=EpochMs.of(f"2026-01-05T0{number}:00:00Z"),
    )


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "run.json").write_text('{"config": "abc"}')
    return tmp_path


def write(folder, *alerts, tail=b""):
    (folder / "alerts.jsonl").write_bytes(
        b"".join(encode(record) + b"\n" for record in alerts) + tail
    )


def test_records_come_in_the_order_of_the_file(folder):
    write(folder, alert(2), alert(1), alert(3))
    assert [record.alert_id for record in Results(folder).alerts.structs()] == [
        "churn-2",
        "churn-1",
        "churn-3",
    ]


def test_selection_takes_only_the_wanted_model_and_segment(folder):
    write(folder, alert(1), alert(2, model_name="fraud"), alert(3, segment="plan=pro"))
    alerts = Results(folder).alerts
    assert [record.alert_id for record in alerts.where(model_name="churn").structs()] == [
        "churn-1",
        "churn-3",
    ]
    assert [record.alert_id for record in alerts.where(segment="plan=pro").structs()] == ["churn-3"]
    assert [record.alert_id for record in alerts.where(model_version="2").structs()] == []


def test_line_without_a_line_feed_is_skipped(folder):
    write(folder, alert(1), tail=encode(alert(2))[:40])
    assert len(list(Results(folder).alerts.structs())) == 1


def test_damaged_line_is_named_with_its_file_and_number(folder):
    write(folder, alert(1), tail=b'{"model_name":"churn","model_version":"1","segment":"all"}\n')
    with pytest.raises(ReadError, match=r"alerts\.jsonl:2: not a record of alerts"):
        list(Results(folder).alerts.structs())


def test_topic_without_a_file_has_no_records(folder):
    assert list(Results(folder).metrics) == []


def test_missing_folder_says_how_to_make_one(tmp_path):
    with pytest.raises(ReadError, match="driftline replay LOG --out"):
        Results(tmp_path / "nowhere")


def test_folder_of_something_else_is_an_error(tmp_path):
    with pytest.raises(
        ReadError, match=r"is not the output of a run \(no run\.json, no log\.json\)"
    ):
        Results(tmp_path)


def test_dead_letters_are_counted_by_topic(folder):
    (folder / "predictions.dlq.jsonl").write_text("{}\n{}\n")
    (folder / "ground-truth.dlq.jsonl").write_text("")
    assert Results(folder).rejected == {"predictions": 2}


def test_latest_of_a_group_is_the_greatest_and_among_equals_the_last():
    records = [
        alert(2, status="firing"),
        alert(1, status="resolved"),
        alert(2, status="resolved"),
        alert(1, model_name="a"),
    ]
    newest = latest(
        records, group=lambda record: record.model_name, order=lambda record: record.at_ms
    )
    assert [
        (record.model_name, record.at_ms % DAY_MS // HOUR_MS, record.status) for record in newest
    ] == [
        ("a", 1, "firing"),
        ("churn", 2, "resolved"),
    ]
