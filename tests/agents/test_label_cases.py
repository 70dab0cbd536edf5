"""Labels through a whole replay: what the senders meant is what is counted, or nothing is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import driftline
from driftline.schemas.results import SettledLabels
from driftline.streams.join import code_book, increments
from tests.agents.scored_logs import (
    CONFIG,
    DAY,
    HOUR,
    MINUTE,
    ROWS,
    START,
    both_topics,
    drawn,
    expected,
    final_days,
    replayed,
    shown,
    write_lines,
)

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("negative", "positive"),
    [("legit", "fraud"), ("No", "Yes"), ("not donated", "donated"), (-1, 1), (False, True)],
)
def test_scores_alone_count_for_the_evident_positive_label(negative: Any, positive: Any) -> None:
    rows = drawn()
    (day,), results = replayed(
        [{"score": score} for score, _ in rows],
        [positive if truth else negative for _, truth in rows],
    )
    assert shown(day) == pytest.approx(expected(rows), abs=0.001)
    assert (day.positive_basis, day.strays) == ("vocabulary", {})
    assert day.positive_label is not None
    assert day.positive_label.casefold() == str(positive).casefold()
    assert results.summary is not None
    assert results.summary.notes == []


@pytest.mark.parametrize(
    ("negative", "positive"), [("good", "bad"), ("paid", "default"), ("churn", "stay"), ("a", "b")]
)
def test_scores_alone_give_no_figure_by_label_if_no_label_is_evident(
    negative: str, positive: str
) -> None:
    rows = drawn()
    (day,), results = replayed(
        [{"score": score} for score, _ in rows],
        [positive if truth else negative for _, truth in rows],
    )
    assert set(shown(day).values()) == {None}
    assert day.null_reasons["f1"] == "positive label unknown; set positive_label"
    assert (day.positive_label, day.label_coverage) == (None, 1.0)
    assert results.summary is not None
    assert len(results.summary.notes) == 1
    assert "set positive_label" in results.summary.notes[0]
    assert list(results.recommendations.structs()) == []
    (day,), _ = replayed(
        [{"score": score} for score, _ in rows],
        [positive if truth else negative for _, truth in rows],
        positive_label=positive,
    )
    assert shown(day) == pytest.approx(expected(rows), abs=0.001)
    assert (day.positive_label, day.positive_basis) == (positive, "configured")


@pytest.mark.parametrize(
    ("names", "basis"),
    [(("legit", "fraud"), "scores"), (("good", "bad"), "scores"), (("stay", "churn"), "scores")],
)
def test_predictions_beside_scores_say_which_label_is_positive(
    names: tuple[str, str], basis: str
) -> None:
    rows = drawn()
    (day,), _ = replayed(
        [{"score": score, "prediction": names[score >= 0.5]} for score, _ in rows],
        [names[truth] for _, truth in rows],
    )
    assert shown(day) == pytest.approx(expected(rows), abs=0.001)
    assert (day.positive_label, day.positive_basis) == (names[1], basis)


def test_equal_scores_do_not_say_which_label_is_positive() -> None:
    rows = [{"score": 0.8, "prediction": i % 3 == 0} for i in range(ROWS)]
    (day,), _ = replayed(rows, [i % 2 for i in range(ROWS)])
    assert (day.positive_label, day.positive_basis) == ("1", "vocabulary")


def test_predictions_without_scores_have_an_accuracy_but_no_recall_of_an_unknown_label() -> None:
    rows, names = drawn(), ("good", "bad")
    (day,), _ = replayed(
        [{"prediction": names[score >= 0.5]} for score, _ in rows],
        [names[truth] for _, truth in rows],
    )
    assert day.metrics["accuracy"] == expected(rows)["accuracy"]
    for name in ("f1", "recall", "precision"):
        assert day.metrics[name] is None
        assert day.null_reasons[name] == "positive label unknown; set positive_label"


@pytest.mark.parametrize(
    ("predicted", "actual"),
    [
        ((0, 1), (False, True)),
        ((False, True), (0, 1)),
        ((0, 1), ("0.0", "1.0")),
        ((False, True), ("False", "True")),
        (("True", "False")[::-1], ("false", "true")),
        (("No", "Yes"), ("no", "yes")),
        (("no", "yes"), ("no ", " yes")),
        (("no", "yes"), (False, True)),
        (("no", "yes"), (0, 1)),
        ((0, 1), ("legit", "fraud")),
    ],
)
def test_spellings_of_both_sides_meet(predicted: tuple[Any, Any], actual: tuple[Any, Any]) -> None:
    rows = drawn()
    (day,), _ = replayed(
        [{"score": score, "prediction": predicted[score >= 0.5]} for score, _ in rows],
        [actual[truth] for _, truth in rows],
    )
    assert shown(day) == pytest.approx(expected(rows), abs=0.001)
    assert len(day.labels) == 2


def test_labels_that_never_meet_are_named_and_give_no_figure() -> None:
    rows = drawn()
    (day,), results = replayed(
        [{"prediction": ("low", "high")[score >= 0.5]} for score, _ in rows],
        [("kept", "lost")[truth] for _, truth in rows],
    )
    assert day.metrics["accuracy"] is None
    reason = day.null_reasons["accuracy"]
    assert all(label in reason for label in ("low", "high", "kept", "lost"))
    assert results.summary is not None
    assert results.summary.notes == [
        f'm: figures that need labels are withheld: {reason} (see "Labels" in docs/inputs.md)'
    ]


@pytest.mark.parametrize(
    ("stray", "at", "positive"),
    [
        ("maybe", 6, "yes"),
        ("n/a", ROWS + 6, "yes"),
        ("unknown", 6, None),
        ("-1", ROWS + 6, None),
        ("none", 6, "yes"),
        ("zzz", ROWS + 6, None),
    ],
)
def test_a_stray_truth_is_counted_apart_and_changes_no_other_figure(
    stray: str, at: int, positive: str | None
) -> None:
    rows = drawn(2)
    truths = [("no", "yes")[truth] for _, truth in rows]
    truths[at] = stray
    settings = {} if positive is None else {"positive_label": positive}
    days, results = replayed([{"score": score} for score, _ in rows], truths, **settings)
    for number, day in enumerate(days):
        counted = [
            row
            for i, row in enumerate(rows)
            if number * ROWS <= i < (number + 1) * ROWS and i != at
        ]
        assert shown(day) == pytest.approx(expected(counted), abs=0.001)
        has_stray = number == at // ROWS
        assert (day.labels, day.n) == (["no", "yes"], len(counted))
        assert day.strays == ({stray: 1} if has_stray else {})
    assert results.summary is not None
    assert [stray in note for note in results.summary.notes] == [True]


def test_windows_that_overlap_count_a_truth_once_before_the_classes_settle() -> None:
    labels = ["good", "bad"] * 30
    truths = [*labels[:50], "maybe", *labels[51:]]
    figures, _ = replayed(
        [{"prediction": label} for label in labels], truths, windows=["3h/1h", "1d"]
    )
    assert [(each.labels, each.n, each.strays) for each in figures] == [
        (["bad", "good", "maybe"], 60, {})
    ]


def test_windows_that_overlap_compare_the_scores_of_a_prediction_once() -> None:
    rows = [{"prediction": "good", "score": 0.9}, {"prediction": "bad", "score": 0.1}]
    sliding = {"windows": ["3h/1h", "1d"]}
    few, _ = replayed(rows * 9, ["good", "bad"] * 9, **sliding)
    enough, _ = replayed(rows * 10, ["good", "bad"] * 10, **sliding)
    assert [(each.positive_label, each.positive_basis) for each in (*few, *enough)] == [
        (None, None),
        ("good", "scores"),
    ]


def test_a_rare_positive_label_counts_after_many_strays() -> None:
    rows = [{"score": 0.9 if i >= 235 else 0.1} for i in range(ROWS)]
    truths = ["no"] * 110 + [f"stray {i}" for i in range(12)] + ["no"] * 113 + ["yes"] * 5
    (figures,), _ = replayed(rows, truths, windows=["1h", "1d"])
    assert (figures.labels, figures.matrix) == (["no", "yes"], [[223, 0], [0, 5]])
    assert (sum(figures.strays.values()), figures.strays["(other)"]) == (12, 2)


def test_a_truth_joins_a_class_of_predictions_though_predictions_have_its_text_as_a_stray() -> None:
    predictions = ["yes"] * 110 + ["no"] * 10 + ["No"] * 10 + ["no"] * 10
    rows = [{"prediction": each} for each in predictions]
    truths = ["yes"] * 130 + ["No"] * 10
    (figures,), _ = replayed(rows, truths, windows=["1h", "1d"])
    assert (figures.labels, figures.matrix) == (["no", "yes"], [[10, 0], [10, 110]])
    assert figures.strays == {"No": 10}


def test_strays_beyond_the_listed_ones_are_rows_of_figures_that_are_withheld() -> None:
    truths = ["good", "bad"] * 60 + [f"stray {i}" for i in range(15)]
    figures, _ = replayed([{"score": 0.9}] * len(truths), truths, windows=["1h", "1d"])
    assert [(each.labels, each.n, each.strays) for each in figures] == [([], 135, {})]
    assert figures[0].metrics["accuracy"] is None
    assert figures[0].metrics["delay_p50"] == pytest.approx(60_000, rel=0.01)


@pytest.mark.parametrize("token", ["", "  ", "NaN", "NA", "null", "None"])
def test_a_text_that_stands_for_no_label_counts_nowhere_and_is_announced(token: str) -> None:
    rows, names = drawn(), ("no", "yes")
    truths: list[Any] = [names[truth] for _, truth in rows]
    truths[6] = token
    predictions = [{"score": score, "prediction": names[score >= 0.5]} for score, _ in rows]
    predictions[9]["prediction"] = token
    (day,), results = replayed(predictions, truths)
    assert shown(day) == pytest.approx(expected([*rows[:6], *rows[7:]]), abs=0.001)
    assert (day.n, day.n_predictions, day.strays) == (ROWS - 1, ROWS, {})
    assert results.summary is not None
    assert results.summary.rejected == {"ground-truth": {"missing_field": 1}}


def test_missing_labels_can_be_labels_by_configuration() -> None:
    names = ("None", "some")
    rows = drawn()
    predictions = [{"prediction": names[score >= 0.5]} for score, _ in rows]
    truths = [names[truth] for _, truth in rows]
    (day,), _ = replayed(predictions, truths, missing_labels=[""])
    assert (day.labels, day.n) == (["None", "some"], ROWS)


def test_a_positive_label_that_no_row_has_is_told() -> None:
    rows, names = drawn(), ("good", "bad")
    predictions = [{"prediction": names[score >= 0.5]} for score, _ in rows]
    truths = [names[truth] for _, truth in rows]
    (day,), results = replayed(predictions, truths, positive_label="bda")
    assert day.metrics["accuracy"] == expected(rows)["accuracy"]
    assert (day.positive_label, day.metrics["recall"]) == (None, None)
    assert results.summary is not None
    (note,) = results.summary.notes
    assert 'positive_label "bda" is none of the labels "bad", "good"' in note
    (day,), results = replayed(predictions, truths, positive_label="bad")
    assert (day.positive_label, day.metrics["f1"]) == ("bad", expected(rows)["f1"])


def test_a_label_that_only_truths_have_beside_two_is_told_and_the_way_out_works() -> None:
    rows, names = drawn(), ("no", "yes")
    predictions = [{"prediction": names[score >= 0.5]} for score, _ in rows]
    truths = [names[truth] for _, truth in rows]
    truths[::10] = ["unknown"] * (ROWS // 10)
    (day,), results = replayed(predictions, truths)
    assert (day.labels, day.metrics["recall"]) == (["no", "unknown", "yes"], None)
    assert results.summary is not None
    (note,) = results.summary.notes
    assert 'truths have "no", "unknown", "yes" and predictions "no", "yes"' in note
    assert "set labels" in note
    (day,), _ = replayed(predictions, truths, labels=["no", "yes"])
    kept = expected([row for i, row in enumerate(rows) if i % 10])
    assert [day.metrics[name] for name in ("f1", "recall")] == [kept["f1"], kept["recall"]]
    assert day.strays == {"unknown": ROWS // 10}


def test_predictions_without_any_truth_say_nothing_about_labels() -> None:
    found = driftline.check(both_topics([{"score": i / ROWS} for i in range(ROWS)], [])[0])
    assert found.is_understood
    assert [each for each in found.findings if each.check == "labels"] == []


def test_ground_truth_that_is_rejected_is_not_called_missing() -> None:
    outputs = [{"score": i / ROWS} for i in range(ROWS)]
    for truths, said in ([], "the log has no ground truth"), ([""] * ROWS, "all ground truth was"):
        _, results = replayed(outputs, truths)
        assert results.summary is not None
        (note,) = results.summary.notes
        assert note.startswith(said)


def test_a_label_that_is_corrected_back_is_in_force_again() -> None:
    rows, names = drawn(), ("no", "yes")
    predictions, truths = both_topics(
        [{"prediction": names[score >= 0.5]} for score, _ in rows], [names[t] for _, t in rows]
    )
    others = {"no": "yes", "yes": "no"}
    for later_ms, is_other in ((10 * MINUTE, True), (20 * MINUTE, False)):
        truths += [
            row
            | {
                "timestamp": row["timestamp"] + later_ms,
                "label": others[row["label"]] if is_other else row["label"],
            }
            for row in truths[:ROWS]
        ]
    truths.sort(key=lambda row: row["timestamp"])
    results = driftline.replay(predictions, truths, config={"defaults": CONFIG})
    (day,) = final_days(results)
    assert day.metrics["accuracy"] == expected(rows)["accuracy"]
    assert day.counts["corrected"] == 2 * ROWS
    assert set(results.uncounted_share.values()) == {0}


def test_configured_labels_make_a_stray_a_class() -> None:
    rows = drawn()
    names = ("no", "yes")
    truths: list[str] = [names[truth] for _, truth in rows]
    truths[200] = "maybe"
    (day,), _ = replayed(
        [{"prediction": names[score >= 0.5]} for score, _ in rows],
        truths,
        labels=["no", "yes", "maybe"],
    )
    assert (day.labels, day.strays) == (["maybe", "no", "yes"], {})
    assert sum(map(sum, day.matrix)) == day.n == ROWS


def test_a_command_makes_a_stray_a_class_from_its_time_on(tmp_path: Path) -> None:
    rows, names = drawn(4), ("good", "bad")
    truths = [names[truth] for _, truth in rows]
    truths[ROWS * 3 // 2 :: ROWS] = ["unclear"] * 3  # one row on each of the days 2 to 4
    predictions, ground_truth = both_topics(
        [{"prediction": names[score >= 0.5]} for score, _ in rows], truths
    )
    write_lines(tmp_path / "predictions.jsonl", predictions)
    write_lines(tmp_path / "ground-truth.jsonl", ground_truth)
    # Day 2 is complete after day 3, whose figures are complete after day 4.
    asked = {
        "command_id": "c1",
        "command": "set_labels",
        "model_name": "m",
        "timestamp": START + 3 * DAY + HOUR,
        "requested_by": "ada",
        "params": {"labels": ["good", "bad", "unclear"]},
    }
    write_lines(tmp_path / "registry-commands.jsonl", [asked])
    results = driftline.replay(tmp_path, config={"defaults": CONFIG}, out=tmp_path / "out")
    days = [
        (record.labels, record.strays, record.n, record.registry_revision)
        for record in results.metrics.where(lane="decisions", window="1d").structs()
        if record.final
    ]
    assert days == [
        (["bad", "good"], {}, ROWS, 2),
        (["bad", "good"], {"unclear": 1}, ROWS - 1, 2),
        (["bad", "good", "unclear"], {}, ROWS, 3),
        (["bad", "good", "unclear"], {}, ROWS, 3),
    ]
    settled = SettledLabels(labels=["bad", "good"])
    assert [
        (each.revision, each.labels, each.settled) for each in results.model_labels.structs()
    ] == [
        (2, None, settled),
        (3, ["good", "bad", "unclear"], settled),
    ]
    events = [(each.event, each.requested_by) for each in results.registry_events.structs()]
    assert events[:3] == [
        ("register", "driftline"),
        ("record_labels", "driftline"),
        ("set_labels", "ada"),
    ]


def test_a_regression_beside_it_changes_no_figure_of_a_classifier(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(code_book, "MAX_LONG_NUMBERS", 150)
    monkeypatch.setattr(increments, "MOST_IN_DICTIONARY", 20)
    rows, names = drawn(2), ("no", "yes")
    # Every second row is of the regression, which begins a day earlier.
    predictions: list[dict[str, Any]] = []
    truths: list[Any] = []
    for number, (score, truth) in enumerate(rows):
        predictions.append({"prediction": 1000 + number / 7, "model_name": "price"})
        truths.append(1000 + number / 7 + 0.25)
        if number >= ROWS:
            predictions.append({"prediction": names[score >= 0.5]})
            truths.append(names[truth])
    _, results = replayed(predictions, truths)
    table = results.metrics.where(lane="decisions", segment="all", window="1d")
    final = [record for record in table.structs() if record.final]
    classifier = [record for record in final if record.model_name == "m"]
    right = sum((score >= 0.5) == truth for score, truth in rows[ROWS:])
    assert {label for record in classifier for label in record.labels} == {"no", "yes"}
    assert sum(record.n for record in classifier) == ROWS
    assert sum(record.tp + record.tn for record in classifier if record.tp is not None) == right
    regression = [record for record in final if record.model_name == "price"]
    assert {record.null_reasons["accuracy"] for record in regression if record.n} == {
        "more than 100 labels"
    }
