"""Reading `driftline.toml`: settings, and the path and message of errors."""

from pathlib import Path

import pytest

from driftline.schemas.config import ConfigError, load_config, parse_config
from driftline.schemas.settings import Config, parse_window
from driftline.schemas.times import DAY_MS, HOUR_MS, MINUTE_MS

EXAMPLE = """
[defaults]
windows = ["1h", "1d", "7d/1d"]      # "size" tumbling, "size/step" sliding
label_horizon = "30d"
correction_horizon = "7d"
maturity = ["1h", "6h", "1d", "3d", "7d"]  # the horizon is always the last rung
prediction_grace = "1m"
truth_grace = "10m"
segments = ["plan"]
positive_label = "yes"
[models.churn]
label_horizon = "14d"
[[models.churn.rules]]
type = "threshold"
name = "f1_low"
metric = "f1"
window = "1d"
maturity = "1d"
below = 0.80
severity = "warning"
min_samples = 100
"""


def names(rungs_or_windows: tuple[object, ...]) -> list[str]:
    return [item.name for item in rungs_or_windows]  # type: ignore[attr-defined]


def test_example_gives_the_documented_settings() -> None:
    config = parse_config(EXAMPLE)
    churn, other = config.for_model("churn"), config.for_model("never heard of")
    assert names(other.windows) == names(churn.windows) == ["1h", "1d", "7d/1d"]
    assert [window.kind for window in other.windows] == ["tumbling", "tumbling", "sliding"]
    assert names(other.maturity) == ["1h", "6h", "1d", "3d", "7d", "30d"]
    assert names(churn.maturity) == ["1h", "6h", "1d", "3d", "7d", "14d"]
    assert churn.rules[0]["below"] == 0.8
    assert churn.rules_path == "models.churn.rules"
    assert other.rules == ()
    assert churn.positive_label == "yes"
    assert config.segments == ("plan",)
    assert (config.prediction_grace_ms, config.truth_grace_ms) == (MINUTE_MS, 10 * MINUTE_MS)


def test_no_file_equals_an_empty_file() -> None:
    assert load_config(None) == parse_config("") == Config()
    assert names(Config().defaults.maturity) == ["1h", "6h", "1d", "3d", "7d", "30d"]
    assert Config().defaults.detection_window == "7d/1d"
    assert Config().pane_ms == HOUR_MS


INVALID = {
    'window = ["1h"]': ("defaults.window", 'did you mean "windows"?'),
    'colour = "red"': ("defaults.colour", "known here: windows"),
    'windows = "1h"': ("defaults.windows", 'is "1h", not a list'),
    "windows = []": ("defaults.windows", "is empty"),
    "windows = [60]": ("defaults.windows[0]", "is 60, not a string"),
    'windows = ["1h", "soon"]': ("defaults.windows[1]", "not a duration"),
    'windows = ["1d", "24h"]': ("defaults.windows[1]", "repeats [0]"),
    'labels = ["no"]': ("defaults.labels", "has 1 of at least 2 elements"),
    'labels = ["no", " "]': ("defaults.labels[1]", "stands for no label"),
    'positive_label = ""': ("defaults.positive_label", "stands for no label"),
    'windows = ["90s"]': ("defaults.windows[0]", "whole number of minutes"),
    'windows = ["1d/90s"]': ("defaults.windows[0]", "the step"),
    'windows = ["1h/1d"]': ("defaults.windows[0]", "longer than the size"),
    'windows = ["0m"]': ("defaults.windows[0]", "whole number of minutes"),
    'maturity = ["6h", "1h"]': ("defaults.maturity[1]", "not longer than"),
    'maturity = ["1h", "31d"]': ("defaults.maturity[1]", "beyond the label horizon 30d"),
    'maturity = ["0s"]': ("defaults.maturity[0]", "longer than zero"),
    'label_horizon = "30"': ("defaults.label_horizon", "not a duration"),
    'label_horizon = "1s"': ("defaults.label_horizon", "less than one minute"),
    "threshold = 1.5": ("defaults.threshold", "is 1.5, outside [0, 1]"),
    "threshold = nan": ("defaults.threshold", "is nan, outside [0, 1]"),
    "threshold = true": ("defaults.threshold", "is true, not a number"),
    "last_n = [0]": ("defaults.last_n[0]", "not an integer from 1"),
    "last_n = [100, 1.5]": ("defaults.last_n[1]", "not an integer from 1"),
    'since_deployment = "yes"': ("defaults.since_deployment", "not true or false"),
    'segments = ["all"]': ("defaults.segments[0]", "cannot name a segment dimension"),
    'segments = ["a=b"]': ("defaults.segments[0]", "cannot name a segment dimension"),
    'feature_segments = ["plan"]': ("defaults.feature_segments[0]", "not one of the segments []"),
    "positive_label = []": ("defaults.positive_label", "not a label"),
    'reference = "soon"': ("defaults.reference", "not a duration"),
    "reference = 3": ("defaults.reference", "neither a span"),
    "reference = {from = 2026-01-01T00:00:00Z}": ("defaults.reference", 'needs "to"'),
    "reference = {from = 2026-01-01T00:00:00Z, too = 1}": (
        "defaults.reference.too",
        'did you mean "to"?',
    ),
    'reference = {from = "2026-01-01", to = "2026-02-01"}': (
        "defaults.reference.from",
        "not an RFC 3339 time",
    ),
    "reference = {from = 2026-01-01T00:00:00, to = 2026-02-01T00:00:00Z}": (
        "defaults.reference.from",
        "not an RFC 3339 time",
    ),
    "reference = {from = 2026-02-01T00:00:00Z, to = 2026-01-01T00:00:00Z}": (
        "defaults.reference",
        "not before",
    ),
    'detection_window = "2d"': ("defaults.detection_window", "'2d' is not one of the windows"),
    "rules = 3": ("defaults.rules", "not a list of tables"),
    "rules = [3]": ("defaults.rules[0]", "is 3, not a table"),
    'rules = [{type = "threshold"}]': ("defaults.rules[0].name", "is needed"),
    'rules = [{type = 3, name = "a"}]': ("defaults.rules[0].type", "is 3, not a name"),
    'rules = [{type = "t", name = "a"}, {type = "t", name = "a"}]': (
        "defaults.rules[1].name",
        "already the name of rule [0]",
    ),
    "tuner = 3": ("defaults.tuner", "not a table"),
    "policy = 3": ("defaults.policy", "not a table"),
    'prediction_grace = "-1m"': ("defaults.prediction_grace", "not a duration"),
    'label_horizon = "100000000d"': ("defaults.label_horizon", "longer than 3660d"),
    'windows = ["1h", "4000d/1d"]': ("defaults.windows[1]", "longer than 3660d"),
    'park = "1d"': ("defaults.park", "shorter than the longest label horizon (30d)"),
    'clock = "sun"': ("defaults.clock", "not one of wall, data"),
    'lanes = ["fast"]': ("defaults.lanes[0]", "not one of traffic, decisions, arrivals"),
    'topic_prefix = "a b"': ("defaults.topic_prefix", "use letters, digits"),
    "outcomes = 1": ("defaults.outcomes", "is 1, not true or false"),
}


@pytest.mark.parametrize("text", INVALID)
def test_invalid_value_in_the_defaults_is_an_error_with_its_path(text: str) -> None:
    where, message = INVALID[text]
    with pytest.raises(ConfigError) as raised:
        parse_config(f"[defaults]\n{text}", "driftline.toml")
    assert raised.value.where == where
    assert str(raised.value).startswith(f"driftline.toml: {where}: ")
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        ("[models.churn]\nthreshold = 2", "models.churn.threshold", "outside [0, 1]"),
        ('[models."my model"]\nthreshold = 2', 'models."my model".threshold', "outside [0, 1]"),
        ("[models]\nchurn = 3", "models.churn", "is 3, not a table"),
        (
            '[models.churn]\ntruth_grace = "1m"',
            "models.churn.truth_grace",
            "applies to the whole stream",
        ),
        ('[models.churn]\npark = "60d"', "models.churn.park", "write it under [run] or [defaults]"),
        (
            '[models.churn]\nlabel_horison = "1d"',
            "models.churn.label_horison",
            'did you mean "label_horizon"?',
        ),
        (
            '[models.churn]\nmaturity = ["40d"]',
            "models.churn.maturity[0]",
            "beyond the label horizon 30d",
        ),
        (
            '[defaults]\nsegments = ["a"]\nfeature_segments = ["a"]\n[models.m]\nsegments = []',
            "models.m.segments",
            "'a' is a feature",
        ),
        (
            '[[models.churn.rules]]\ntype = "threshold"\nname = ""',
            "models.churn.rules[0].name",
            "not a name",
        ),
        ('[run]\nsegments = ["plan"]', "run.segments", "is a setting of models"),
        ('[run]\npark = "1d"', "run.park", "shorter than"),
        (
            '[run]\nclock = "data"\n[defaults]\nclock = "wall"',
            "run.clock",
            "is also set by defaults.clock",
        ),
        ('[model.churn]\nlabel_horizon = "1d"', "model", 'did you mean "models"?'),
        ("defaults = 1", "defaults", "is 1, not a table"),
        ("[defaults", "", "is not TOML"),
    ],
)
def test_error_names_the_path_of_the_key(text: str, where: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_config(text, "driftline.toml")
    assert raised.value.where == where
    assert str(raised.value).startswith("driftline.toml: ")
    assert message in str(raised.value)


def test_inherited_ladder_ends_at_a_shorter_or_longer_horizon() -> None:
    config = parse_config(
        '[models.fast]\nlabel_horizon = "2d"\n[models.slow]\nlabel_horizon = "90d"'
    )
    assert names(config.for_model("fast").maturity) == ["1h", "6h", "1d", "2d"]
    assert names(config.for_model("slow").maturity) == ["1h", "6h", "1d", "3d", "7d", "90d"]
    assert config.park_ms == 90 * DAY_MS


def test_rung_at_the_horizon_is_not_repeated() -> None:
    config = parse_config('[defaults]\nlabel_horizon = "1d"\nmaturity = ["1h", "24h"]')
    assert names(config.defaults.maturity) == ["1h", "1d"]


@pytest.mark.parametrize(
    ("windows", "pane"),
    [
        (["1d", "7d/1d"], 60),
        (["1m"], 1),
        (["5m", "15m", "1h"], 5),
        (["90m"], 45),  # the greatest divisor of 90 minutes that is at most an hour
        (["61m"], 1),
        (["1d/7m"], 1),
        (["2h/30m"], 30),
    ],
)
def test_pane_divides_every_size_and_step_and_is_at_most_an_hour(
    windows: list[str], pane: int
) -> None:
    assert parse_config(f"[defaults]\nwindows = {windows}").pane_ms == pane * MINUTE_MS


def test_all_models_share_the_pane_and_the_segments() -> None:
    config = parse_config(
        '[defaults]\nsegments = ["plan"]\n'
        '[models.a]\nwindows = ["10m"]\nsegments = ["country"]\n'
        '[models.b]\nwindows = ["15m"]'
    )
    assert config.pane_ms == 5 * MINUTE_MS
    assert config.segments == ("country", "plan")
    assert config.for_model("a").segments == ("country",)


def test_window_below_an_hour_is_final_at_the_first_rung_of_at_least_an_hour() -> None:
    model = parse_config('[defaults]\nmaturity = ["10m", "30m", "2h", "1d"]').defaults
    assert model.rungs_for(parse_window("5m")) == (0, 1, 2)
    assert model.rungs_for(parse_window("1h/5m")) == (0, 1, 2, 3, 4)
    short = parse_config('[defaults]\nlabel_horizon = "30m"\nmaturity = ["10m"]').defaults
    assert short.rungs_for(parse_window("5m")) == (0, 1)


def test_drift_is_judged_in_the_largest_window_without_the_default_one() -> None:
    config = parse_config(
        '[defaults]\nwindows = ["1h", "2d", "1d"]\n[models.m]\ndetection_window = "24h"'
    )
    assert config.defaults.detection_window == "2d"
    assert config.for_model("m").detection_window == "1d"


def test_reference_is_a_span_of_the_version_or_fixed_times() -> None:
    config = parse_config(
        '[defaults]\nreference = "7d"\n'
        '[models.m]\nreference = {from = 2026-01-01T01:00:00+01:00, to = "2026-01-02T00:00:00Z"}'
    )
    assert config.defaults.reference.span_ms == 7 * DAY_MS
    reference = config.for_model("m").reference
    assert (reference.span_ms, (reference.to_ms or 0) - (reference.from_ms or 0)) == (None, DAY_MS)


def test_positive_label_is_canonical_text_like_labels_on_the_topics() -> None:
    labels = {"true": "true", "1": "1", "1.0": "1", '"1"': "1", '"yes"': "yes"}
    for written, label in labels.items():
        assert (
            parse_config(f"[defaults]\npositive_label = {written}").defaults.positive_label == label
        )


def test_lanes_keep_their_order_whatever_the_order_in_the_file() -> None:
    assert parse_config('[run]\nlanes = ["decisions", "traffic"]').lanes == ("traffic", "decisions")


def test_equivalent_files_have_equal_fingerprints_wherever_they_are_stored() -> None:
    fingerprint = parse_config(
        '[defaults]\nwindows = ["1d"]\n[run]\noutcomes = true', "a.toml"
    ).fingerprint()
    assert (
        parse_config('run.outcomes = true\ndefaults.windows = ["24h"]', "b.toml").fingerprint()
        == fingerprint
    )
    assert parse_config('[defaults]\nwindows = ["1d"]').fingerprint() != fingerprint
    assert len(fingerprint) == 64


def test_file_gives_the_settings_of_its_text(tmp_path: Path) -> None:
    path = tmp_path / "driftline.toml"
    path.write_text(EXAMPLE, encoding="utf-8")
    assert load_config(path) == parse_config(EXAMPLE, str(path))


def test_error_names_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read: No such file"):
        load_config(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b'[defaults]\nsegments = ["Gr\xf6\xdfe"]')
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config(tmp_path / "latin.toml")
