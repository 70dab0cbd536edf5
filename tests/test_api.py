"""The Python API: any kind of input gives the records of the command, in typed columns."""

from __future__ import annotations

import gc
import json
import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import polars
import pyarrow
import pyarrow.parquet
import pytest
from click.testing import CliRunner

import driftline
from driftline.agents.cli.program import driftline as command
from driftline.agents.sample_log import sample_rows, write_sample
from driftline.schemas.times import parse_time

TOPICS = ("metrics", "histograms", "drift", "alerts", "recommendations", "registry")
CONFIG = {
    "defaults": {
        "windows": ["1h"],
        "maturity": ["1h", "6h"],
        "label_horizon": "1d",
        "segments": ["plan"],
        "last_n": [],
        "since_deployment": False,
        "positive_label": "yes",
    }
}


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample log, its configuration, and the output of the command."""
    folder = tmp_path_factory.mktemp("sample")
    config, log = write_sample(folder)
    arguments = ["replay", str(log), "--config", str(config), "--out", str(folder / "out")]
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 0, done.output
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.jsonl"))}


def labelled_rows(rows: int = 200) -> list[dict[str, Any]]:
    """One dictionary per row of a table, with label and time of the label beside the prediction."""
    start = parse_time("2026-01-05T00:00:00Z")
    draw = np.random.default_rng(3)
    return [
        {
            "prediction_id": f"p{i}",
            "timestamp": datetime.fromtimestamp((start + i * 60_000) / 1000, UTC),
            "model_name": "churn",
            "model_version": "1",
            "score": round(float(draw.random()), 3),
            "label": "yes" if draw.random() < 0.4 else "no",
            "label_timestamp": datetime.fromtimestamp((start + i * 60_000 + 1_800_000) / 1000, UTC),
            "plan": "pro" if i % 3 else "free",
            "age": None if i % 7 == 0 else 20 + i % 40,
        }
        for i in range(rows)
    ]


PREDICTION_COLUMNS = ["prediction_id", "timestamp", "model_name", "model_version", "score", "plan"]


def test_the_folder_of_a_log_gives_the_bytes_of_the_command(sample: Path, tmp_path: Path) -> None:
    results = driftline.replay(
        sample / "sample-log", config=sample / "driftline.toml", out=tmp_path / "out"
    )
    assert files(results.folder) == files(sample / "out")
    assert results.summary is not None
    assert results.summary.written["metrics"] == len(results.metrics)
    assert results.rejected == {"predictions": 1}


@pytest.mark.parametrize("kind", ["paths", "dictionaries", "generator"])
def test_json_lines_and_dictionaries_give_the_bytes_of_the_command(
    sample: Path, tmp_path: Path, kind: str
) -> None:
    log = sample / "sample-log"
    inputs: list[Any] = [log / "predictions.jsonl", str(log / "ground-truth.jsonl")]
    if kind != "paths":
        inputs = list(sample_rows())
    if kind == "generator":
        inputs = [(row for row in rows) for rows in inputs]
    driftline.replay(*inputs, config=str(sample / "driftline.toml"), out=tmp_path / "out")
    assert files(tmp_path / "out") == files(sample / "out")


@pytest.mark.parametrize("kind", ["pandas", "pandas-index", "polars", "pyarrow", "csv", "parquet"])
def test_a_table_with_labels_gives_the_bytes_of_the_command_on_that_table(
    tmp_path: Path, kind: str
) -> None:
    rows = labelled_rows()
    table = pyarrow.Table.from_pylist(rows)
    pyarrow.parquet.write_table(table, tmp_path / "table.parquet")
    config = tmp_path / "driftline.toml"
    config.write_text(
        '[defaults]\nwindows = ["1h"]\nmaturity = ["1h", "6h"]\nlabel_horizon = "1d"\n'
        'segments = ["plan"]\nlast_n = []\nsince_deployment = false\npositive_label = "yes"\n'
    )
    arguments = [
        "replay",
        tmp_path / "table.parquet",
        "--config",
        config,
        "--out",
        tmp_path / "cli",
    ]
    done = CliRunner().invoke(command, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output

    source: Any = {
        "pandas": lambda: pandas.DataFrame(rows),
        "pandas-index": lambda: pandas.DataFrame(rows).sample(frac=1, random_state=1),
        "polars": lambda: polars.DataFrame(rows),
        "pyarrow": lambda: table,
        "csv": lambda: tmp_path / "table.csv",
        "parquet": lambda: str(tmp_path / "table.parquet"),
    }[kind]()
    if kind == "csv":
        pandas.DataFrame(rows).to_csv(tmp_path / "table.csv", index=False)
    results = driftline.replay(source, config=CONFIG, out=tmp_path / "api")
    assert len(results.metrics) > 20
    assert results.rejected == {}
    assert files(results.folder) == files(tmp_path / "cli")


@pytest.mark.parametrize("frame", [pandas.DataFrame, polars.DataFrame, pyarrow.Table.from_pylist])
@pytest.mark.parametrize("mixed", [False, True])
def test_ground_truth_in_a_frame_of_its_own_is_joined_by_id(frame: Any, mixed: bool) -> None:
    rows = labelled_rows()
    both = driftline.replay(frame(rows), config=CONFIG)
    predictions = [{name: row[name] for name in [*PREDICTION_COLUMNS, "age"]} for row in rows]
    truths = [
        {"id": row["prediction_id"], "y_true": row["label"], "timestamp": row["label_timestamp"]}
        for row in reversed(rows)
    ]
    ground_truth: Any = frame(truths)
    mapping = {"prediction_id": "id"}
    if mixed:  # rows as dictionaries, in the order of arrival
        mapping = {}
        ground_truth = [
            {"prediction_id": row["prediction_id"], "label": row["label"], "timestamp": at}
            for row in rows
            for at in [row["label_timestamp"]]
        ]
    apart = driftline.replay(
        frame(predictions), ground_truth, config=CONFIG, ground_truth_mapping=mapping
    )
    assert apart.metrics.records() == both.metrics.records()


def test_columns_of_structs_are_mappings() -> None:
    rows = [
        {
            **{name: row[name] for name in PREDICTION_COLUMNS[:-1]},
            "segment": {"plan": row["plan"]},
            "label": row["label"],
            "label_timestamp": row["label_timestamp"],
        }
        for row in labelled_rows(30)
    ]
    plans = {
        row["segment"] for row in driftline.replay(polars.DataFrame(rows), None, CONFIG).metrics
    }
    assert plans == {"all", "plan=free", "plan=pro"}


def test_nanoseconds_numpy_scalars_and_missing_values_are_understood() -> None:
    rows = labelled_rows(30)
    frame = pandas.DataFrame(rows)
    frame["timestamp"] = frame["timestamp"].astype("datetime64[ns, UTC]")
    frame["label"] = frame["label"].where(frame["prediction_id"] != "p3")
    results = driftline.replay(frame, config=CONFIG)
    assert results.rejected == {}
    scalars = [
        {
            "prediction_id": row["prediction_id"],
            "timestamp": pandas.Timestamp(row["timestamp"]).tz_localize(None),
            "model_name": "churn",
            "model_version": "1",
            "score": np.float32(row["score"]),
            "latency_ms": float("nan"),
        }
        for row in rows
    ]
    results = driftline.replay(scalars, [], CONFIG)
    assert results.rejected == {}
    assert sum(row["n_predictions"] for row in results.metrics if row["lane"] == "traffic") == 30


def test_metrics_have_times_and_numbers_as_columns(sample: Path) -> None:
    table = driftline.open(sample / "out").metrics
    arrow = table.arrow()
    types = {field.name: field.type for field in arrow.schema}
    for name in ("window_start", "window_end", "complete_at"):
        assert types[name] == pyarrow.timestamp("ms", tz="UTC")
    for name in ("n", "n_predictions", "revision", "tp"):
        assert types[name] == pyarrow.int64()
    for name in ("label_coverage", "f1", "f1_low", "f1_high"):
        assert types[name] == pyarrow.float64()
    assert types["matrix"] == pyarrow.list_(pyarrow.list_(pyarrow.int64()))
    assert types["final"] == pyarrow.bool_()

    records = table.records()
    assert len(records) == len(table) == arrow.num_rows
    for row, record in zip(arrow.to_pylist(), records, strict=True):
        assert row["window_start"] == datetime.fromisoformat(record["window_start"])
        assert row["f1"] == record["metrics"].get("f1")
        assert (row["f1_low"], row["f1_high"]) == tuple(
            record.get("ci", {}).get("f1", (None, None))
        )
        assert row["f1_null_reason"] == record.get("null_reasons", {}).get("f1")
        assert row["matrix"] == record.get("matrix", [])


def test_lost_rows_are_json_text_in_their_column(sample: Path, tmp_path: Path) -> None:
    lines = (sample / "out" / "metrics.jsonl").read_bytes().splitlines()
    loss = b'[{"topic":"predictions","from":"2026-01-05T00:00:00Z","until":"2026-01-05T01:00:00Z"'
    losses = loss + b',"records":null}]'
    lacking = lines[0].replace(b',"complete_at":', b',"losses":' + losses + b',"complete_at":')
    shutil.copy(sample / "out" / "run.json", tmp_path)
    (tmp_path / "metrics.jsonl").write_bytes(b"\n".join([lacking, *lines[1:], b""]))
    table = driftline.open(tmp_path).metrics
    assert table.records()[0]["losses"] == json.loads(losses)
    column = table.arrow()["losses"]
    assert column.type == pyarrow.string()
    assert column.to_pylist()[:2] == [losses.decode(), "[]"]


@pytest.mark.parametrize("name", [*TOPICS, "registry_events", "reference_profiles"])
def test_every_table_comes_as_arrow_pandas_polars_and_dictionaries(sample: Path, name: str) -> None:
    table = getattr(driftline.open(sample / "out"), name)
    lines = (sample / "out" / f"{table.topic}.jsonl").read_bytes().splitlines()
    assert table.records() == [json.loads(line) for line in lines]
    assert list(table) == table.records()
    frame = table.pandas()
    assert (
        len(frame) == polars.DataFrame(table).height == pyarrow.table(table).num_rows == len(lines)
    )
    times = [
        column
        for column in ("window_start", "at", "starts_at", "registered_at", "span_start")
        if column in frame and column in table.arrow().column_names
    ]
    assert times
    for column in times:
        assert str(frame[column].dtype) == "datetime64[ms, UTC]"


def test_an_empty_table_has_the_columns_of_a_full_one() -> None:
    with driftline.replay([], []) as results:
        assert results.alerts.arrow().schema.field("at").type == pyarrow.timestamp("ms", tz="UTC")
        assert results.alerts.arrow().num_rows == 0
        assert results.recommendations.pandas().columns.to_list()[5:10] == [
            "expected_metric",
            "expected_from",
            "expected_to",
            "expected_ci_low",
            "expected_ci_high",
        ]


def test_latest_is_the_last_record_of_each_key(sample: Path) -> None:
    registry = driftline.open(sample / "out").registry
    revisions = [row["revision"] for row in registry]
    (entry,) = registry.latest().records()
    assert entry["revision"] == max(revisions)
    assert len(revisions) > 1


def test_a_temporary_output_lives_as_long_as_the_results_or_their_tables() -> None:
    results = driftline.replay([], [])
    folder = results.folder
    table = results.metrics
    del results
    gc.collect()
    assert folder.is_dir()
    assert table.records() == []
    del table
    gc.collect()
    assert not folder.exists()

    with driftline.replay([], []) as closed:
        assert closed.folder.is_dir()
    assert not closed.folder.exists()


def test_nothing_stays_in_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    driftline.replay(labelled_rows_without_labels(), [], CONFIG).close()
    with pytest.raises(driftline.LogError):
        driftline.replay([{"a": object()}], [])
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def labelled_rows_without_labels() -> list[dict[str, Any]]:
    return [{name: row[name] for name in PREDICTION_COLUMNS} for row in labelled_rows(20)]


def test_a_second_call_resumes_and_another_input_is_refused(tmp_path: Path) -> None:
    rows = labelled_rows_without_labels()
    first = driftline.replay(rows, [], CONFIG, tmp_path / "out")
    before = files(first.folder)
    again = driftline.replay(rows, [], CONFIG, tmp_path / "out")
    assert again.summary is not None
    assert again.summary.already_finished
    assert files(again.folder) == before
    with pytest.raises(
        driftline.RunRefused, match=r"belongs to another run: its predictions\.jsonl"
    ):
        driftline.replay(rows[1:], [], CONFIG, tmp_path / "out")
    with pytest.raises(driftline.RunRefused, match="its number of partitions is 8, this one's 2"):
        driftline.replay(rows, [], CONFIG, tmp_path / "out", partitions=2)


def test_a_stopped_run_on_dictionaries_goes_on_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    rows = labelled_rows_without_labels()
    driftline.replay(rows, [], CONFIG, tmp_path / "whole")

    def stop(progress: driftline.Progress) -> None:
        if progress.phase == "closing":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        driftline.replay(rows, [], CONFIG, tmp_path / "out", progress=stop)
    done = driftline.replay(rows, [], CONFIG, tmp_path / "out")
    assert done.summary is not None
    assert done.summary.resumed
    assert files(tmp_path / "out") == files(tmp_path / "whole")


FRAME = pandas.DataFrame(labelled_rows(3))


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (["nowhere.jsonl", []], {}, r"predictions: there is no file nowhere\.jsonl"),
        ([[], "nowhere.csv"], {}, r"ground_truth: there is no file nowhere\.csv"),
        ([__file__, []], {}, r"predictions: .*test_api\.py is not a file that can be read"),
        ([5, []], {}, "predictions: is int; pass a path"),
        ([{"prediction_id": "a"}, []], {}, "predictions: is dict; pass a path"),
        ([["a"], []], {}, r"predictions\[0\]: is str, not a dictionary"),
        ([[{"x": object()}], []], {}, r"predictions\[0\]: cannot be written as JSON"),
        ([[{"prediction_id": "a", "y_true": 1}]], {}, r"predictions\[0\]: has a label"),
        ([FRAME, []], {}, "predictions: has a column for label, and ground_truth is given too"),
        (
            [FRAME.drop(columns=["label", "label_timestamp", "prediction_id"]), []],
            {},
            "predictions: no column for prediction_id, by which ground_truth is joined",
        ),
        ([FRAME.drop(columns="score")], {}, "predictions: no column for prediction, score"),
        (
            [[], FRAME[["timestamp", "label"]]],
            {},
            "ground_truth: no column for prediction_id; name it with ground_truth_mapping={",
        ),
        (
            [FRAME],
            {"mapping": {"score": "p"}},
            r"mapping={'score': 'p'}: predictions has no column 'p'",
        ),
        ([[], []], {"mapping": {"score": "p"}}, "mapping: predictions is no table"),
        ([[], []], {"follow": True}, "follow: only the folder of a recorded log"),
        ([Path(__file__).parent, []], {}, "is a folder, so it is a recorded log"),
    ],
)
def test_a_wrong_input_is_named(
    arguments: list[Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(driftline.DriftlineError, match=message):
        driftline.replay(*arguments, **options)


def test_a_wrong_configuration_is_named() -> None:
    with pytest.raises(driftline.ConfigError, match=r"configuration: defaults\.window: "):
        driftline.replay([], [], {"defaults": {"window": "1h"}})
    with pytest.raises(driftline.ConfigError, match="is list; pass the path of a TOML file"):
        driftline.replay([], [], [])  # type: ignore[arg-type]


def test_a_missing_library_names_what_to_install(
    sample: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = driftline.open(sample / "out")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(driftline.MissingExtra, match=r'pip install "driftline\[parquet\]"'):
        results.metrics.arrow()
    with pytest.raises(
        driftline.LogError, match=r"predictions: reading a data frame needs pyarrow"
    ):
        driftline.replay(FRAME)
    assert results.metrics.records()
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(driftline.MissingExtra, match="pip install pandas"):
        results.metrics.pandas()


def test_opening_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(driftline.ReadError, match="is not the output of a run"):
        driftline.open(tmp_path)


def test_importing_the_package_imports_no_library() -> None:
    code = (
        "import sys; before = set(sys.modules); import driftline; dir(driftline); "
        "print(sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(eval(done.stdout)) <= {"driftline", *sys.stdlib_module_names}


def test_every_public_name_exists_and_unknown_ones_do_not() -> None:
    assert set(driftline.__all__) <= set(dir(driftline))
    for name in driftline.__all__:
        assert getattr(driftline, name).__doc__
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        driftline.nothing  # type: ignore[attr-defined]  # noqa: B018


def test_the_notebook_example_finds_the_shift_of_its_data() -> None:
    script = Path(__file__).parents[1] / "examples" / "notebook.py"
    environment = os.environ | {"PYTHONPATH": str(script.parents[1])}
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert "feature:spend" in done.stdout
    assert "Standardized accuracy of churn 1.0.0 fell from about 2026-03-12 on" in done.stdout
    precision = re.findall(r"threshold (0\.\d): precision (0\.\d+)", done.stdout)
    assert [name for name, _ in precision] == ["0.5", "0.7"]
    assert float(precision[0][1]) < float(precision[1][1])


@pytest.mark.slow
def test_a_caller_passes_strict_type_checking(tmp_path: Path) -> None:
    script = tmp_path / "caller.py"
    script.write_text(
        "import driftline\n"
        "import polars\n\n\n"
        "def f1(frame: polars.DataFrame) -> list[float | None]:\n"
        "    results = driftline.replay(frame, config={'defaults': {'windows': ['1d']}})\n"
        "    rows = [{'prediction_id': 'a'}]\n"
        "    driftline.replay(rows, 'truths.jsonl', out='out', partitions=2)\n"
        "    ends: list[int] = [record.window_end_ms for record in results.metrics.structs()]\n"
        "    assert ends or results.summary is not None\n"
        "    return [record.metrics['f1'] for record in driftline.open('out').metrics.structs()]\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), script],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[1],
    )
    assert done.returncode == 0, done.stdout + done.stderr
