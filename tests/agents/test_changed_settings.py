"""A run in a folder with state is refused with any other setting that results depend on."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from driftline.agents.inprocess.replay import replay
from driftline.agents.inprocess.run_identity import RunRefused
from driftline.schemas.config import parse_config
from tests.setting_values import CHANGES, document

pytestmark = pytest.mark.slow

NOW = 1_750_000_000_000


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A recorded log, and the folder of its run."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "log").mkdir()
    prediction = {
        "prediction_id": "a",
        "model_name": "churn",
        "model_version": "1",
        "timestamp": NOW - 3_600_000,
        "prediction": "yes",
    }
    truth = {"prediction_id": "a", "label": "yes", "timestamp": NOW - 1_800_000}
    for name, row in (("predictions", prediction), ("ground-truth", truth)):
        (folder / "log" / f"{name}.jsonl").write_bytes(msgspec.json.encode(row) + b"\n")
    start(folder / "log", folder / "out", document())
    return folder / "log", folder / "out"


def start(log: Path, out: Path, toml: str) -> bool:
    """Run, or go on; returns whether the run was finished before."""
    summary = replay(log, out, parse_config(toml), partitions=1, open_end=True, clock=lambda: NOW)
    return summary.already_finished


@pytest.mark.parametrize("path", CHANGES)
def test_a_changed_setting_is_refused_with_both_values_or_has_no_effect(
    run: tuple[Path, Path], path: str
) -> None:
    log, out = run
    before = {file.name: file.read_bytes() for file in out.glob("*.jsonl")}
    toml = document(CHANGES[path])
    if path.startswith(("kafka.", "redis.")):
        assert start(log, out, toml)
    else:
        with pytest.raises(RunRefused, match=f"its configuration has.* {path} .*, this one ") as at:
            start(log, out, toml)
        assert "choose another --out or delete" in str(at.value)
    assert {file.name: file.read_bytes() for file in out.glob("*.jsonl")} == before
    assert start(log, out, document())
