"""The oracle on logs small enough for hand calculation."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from tests.oracle.figures import Figure, Place, count, newest
from tests.oracle.joining import Joined, join
from tests.oracle.label_sets import Judged, labels_of
from tests.oracle.recorded import partition_of
from tests.oracle.settings import DAY, HOUR, MINUTE, Settings

T0 = 1_709_251_200_000  # 2024-03-01T00:00:00Z
NOW = T0 + 365 * DAY
LADDER = """
[defaults]
windows = ["1d"]
maturity = ["1h", "6h", "1d"]
label_horizon = "30d"
correction_horizon = "7d"
"""


def prediction(at: int = 0, identity: str = "a", **output: Any) -> dict[str, Any]:
    fields = {
        "prediction_id": identity,
        "model_name": "m",
        "model_version": "1",
        "timestamp": T0 + at,
    }
    return fields | (output or {"prediction": "A"})


def truth(at: int, label: str | None, revision: int = 0, identity: str = "a") -> dict[str, Any]:
    event = {"prediction_id": identity, "timestamp": T0 + at, "revision": revision}
    return event | ({"retracted": True} if label is None else {"label": label})


def run(
    folder: Path,
    predictions: list[dict[str, Any]],
    truths: list[dict[str, Any]],
    toml: str = LADDER,
) -> tuple[Joined, dict[Place, Figure]]:
    folder.mkdir(exist_ok=True)
    for name, events in (("predictions", predictions), ("ground-truth", truths)):
        (folder / f"{name}.jsonl").write_text(
            "".join(json.dumps(event) + "\n" for event in events), encoding="utf-8"
        )
    settings = Settings.from_toml(toml)
    joined = join(folder, settings, partitions=1, now=NOW)
    return joined, count(joined, settings)


def decided(
    figures: dict[Place, Figure], rung: str, start: int = 0
) -> tuple[int, dict[tuple[str, str], int]]:
    figure = figures[Place("m", "1", "all", "decisions", "1d", rung, T0 + start)]
    return figure.n, {cell: n for cell, n in figure.cells.items() if n}


def counter(figures: dict[Place, Figure], name: str, lane: str = "arrivals") -> dict[int, int]:
    """Count by day of the window, from 0; in decisions at the last rung."""
    return {
        (place.start - T0) // DAY: figure.counts[name]
        for place, figure in figures.items()
        if (place.lane, place.segment) == (lane, "all")
        and place.rung in ("-", "30d")
        and figure.counts[name]
    }


#   hours  0 ----- 0.5 -- 5 ------ 9 ---------- 26       prediction A at 0
#          A?       A     B       none           B       truths of revision 0, 1, 2, 3
EXAMPLE = [
    truth(30 * MINUTE, "A", 0),
    truth(5 * HOUR, "B", 1),
    truth(9 * HOUR, None, 2),
    truth(26 * HOUR, "B", 3),
]


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_worked_example_counts_the_same_in_every_order_of_arrival(
    tmp_path: Path, order: tuple[int, ...]
) -> None:
    late_enough = LADDER + 'truth_grace = "2d"\n'
    _, figures = run(tmp_path, [prediction()], [EXAMPLE[i] for i in order], late_enough)
    assert decided(figures, "1h") == (1, {("A", "A"): 1})
    assert decided(figures, "6h") == (1, {("B", "A"): 1})
    assert decided(figures, "1d") == (0, {})
    assert decided(figures, "30d") == (1, {("B", "A"): 1})
    assert counter(figures, "corrected", "decisions") == {0: 2}
    assert counter(figures, "retracted", "decisions") == {0: 1}


def test_worked_example_counts_each_new_label_in_arrivals(tmp_path: Path) -> None:
    _, figures = run(tmp_path, [prediction()], EXAMPLE)
    cells = {
        place.start - T0: figure.cells
        for place, figure in figures.items()
        if place.lane == "arrivals"
    }
    # First day: A at 00:30, B at 05:00, a retraction at 09:00. Second day: B at 26:00.
    assert cells == {0: {("A", "A"): 1, ("B", "A"): 1}, DAY: {("B", "A"): 1}}


def test_rungs_horizon_and_correction_horizon_are_inclusive(tmp_path: Path) -> None:
    for delay, first_rung in (
        (HOUR, "1h"),
        (HOUR + 1, "6h"),
        (DAY, "1d"),
        (DAY + 1, "30d"),
        (30 * DAY, "30d"),
    ):
        _, figures = run(tmp_path, [prediction()], [truth(delay, "A")])
        reached = [rung for rung in ("1h", "6h", "1d", "30d") if decided(figures, rung)[0]]
        assert reached[0] == first_rung
    _, figures = run(tmp_path, [prediction()], [truth(HOUR, "A"), truth(HOUR + 7 * DAY, "B", 1)])
    assert decided(figures, "30d") == (1, {("B", "A"): 1})


def test_truth_after_the_label_horizon_is_unmatched(tmp_path: Path) -> None:
    _, figures = run(tmp_path, [prediction()], [truth(30 * DAY + 1, "A")])
    assert counter(figures, "expired") == {30: 1}
    assert [place.model for place, figure in figures.items() if figure.counts["unmatched"]] == [""]


def test_correction_beyond_its_horizon_counts_only_for_a_later_shadow_model(
    tmp_path: Path,
) -> None:
    shadow = prediction(3 * DAY, model_name="shadow", prediction="B")
    _, figures = run(tmp_path, [prediction(), shadow], [truth(HOUR, "A"), truth(8 * DAY, "B", 1)])
    # "m" waits until 7 days after hour 1, "shadow" until 7 days after day 3.
    assert counter(figures, "late_truths") == counter(figures, "unmatched") == {}
    assert decided(figures, "30d") == (1, {("A", "A"): 1})
    at_shadow = figures[Place("shadow", "1", "all", "decisions", "1d", "30d", T0 + 3 * DAY)]
    assert {cell: n for cell, n in at_shadow.cells.items() if n} == {("B", "B"): 1}


def test_late_truth_moves_to_a_later_rung(tmp_path: Path) -> None:
    # The watermark of the truths is at 5 h 30 min when the truth of 00:30 is read; less 10 minutes
    # of grace: known at 5 h 20 min.
    _, figures = run(
        tmp_path,
        [prediction()],
        [
            *(truth(5 * HOUR + 30 * MINUTE, "B", identity=f"other{i}") for i in range(10)),
            truth(30 * MINUTE, "A"),
        ],
    )
    assert decided(figures, "1h") == (0, {})
    assert decided(figures, "6h") == (1, {("A", "A"): 1})


def test_late_prediction_counts_at_the_rung_of_its_lateness_and_not_in_traffic(
    tmp_path: Path,
) -> None:
    ahead = [prediction(2 * HOUR, f"ahead{i}") for i in range(10)]
    _, figures = run(tmp_path, [*ahead, prediction()], [truth(1, "A")])
    # Floor 01:59 at the late row: its rung is 6h, and its truth is known at 01:59 too.
    seen = {
        rung: figures[Place("m", "1", "all", "decisions", "1d", rung, T0)].counts["predictions"]
        for rung in ("1h", "6h")
    }
    assert seen == {"1h": 10, "6h": 11}
    assert decided(figures, "1h")[0] == 0
    assert decided(figures, "6h")[0] == 1
    assert counter(figures, "predictions", "traffic") == {0: 10}
    assert counter(figures, "late_predictions") == {0: 1}


def test_prediction_later_than_the_correction_horizon_is_dropped(tmp_path: Path) -> None:
    ahead = [prediction(7 * DAY + MINUTE + 1, f"ahead{i}") for i in range(10)]
    _, figures = run(tmp_path, [*ahead, prediction()], [])
    assert counter(figures, "dropped_predictions") == {7: 1}
    assert counter(figures, "late_predictions") == {}
    assert counter(figures, "predictions", "decisions") == {7: 10}


def test_one_row_that_is_far_ahead_leaves_the_others_in_time(tmp_path: Path) -> None:
    rows = [prediction(i * MINUTE, f"{i}") for i in range(10)]
    ahead = prediction(200 * DAY, "ahead")
    _, figures = run(tmp_path, [*rows, ahead, prediction(10 * MINUTE)], [])
    assert counter(figures, "dropped_predictions") == {}
    assert counter(figures, "late_predictions") == {}
    assert counter(figures, "predictions", "traffic") == {0: 11, 200: 1}


def test_truth_before_its_prediction_is_known_from_the_prediction_on(tmp_path: Path) -> None:
    _, figures = run(tmp_path, [prediction(DAY)], [truth(0, "A")])
    assert decided(figures, "1h", DAY) == (1, {("A", "A"): 1})
    arrived = {
        place.start: figure.n
        for place, figure in figures.items()
        if place.lane == "arrivals" and figure.n
    }
    assert arrived == {T0 + DAY: 1}


def test_rewritten_copy_is_a_duplicate_and_different_content_a_conflict(
    tmp_path: Path,
) -> None:
    first = prediction(score=1, prediction="A")
    rewritten = {
        "request_id": "a",
        "probability": 1.0,
        "y_pred": "A",
        "model": "m",
        "version": "1",
        "ts": "2024-03-01T02:00:00+02:00",
    }
    joined, figures = run(tmp_path, [first, rewritten, prediction(score=0.9, prediction="A")], [])
    assert counter(figures, "duplicate_predictions") == {0: 1}
    assert counter(figures, "conflicting_predictions") == {0: 1}
    assert joined.rejected_predictions == {2: "conflict"}
    assert counter(figures, "predictions", "traffic") == {0: 1}


def test_equal_truths_have_the_earliest_time(tmp_path: Path) -> None:
    _, figures = run(tmp_path, [prediction()], [truth(HOUR + MINUTE, "A"), truth(HOUR, "A")])
    assert decided(figures, "1h")[0] == 1
    duplicates = {
        place.model: figure.counts["duplicate_truths"]
        for place, figure in figures.items()
        if figure.counts["duplicate_truths"]
    }
    assert duplicates == {"": 1}


def test_predicted_label_follows_from_prediction_then_score_then_classes(tmp_path: Path) -> None:
    toml = LADDER + 'positive_label = "yes"\n[models.m]\nthreshold = 0.6\n'
    outputs = [
        {"prediction": "no", "score": 0.9},
        {"score": 0.6},
        {"score": 0.59},
        {"score": 0.55, "threshold": 0.55},
        {"scores": {"yes": 0.5, "no": 0.5}},
    ]
    predictions = [prediction(identity=str(i), **fields) for i, fields in enumerate(outputs)]
    truths = [truth(MINUTE, "yes", identity=str(i)) for i in range(len(outputs))] + [
        truth(MINUTE, "no", identity="x")
    ]
    joined, figures = run(tmp_path, predictions, truths, toml)
    place = Place("m", "1", "all", "decisions", "1d", "30d", T0)
    settings = Settings.from_toml(toml)
    labels = labels_of(figures, newest(joined, settings), settings)[place]
    # At 0.6 and above yes, 0.59 no, 0.55 by the row's own threshold yes; of equal classes the first
    # by name.
    assert labels.cells(figures[place]) == ({("yes", "no"): 3, ("yes", "yes"): 2}, {})


def test_sliding_windows_are_aligned_to_the_epoch_and_exclude_their_end(tmp_path: Path) -> None:
    #   0----1----2----3     size 2 h, step 1 h
    #   [---------)          a row at 2 h belongs to the
    #        [---------)     windows from 1 h and from 2 h
    toml = LADDER.replace('["1d"]', '["2h/1h"]')
    _, figures = run(tmp_path, [prediction(2 * HOUR)], [], toml)
    assert sorted(place.start - T0 for place in figures if place.lane == "traffic") == [
        HOUR,
        2 * HOUR,
    ]


def test_invalid_lines_are_rejected_and_move_no_watermark(tmp_path: Path) -> None:
    ahead = T0 + 3 * DAY
    bad = [
        b"not json",
        b"\xff\xfe{",
        json.dumps(
            {"model_name": "m", "model_version": "1", "timestamp": ahead, "prediction": 1}
        ).encode(),
        json.dumps(prediction() | {"timestamp": ahead, "score": 1.7}).encode(),
        json.dumps(prediction() | {"timestamp": ahead, "score": float("nan")}).encode(),
        json.dumps(prediction() | {"timestamp": "2054-01-01T00:00:00Z"}).encode(),
        json.dumps(prediction() | {"timestamp": ahead, "prediction_id": "x" * (1 << 21)}).encode(),
    ]
    good = [
        json.dumps(prediction(HOUR, "b")).encode(),
        json.dumps(prediction(HOUR - MINUTE)).encode(),
    ]
    (tmp_path / "predictions.jsonl").write_bytes(b"\n".join([*bad, *good]) + b"\n")
    (tmp_path / "ground-truth.jsonl").write_bytes(b"")
    settings = Settings.from_toml(LADDER)
    joined = join(tmp_path, settings, partitions=1, now=NOW)
    assert sorted(joined.rejected_predictions) == list(range(len(bad)))
    assert counter(count(joined, settings), "predictions", "traffic") == {0: 2}


def test_partition_equals_kafkas_default_partitioner() -> None:
    # hash -790332482 of "foobar", sign bit cleared: 1357151166.
    assert [partition_of(b"foobar", n) for n in (2, 7, 10)] == [0, 1357151166 % 7, 6]


HOURLY = """
[defaults]
windows = ["1h"]
maturity = ["1h"]
label_horizon = "2h"
correction_horizon = "1h"
park = "2h"
"""


def meant(
    folder: Path, outputs: list[dict[str, Any]], labels: list[Any], toml: str = HOURLY
) -> dict[tuple[int, str], Judged]:
    """What labels mean by hour and rung, with a prediction and its truth every three minutes."""
    predictions = [prediction(3 * i * MINUTE, str(i), **output) for i, output in enumerate(outputs)]
    truths = [
        {**truth(3 * i * MINUTE, "", identity=str(i)), "label": label}
        for i, label in enumerate(labels)
    ]
    joined, figures = run(folder, predictions, truths, toml)
    settings = Settings.from_toml(toml)
    judged = labels_of(figures, newest(joined, settings), settings)
    return {
        ((place.start - T0) // HOUR, place.rung): each
        for place, each in judged.items()
        if (place.lane, place.segment) == ("decisions", "all")
    }


def test_classes_settle_with_the_hundredth_truth_and_later_labels_are_strays(
    tmp_path: Path,
) -> None:
    # 20 truths an hour: the 100th comes in the fifth hour, whose truths are complete an hour
    # before its decisions at the first rung.
    labels = ["good", "bad"] * 70
    for place, other in ((30, "early"), (31, "early"), (110, "late")):
        labels[place] = other
    outputs = [{"prediction": label} for label in ["good", "bad"] * 70]
    found = meant(tmp_path, outputs, labels)
    assert [(found[hour, "1h"].names, found[hour, "1h"].listed) for hour in range(7)] == [
        (["bad", "good"], ()),
        (["bad", "early", "good"], ()),  # 2 of 100 are above 1 %
        (["bad", "early", "good"], ()),
        (["bad", "early", "good"], ()),
        (["bad", "early", "good"], ()),
        (["bad", "early", "good"], ("late",)),
        (["bad", "early", "good"], ("late",)),
    ]


def test_a_label_of_one_in_a_hundred_truths_is_a_stray(tmp_path: Path) -> None:
    labels = ["good", "bad"] * 70
    labels[30] = "early"
    outputs = [{"prediction": label} for label in ["good", "bad"] * 70]
    found = meant(tmp_path, outputs, labels)
    assert [found[hour, "1h"].names for hour in (1, 2, 3, 4)] == [
        ["bad", "early", "good"],
        ["bad", "early", "good"],
        ["bad", "early", "good"],
        ["bad", "good"],
    ]


def test_scores_say_which_label_is_positive_after_ten_of_each(tmp_path: Path) -> None:
    outputs = [{"prediction": "x", "score": 0.2}, {"prediction": "y", "score": 0.7}] * 20
    one = [{"prediction": "x", "score": 0.2}] * 11 + [{"prediction": "y", "score": 0.7}] * 9
    found = meant(tmp_path / "both", outputs, ["x", "y"] * 20)
    assert [(each.positive, each.basis) for each in found.values()] == [("y", "scores")] * 4
    few = meant(tmp_path / "few", one, ["x", "y"] * 10)
    assert [(each.positive, each.basis) for each in few.values()] == [(None, None)] * 2


def test_spellings_of_both_sides_are_one_class(tmp_path: Path) -> None:
    found = meant(tmp_path, [{"prediction": 0}, {"prediction": 1}] * 2, [" False", "TRUE"] * 2)
    judged = found[0, "2h"]
    assert [(each.actual, each.predicted) for each in judged.classes] == [
        (" False", "0"),
        ("TRUE", "1"),
    ]
    assert (judged.positive, judged.basis, judged.counted) == ("TRUE", "vocabulary", True)


def test_labels_without_one_in_common_are_withheld_after_twenty_truths(tmp_path: Path) -> None:
    found = meant(tmp_path, [{"prediction": "cat"}] * 40, ["a"] * 40)
    assert [each.counted for each in found.values()] == [False] * 4
    few = meant(tmp_path / "few", [{"prediction": "cat"}] * 19, ["a"] * 19)
    assert [each.counted for each in few.values()] == [True] * 2


def test_rows_dated_ahead_and_decades_behind_count_at_no_other_row(tmp_path: Path) -> None:
    rows = [prediction(HOUR * i // 4, f"{i}") for i in range(12)]
    rows[6:6] = [prediction(300 * DAY, "ahead"), prediction(-20 * 365 * DAY, "behind")]
    _, figures = run(tmp_path, rows, [], HOURLY)
    assert {
        place.start - T0: figure.counts["predictions"]
        for place, figure in figures.items()
        if (place.lane, place.segment) == ("traffic", "all")
    } == {0: 4, HOUR: 4, 2 * HOUR: 4, 300 * DAY: 1}
    # The row decades behind is dropped where the watermark was, less the grace.
    assert {
        place.start - T0: figure.counts["dropped_predictions"]
        for place, figure in figures.items()
        if figure.counts["dropped_predictions"] and place.segment == "all"
    } == {HOUR: 1}
