"""Which column is which field: by option, by its name if its values fit, else a feature."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import driftline
from driftline.agents.cli.program import driftline as command
from driftline.agents.recorded.lines import LogError
from tests.agents.tables import convert, notes_of, predictions_of, truths_of, uses_of

BASE = ["prediction_id", "timestamp", "score", "label", "model_name", "model_version"]


def table(tmp_path: Path, columns: dict[str, list[str]]) -> Path:
    """A CSV with the needed columns and these."""
    n = len(next(iter(columns.values())))
    base = {
        "prediction_id": [f"p{row}" for row in range(n)],
        "timestamp": [f"2026-01-05T{row // 60:02d}:{row % 60:02d}:00Z" for row in range(n)],
        "score": ["0.5"] * n,
        "label": ["1"] * n,
        "model_name": ["m"] * n,
        "model_version": ["1"] * n,
    }
    every = {**base, **columns}
    lines = [",".join(every), *(",".join(row) for row in zip(*every.values(), strict=True))]
    path = tmp_path / "table.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def features(tmp_path: Path, values: list[str], **options: Any) -> list[Any]:
    """What becomes of the values of a feature of a CSV."""
    convert(table(tmp_path, {"x": values}), tmp_path / "log", **options)
    return [row["features"]["x"] for row in predictions_of(tmp_path / "log")]


@pytest.mark.parametrize(
    ("values", "read"),
    [
        (["31", "0", "-4"], [31, 0, -4]),
        (["1.5", "2e3", ".5", "5.", "-1E-2"], [1.5, 2000, 0.5, 5, -0.01]),
        (["1", "", "2"], [1, None, 2]),
        (["1", "NaN", "NA", "N/A", "null", "None", " ", "<NA>"], [1, *[None] * 7]),
        ([" 1", "2 "], [1, 2]),
        (["12345678901234567890", "1"], [1.2345678901234567e19, 1]),
        (["0.1", "0.30000000000000004"], [0.1, 0.30000000000000004]),
        (["02139", "94105"], ["02139", "94105"]),
        (["94105", "", "00501"], ["94105", None, "00501"]),
        (["1", "2", "-007"], ["1", "2", "-007"]),
        (["0", "00"], ["0", "00"]),
        (["1", "x"], ["1", "x"]),
        (["1.10", "1.1", "1.1.2"], ["1.10", "1.1", "1.1.2"]),
        (["1", "true"], ["1", "true"]),
        (["1_000", "2"], ["1_000", "2"]),
        (["0x1F", "2"], ["0x1F", "2"]),
        (["١", "2"], ["١", "2"]),
        (["true", "False", "TRUE", ""], [True, False, True, None]),
        (["true", "false", "maybe"], ["true", "false", "maybe"]),
        (["", "NaN"], [None, None]),
        (["E11.9", "NA"], ["E11.9", None]),
        ([" a", "b "], [" a", "b "]),
        (["2026-01-05", "2026-01-06"], ["2026-01-05", "2026-01-06"]),
        (["+1.5", "-1"], [1.5, -1]),
    ],
)
def test_a_feature_has_one_kind_for_the_whole_file(
    tmp_path: Path, values: list[str], read: list[Any]
) -> None:
    got = features(tmp_path, values)
    assert got == read
    assert [type(value) is bool for value in got] == [type(value) is bool for value in read]


@pytest.mark.parametrize("row", [0, 1, 4_999, 9_999])
def test_one_leading_zero_anywhere_makes_all_values_text(tmp_path: Path, row: int) -> None:
    values = [str(10_000 + number) for number in range(10_000)]
    values[row] = "02139"
    assert features(tmp_path, values) == values
    use = uses_of(tmp_path / "log")["x"]
    assert (use.kind, use.why) == ("text", "'02139' begins with 0")


@pytest.mark.parametrize(
    ("columns", "read"),
    [
        ({"x": ['"1,5"', '"2"']}, {"x": [1.5, 2]}),
        ({"x": ['"1,234"', '"2,345"']}, {"x": ["1,234", "2,345"]}),
        ({"x": ['"1,234"', '"2"'], "y": ['"0,5"', '"1"']}, {"x": [1.234, 2], "y": [0.5, 1]}),
        ({"x": ['"1,234"', '"2"'], "y": ["0.5", "1"]}, {"x": ["1,234", "2"], "y": [0.5, 1]}),
        ({"x": ['"1,234"', '"12,5"']}, {"x": [1.234, 12.5]}),
        ({"x": ['"1234,567"', '"1"']}, {"x": [1234.567, 1]}),
        ({"x": ['"0,123"', '"1"']}, {"x": [0.123, 1]}),
        ({"x": ['"1,5"', '"1.5"']}, {"x": ["1,5", "1.5"]}),
        ({"x": ['"1,234.5"', "2"]}, {"x": ["1,234.5", "2"]}),
        ({"x": ['"01,5"', "2"]}, {"x": ["01,5", "2"]}),
    ],
)
def test_a_decimal_comma_is_read_where_it_can_be_nothing_else(
    tmp_path: Path, columns: dict[str, list[str]], read: dict[str, list[Any]]
) -> None:
    path = table(tmp_path, columns)
    path.write_text(path.read_text().replace(",0.5,1,m,1,", ",0,1,m,1,"))
    convert(path, tmp_path / "log")
    rows = predictions_of(tmp_path / "log")
    assert {name: [row["features"][name] for row in rows] for name in read} == read


FITS: list[tuple[str, list[str], bool]] = [
    ("threshold", ["0.4", "0.4"], True),
    ("threshold", ["0.1", "0.9"], False),
    ("threshold", ["40", "40"], False),
    ("threshold", ["high", "high"], False),
    ("threshold", ["-0.1", "-0.1"], False),
    ("status", ["ok", "error"], True),
    ("status", ["paid", "open"], False),
    ("status", ["200", "404"], False),
    ("status", ["ok", "OK"], False),
    ("weight", ["1", "2.5"], True),
    ("weight", ["0", "1"], False),
    ("weight", ["71.5", "80"], False),
    ("weight", ["heavy", "light"], False),
    ("source", ["manual", "Reviewer"], True),
    ("source", ["web", "app"], False),
    ("source", ["manual", "web"], False),
    ("variant", ["A", "b"], True),
    ("variant", ["control", "treatment-2"], True),
    ("variant", ["suv", "van"], False),
    ("environment", ["production", "staging"], True),
    ("environment", ["rural", "urban"], False),
    ("latency_ms", ["12", "0.5"], True),
    ("latency_ms", ["-1", "3"], False),
    ("latency_ms", ["fast", "slow"], False),
    ("revision", ["0", "3"], True),
    ("revision", ["1.5", "2"], False),
    ("revision", ["r1", "r2"], False),
    ("retracted", ["false", "False"], True),
    ("retracted", ["sometimes", "never"], False),
]


@pytest.mark.parametrize(("field", "values", "fits"), FITS)
def test_a_column_becomes_a_field_by_its_name_only_if_its_values_fit(
    tmp_path: Path, field: str, values: list[str], fits: bool
) -> None:
    path = table(tmp_path, {field: values})
    convert(path, tmp_path / "log")
    use = uses_of(tmp_path / "log")[field]
    assert use.field == (field if fits else f"features.{field}")
    if not fits:
        assert f"not the {field}: " in use.why
        assert f"--map {field}={field} makes it one" in use.why
        assert set(predictions_of(tmp_path / "log")[0]["features"]) == {field}
    # The options overrule it, either way.
    convert(path, tmp_path / "mapped", mapping={field: field})
    assert uses_of(tmp_path / "mapped")[field].field == field
    convert(path, tmp_path / "feature", features=(field,))
    assert uses_of(tmp_path / "feature")[field].field == f"features.{field}"
    convert(path, tmp_path / "dropped", drop=(field,))
    assert uses_of(tmp_path / "dropped")[field].field is None


@pytest.mark.parametrize("field", ["weight", "revision", "source"])
def test_what_belongs_to_labels_is_a_feature_where_there_are_none(
    tmp_path: Path, field: str
) -> None:
    values = {"weight": "1", "revision": "1", "source": "manual"}[field]
    path = table(tmp_path, {field: [values] * 2})
    convert(path, tmp_path / "log", drop=("label",))
    assert uses_of(tmp_path / "log")[field].field == f"features.{field}"


def test_a_threshold_of_each_version_is_one(tmp_path: Path) -> None:
    path = table(tmp_path, {"threshold": ["0.4", "0.4", "0.6"], "model_version": ["1", "1", "2"]})
    convert(path, tmp_path / "log")
    assert [row["threshold"] for row in predictions_of(tmp_path / "log")] == [0.4, 0.4, 0.6]


@pytest.mark.parametrize("values", [["712", "640"], ["high", "low"], ["-3.5", "12"]])
def test_a_score_that_is_none_is_a_feature_beside_a_prediction(
    tmp_path: Path, values: list[str]
) -> None:
    convert(table(tmp_path, {"score": values, "prediction": ["1", "0"]}), tmp_path / "log")
    assert uses_of(tmp_path / "log")["score"].field == "features.score"
    convert(table(tmp_path, {"score": values}), tmp_path / "alone")
    assert uses_of(tmp_path / "alone")["score"].field == "score"


@pytest.mark.parametrize(
    ("alias", "field"), [("version", "model_version"), ("model", "model_name"), ("target", "label")]
)
def test_the_name_of_a_field_is_preferred_to_an_alias(
    tmp_path: Path, alias: str, field: str
) -> None:
    convert(table(tmp_path, {alias: ["x", "y"]}), tmp_path / "log")
    uses = uses_of(tmp_path / "log")
    assert (uses[field].field, uses[alias].field) == (field, f"features.{alias}")
    assert "has the name of the field itself" in uses[alias].why


@pytest.mark.parametrize("text", ["", " ", "  "])
@pytest.mark.parametrize("rows", [[0], [1], [0, 2]])
def test_a_label_without_its_time_is_refused_not_known_at_once(
    tmp_path: Path, text: str, rows: list[int]
) -> None:
    times = [text if row in rows else "2026-01-10T00:00:00Z" for row in range(3)]
    path = table(tmp_path, {"label_timestamp": times})
    convert(path, tmp_path / "log")
    truths = truths_of(tmp_path / "log")
    assert len(truths) == 3
    assert {id_ for id_, truth in truths.items() if "timestamp" not in truth} == {
        f"p{row}" for row in rows
    }
    (note,) = notes_of(tmp_path / "log")
    assert f"{len(rows)} rows have a label but no label_timestamp" in note
    assert "--drop 'label_timestamp'" in note
    # The way out works.
    convert(path, tmp_path / "dropped", drop=("label_timestamp",))
    assert all("timestamp" in truth for truth in truths_of(tmp_path / "dropped").values())
    if rows == [0, 2] and not text:
        summary = driftline.replay(path, out=tmp_path / "out").summary
        assert summary is not None
        assert summary.rejected == {"ground-truth": {"missing_field": 2}}
        assert note in summary.notes


@pytest.mark.parametrize("field", ["prediction_id", "model_name", "model_version", "label"])
@pytest.mark.parametrize(
    "text", ["007", "1.10", "1e5", "9" * 20, "+1", "0x1", "\u00e9", "e\u0301", "a/b%"]
)
def test_ids_names_and_labels_are_the_text_of_the_table(
    tmp_path: Path, field: str, text: str
) -> None:
    convert(table(tmp_path, {field: [text]}), tmp_path / "log")
    (row,), truths = predictions_of(tmp_path / "log"), truths_of(tmp_path / "log")
    (truth,) = truths.values()
    if field == "label":
        assert truth["label"] == text
    else:
        assert row[field] == text
        assert truth["prediction_id"] == row["prediction_id"]


def test_the_setting_replaces_the_texts_that_stand_for_no_label(tmp_path: Path) -> None:
    path = table(tmp_path, {"label": ["?", "NaN", "1", " "], "x": ["?", "NaN", "1", " "]})
    config = {"run": {"missing_labels": ["?"]}}
    driftline.replay(path, config=config, out=tmp_path / "out")
    truths = truths_of(tmp_path / "out" / "log")
    assert {id_: truth["label"] for id_, truth in truths.items()} == {"p1": "NaN", "p2": "1"}
    rows = predictions_of(tmp_path / "out" / "log")
    assert [row["features"]["x"] for row in rows] == ["?", None, "1", None]


def test_a_segment_keeps_its_text_and_blanks_are_missing(tmp_path: Path) -> None:
    convert(
        table(tmp_path, {"plan": ["01", "1.0", " ", "NA"]}), tmp_path / "log", segments=("plan",)
    )
    segments = [row.get("segment") for row in predictions_of(tmp_path / "log")]
    assert segments == [{"plan": "01"}, {"plan": "1.0"}, None, {"plan": "NA"}]


@pytest.mark.parametrize("text", ["inf", "-Infinity", "1e400"])
def test_an_infinite_feature_is_left_out_as_in_json(tmp_path: Path, text: str) -> None:
    path = table(tmp_path, {"x": ["1"] * 40 + [text]})
    summary = driftline.replay(path, out=tmp_path / "out").summary
    assert summary is not None
    assert [(rows.reason, rows.rows) for rows in summary.uncounted] == [("left_out_feature", 1)]
    assert summary.rejected == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"drop": ("no",)}, "has no column 'no' to leave out; it has prediction_id, "),
        ({"features": ("no",)}, "has no column 'no'; it has prediction_id"),
        (
            {"features": ("x",), "mapping": {"threshold": "x"}},
            "column 'x' is named by --features and by --map threshold=x",
        ),
        ({"drop": ("model_name",)}, "no column for model_name"),
        ({"drop": tuple(BASE)}, "no column for model_name"),
        ({"mapping": {"scores": "x"}}, "unknown field 'scores'; .*scores.NAME"),
        ({"mapping": {"features.score": "x", "features.x": "score"}}, "no column for prediction"),
    ],
)
def test_an_option_that_cannot_be_followed_is_refused(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(LogError, match=message):
        convert(table(tmp_path, {"x": ["1", "2"]}), tmp_path / "log", **options)


def test_options_of_a_table_are_refused_for_a_log(tmp_path: Path) -> None:
    for name in ("predictions", "ground-truth"):
        (tmp_path / f"{name}.jsonl").touch()
    for options in ({"mapping": {"score": "p"}}, {"features": ["x"]}, {"drop": ["x"]}):
        with pytest.raises(LogError, match="is no table; only columns of a table"):
            driftline.replay(tmp_path, out=tmp_path / "out", **options)
    with pytest.raises(LogError, match="drop: is one text; pass a list"):
        driftline.replay(tmp_path, out=tmp_path / "out", drop="x")


def test_the_command_prints_what_became_of_the_columns_before_the_run(tmp_path: Path) -> None:
    columns = {
        "threshold": ["0.1", "0.9"],
        "zip": ["02139", "94105"],
        "age": ["1", "2"],
        "income": ["1", "2.5"],
        "plan": ["pro", "free"],
        "secret": ["a", "b"],
    }
    path = table(tmp_path, columns)
    arguments = ["replay", str(path), "--out", str(tmp_path / "out"), "--drop", "secret"]
    environment = {"COLUMNS": "200"}
    first = CliRunner().invoke(command, arguments, env=environment)
    assert first.exit_code == 0, first.output
    listed = first.stdout.partition("read 2 ground-truth")[0]
    lines = [" ".join(line.split()) for line in listed.splitlines()]
    for line in (
        'columns of table.csv (see "Tables" in docs/inputs.md):',
        "score score its name",
        "features age, income numbers",
        "features plan texts",
        "features.zip zip texts; '02139' begins with 0",
        "left out secret --drop",
    ):
        assert line in lines
    assert any(
        "features.threshold threshold numbers; not the threshold: a model" in line for line in lines
    )
    # A resumed run prints it too, and --json holds it.
    again = CliRunner().invoke(command, arguments, env=environment)
    assert again.stdout.startswith(listed)
    as_json = CliRunner().invoke(command, [*arguments, "--json"])
    assert '"column": "zip"' in as_json.stdout
    other = CliRunner().invoke(command, [*arguments, "--features", "label"])
    assert "belongs to another run" in other.output


@pytest.mark.parametrize("name", ["\x1b[31mred", "a\x07b", "\u202ereversed", "a\x9b2J"])
def test_what_a_terminal_would_obey_is_inert_in_names_of_columns(tmp_path: Path, name: str) -> None:
    path = table(tmp_path, {name: ["1", "2"], "x": ["a", "b"]})
    arguments = ["replay", str(path), "--out", str(tmp_path / "out")]
    shown = CliRunner().invoke(command, arguments, env={"COLUMNS": "200"})
    arguments[-1] = str(tmp_path / "other")
    refused = CliRunner().invoke(command, [*arguments, "--drop", "no"])
    assert (shown.exit_code, refused.exit_code) == (0, 2)
    for output in (shown.output, refused.output):
        assert name not in output
        assert name.encode("unicode_escape").decode() in output


def test_a_frame_is_read_by_the_rules_of_a_file(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_csv(table(tmp_path, {"threshold": ["0.1", "0.9"], "y": ["1", "2"]}))
    seen: list[Any] = []
    results = driftline.replay(frame, drop=["y"], mapped=seen.append)
    (uses,) = seen
    fields = {use.column: use.field for use in uses}
    assert fields["threshold"] == "features.threshold"
    assert fields["y"] is None
    assert results.summary is not None
    assert results.summary.columns == list(uses)
