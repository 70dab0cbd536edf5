"""`models list` and `doctor` name the rules that cannot judge a version for lack of rows."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

import driftline
from driftline.agents.cli.program import driftline as program
from driftline.agents.doctor.output_folder import check_rules
from driftline.schemas.results import RegistryEntry, RuleWindow, RuleWindows, encode
from driftline.schemas.times import EpochMs

REASON = "needs 100 predictions: 0 of 9 windows of 7d/1d have as many"


def rule_windows(at_ms: int, *reasons: str | None, segment: str = "all") -> RuleWindows:
    """Windows of the rules error_rate and latency of churn 1."""
    return RuleWindows(
        model_name="churn",
        model_version="1",
        segment=segment,
        at_ms=EpochMs(at_ms),
        rules={
            name: RuleWindow(
                window="7d/1d",
                min_samples=100,
                judges=reason is None,
                n_windows=9,
                n_enough=0,
                reason=reason,
            )
            for name, reason in zip(("error_rate", "latency"), reasons, strict=True)
        },
    )


def write_output(folder: Path, *records: RuleWindows) -> Path:
    """An exported folder with one version in the registry."""
    folder.mkdir()
    (folder / "log.json").write_text("{}")
    entry = RegistryEntry(model_name="churn", model_version="1", stage="production", revision=1)
    (folder / "registry.jsonl").write_bytes(encode(entry) + b"\n")
    (folder / "rule-windows.jsonl").write_bytes(b"".join(encode(each) + b"\n" for each in records))
    return folder


def test_rules_without_rows_stand_in_models_list_and_in_doctor(tmp_path: Path) -> None:
    out = write_output(
        tmp_path / "out",
        rule_windows(1, None, None),
        rule_windows(2, REASON, REASON),
        rule_windows(3, None, None, segment="plan=pro"),
    )
    arguments = ["models", "list", "--out", str(out)]
    (row,) = json.loads(CliRunner().invoke(program, [*arguments, "--json"]).output)
    assert row["not_judged"] == {"error_rate": REASON, "latency": REASON}
    assert "error_rate, latency" in CliRunner().invoke(program, arguments).output
    (found,) = check_rules(driftline.open(out))
    assert (found.check, found.level) == ("rules", "note")
    assert found.message == f"churn 1: error_rate, latency cannot judge: each {REASON}"


def test_rules_that_judge_by_the_newest_record_are_not_named(tmp_path: Path) -> None:
    out = write_output(
        tmp_path / "out", rule_windows(1, REASON, REASON), rule_windows(2, None, REASON)
    )
    (found,) = check_rules(driftline.open(out))
    assert found.message == f"churn 1: latency cannot judge: it {REASON}"
    fitting = write_output(tmp_path / "fitting", rule_windows(1, None, None))
    assert list(check_rules(driftline.open(fitting))) == []
    arguments = ["models", "list", "--out", str(fitting), "--json"]
    (row,) = json.loads(CliRunner().invoke(program, arguments).output)
    assert row["not_judged"] == {}
