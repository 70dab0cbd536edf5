"""Labels: which texts are one class, which class is positive, which labels are strays."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.streams.label_vocabulary import evident_positive, is_same_label, plain_form
from driftline.streams.measure.counts.labels import (
    MOST_STRAYS,
    NO_LABELS,
    ConfiguredLabels,
    LabelSet,
    ordered,
    paired_labels,
)
from driftline.streams.metrics.metric import UNKNOWN_POSITIVE

NOTHING = ConfiguredLabels()
SPELLINGS = (
    "yes",
    "Yes",
    " yes ",
    "no",
    "NO",
    "true",
    "1",
    "1.0",
    "0",
    "-1",
    "fraud",
    "legit",
    "x",
)


def seen(
    actual: list[str],
    predicted: list[str] | None = None,
    *,
    derived: bool = False,
    configured: ConfiguredLabels = NOTHING,
    before: LabelSet = NO_LABELS,
) -> LabelSet:
    return before.with_more(
        actual, predicted or [], derived=derived, many=False, configured=configured
    )


@pytest.mark.parametrize(
    ("actual", "predicted", "pairs"),
    [
        (["true", "false"], ["1", "0"], {"1": "true", "0": "false"}),
        (["1.0", "0.0"], ["1", "0"], {"1": "1.0", "0": "0.0"}),
        (["True", "False"], ["true", "false"], {"true": "True", "false": "False"}),
        (["yes ", "no"], ["Yes", "no"], {"Yes": "yes ", "no": "no"}),
        (["fraud", "legit"], ["1", "0"], {"1": "fraud", "0": "legit"}),
        (["1.1", "1.10"], ["1.1", "1.10"], {"1.1": "1.1", "1.10": "1.10"}),
        (["007", "7"], ["7"], {"7": "7"}),
        # Two labels of one side have the same form, so neither may be chosen.
        (["yes", "Yes"], ["YES"], {}),
        (["true", "yes"], ["1"], {}),
        # The one that is equal is not in doubt.
        (["yes", "Yes"], ["Yes", "YES"], {"Yes": "Yes"}),
        (["cat", "dog"], ["bird"], {}),
    ],
)
def test_labels_of_both_sides_meet_where_that_is_unambiguous(
    actual: list[str], predicted: list[str], pairs: dict[str, str]
) -> None:
    assert paired_labels(actual, predicted) == pairs


labels = st.lists(st.sampled_from(SPELLINGS), unique=True, max_size=6)


@given(labels, labels)
def test_pairs_never_merge_two_labels_of_a_side_and_do_not_depend_on_the_order(
    actual: list[str], predicted: list[str]
) -> None:
    pairs = paired_labels(actual, predicted)
    assert len(set(pairs.values())) == len(pairs)
    assert pairs == paired_labels(actual[::-1], predicted[::-1])
    assert {left: right for right, left in pairs.items()} == paired_labels(predicted, actual)
    for label in set(actual) & set(predicted):
        assert pairs[label] == label


@given(labels, labels, st.booleans())
def test_classes_do_not_depend_on_the_order_in_which_labels_come(
    actual: list[str], predicted: list[str], derived: bool
) -> None:
    once = seen(actual, predicted, derived=derived)
    steps = NO_LABELS
    for label in predicted[::-1]:
        steps = seen([], [label], derived=derived, before=steps)
    for label in actual:
        steps = seen([label], [], derived=derived, before=steps)
    assert steps.judged(NOTHING) == once.judged(NOTHING)
    judged = once.judged(NOTHING)
    for side, strays, texts in (
        (0, judged.actual_strays, actual),
        (1, judged.predicted_strays, predicted),
    ):
        own = [(each.actual, each.predicted)[side] for each in judged.classes]
        taken = [text for text in own if text is not None]
        assert sorted([*taken, *strays]) == sorted(texts)


@pytest.mark.parametrize(
    ("one", "other", "positive"),
    [
        ("0", "1", "1"),
        ("-1", "1", "1"),
        ("True", "False", "True"),
        ("legit", "fraud", "fraud"),
        ("donated", "not donated", "donated"),
        ("non-fraud", "fraud", "fraud"),
        ("good", "bad", None),
        ("paid", "default", None),
        ("stay", "churn", None),
        ("pass", "fail", None),
        ("yes", "fraud", None),
        ("no", "nothing", None),
    ],
)
def test_a_positive_label_is_evident_or_unknown_whatever_the_alphabet_says(
    one: str, other: str, positive: str | None
) -> None:
    assert evident_positive(one, other) == evident_positive(other, one) == positive


def test_plain_forms_keep_what_distinguishes_codes() -> None:
    distinct = ["1.1", "1.10", "007", "7", "E11.9", "e11.90", "12345678901234567890"]
    assert len({plain_form(label) for label in distinct}) == len(distinct)


@pytest.mark.parametrize(
    ("actual", "predicted", "same"),
    [("yes", "yes", True), ("a", "b", False), ("yes", "0", False), ("1", "yes", None)],
)
def test_a_single_row_is_right_or_wrong_only_where_no_other_label_matters(
    actual: str, predicted: str, same: bool | None
) -> None:
    assert is_same_label(actual, predicted) is same


def test_the_positive_label_comes_from_the_configuration_then_scores_then_the_vocabulary() -> None:
    both = seen(["no", "yes"], ["0", "1"])
    assert both.positive_class(NOTHING) == ("yes", "vocabulary")
    scored = LabelSet(both.actual, both.predicted, scored="0")
    assert scored.positive_class(NOTHING) == ("no", "scores")
    for spelling in ("yes", "YES", "1", "true"):
        assert scored.positive_class(ConfiguredLabels(positive=spelling)) == ("yes", "configured")


def test_without_a_positive_label_scores_cannot_be_counted_and_predictions_can() -> None:
    assert seen(["good", "bad"], derived=True).problem(NOTHING) == UNKNOWN_POSITIVE
    texts = seen(["good", "bad"], ["good", "bad"])
    assert (texts.problem(NOTHING), texts.positive_class(NOTHING)) == (None, (None, None))
    assert (
        seen(["fraud"], derived=True).problem(NOTHING)
        == "one label seen; set labels and positive_label"
    )


def test_labels_that_never_meet_are_a_problem_but_an_evident_pair_may_be_all_wrong() -> None:
    pets = seen(["cat"], ["dog"])
    assert pets.settle({"cat": 19}, {"dog": 19}, NOTHING).problem(NOTHING) is None
    apart = pets.settle({"cat": 20}, {"dog": 20}, NOTHING)
    assert apart.problem(NOTHING) == 'no label in common: actual "cat"; predicted "dog"'
    assert seen(["dog"], before=apart).problem(NOTHING) is None
    wrong = seen(["yes"], ["no"])
    assert wrong.settle({"yes": 99}, {"no": 99}, NOTHING).problem(NOTHING) is None


@pytest.mark.parametrize("order", list(permutations(["yes", "maybe", "no"])))
def test_a_third_label_beside_an_evident_pair_and_scores_is_a_stray_from_the_start(
    order: tuple[str, ...],
) -> None:
    label_set = NO_LABELS
    for label in order:
        label_set = seen([label], derived=True, before=label_set)
    judged = label_set.judged(NOTHING)
    assert (judged.names, judged.strays) == (("no", "yes"), ("maybe",))
    assert label_set.problem(NOTHING) is None


def test_rare_labels_of_one_side_are_strays_once_the_classes_settle() -> None:
    before = seen(["good", "bad", "n/a"], ["good", "bad", "rare"])
    truths, predictions = {"good": 60, "bad": 139, "n/a": 2}, {"good": 99, "bad": 99, "rare": 3}
    settled = before.settle(truths, predictions, NOTHING)
    judged = settled.judged(NOTHING)
    # 2 of 201 truths are at most 1 %, 3 of 201 predictions are more.
    assert (judged.names, judged.strays) == (("bad", "good", "rare"), ("n/a",))
    later = seen(["unknown"], ["error"], before=settled).judged(NOTHING)
    assert (later.names, later.strays) == (judged.names, ("n/a", "unknown", "error"))


def test_a_rare_class_is_none_of_the_strays() -> None:
    # Both sides have it; or only two labels are left; or it is positive by configuration.
    both = seen(["a", "b", "c"], ["a", "b", "c"]).settle(
        {"a": 500, "b": 499, "c": 1}, {"a": 500, "b": 500}, NOTHING
    )
    assert both.judged(NOTHING).names == ("a", "b", "c")
    two = seen(["legit", "bad"], derived=True).settle({"legit": 999, "bad": 1}, {}, NOTHING)
    assert two.judged(NOTHING).names == ("bad", "legit")
    configured = ConfiguredLabels(positive="fraud")
    three = seen(["fraud", "legit", "maybe"], derived=True, configured=configured).settle(
        {"legit": 997, "maybe": 2, "fraud": 1}, {}, configured
    )
    assert three.judged(configured).names == ("fraud", "legit")


def test_a_stray_that_comes_before_the_second_label_of_a_pair_does_not_take_its_place() -> None:
    settled = seen(["no", "maybe"], derived=True).settle({"no": 200, "maybe": 1}, {}, NOTHING)
    assert settled.judged(NOTHING).names == ("no", "yes")
    later = seen(["yes"], before=settled)
    assert (later.judged(NOTHING).names, later.judged(NOTHING).strays) == (
        ("no", "yes"),
        ("maybe",),
    )
    assert [each.actual for each in later.judged(NOTHING).classes] == ["no", "yes"]


@pytest.mark.parametrize(
    ("actual", "predicted", "truths"),
    [
        (["a", "b"], [], {"a": 50, "b": 49}),  # 99 truths
        (["a"], ["a"], {"a": 500}),  # one class, without a pair
    ],
)
def test_classes_settle_only_when_they_can_be_known(
    actual: list[str], predicted: list[str], truths: dict[str, int]
) -> None:
    before = seen(actual, predicted)
    assert before.settle(truths, {}, NOTHING) is before


def test_a_settled_class_takes_the_text_of_the_other_side_and_no_second_one() -> None:
    settled = seen(["false", "true"], derived=True).settle({"false": 90, "true": 90}, {}, NOTHING)
    later = seen(["True"], ["1", "0"], before=settled).judged(NOTHING)
    assert [(each.actual, each.predicted) for each in later.classes] == [
        ("false", "0"),
        ("true", "1"),
    ]
    assert later.strays == ("True",)


def test_configured_labels_are_the_classes_and_everything_else_is_a_stray() -> None:
    configured = ConfiguredLabels(("no", "yes"), "yes")
    label_set = seen(["maybe"], ["0", "1"], configured=configured)
    label_set = seen(["Yes", "No"], before=label_set, configured=configured)
    judged = label_set.judged(configured)
    assert (judged.names, judged.strays) == (("no", "yes"), ("maybe",))
    assert [(each.actual, each.predicted) for each in judged.classes] == [("No", "0"), ("Yes", "1")]


def test_strays_are_listed_up_to_a_limit() -> None:
    settled = seen(["a", "b"], ["a", "b"]).settle({"a": 90, "b": 90}, {}, NOTHING)
    many = seen([f"x{i:03}" for i in range(500)], before=settled)
    assert len(many.judged(NOTHING).strays) == MOST_STRAYS
    assert many == seen([f"x{i:03}" for i in reversed(range(500))], before=settled)
    assert many.judged(NOTHING).names == ("a", "b")
    assert many.problem(NOTHING) is None


def test_labels_are_ordered_as_numbers_only_if_all_are_integers() -> None:
    assert ordered(["10", "9"]) == ("9", "10")
    assert ordered(["10", "9", "x"]) == ("10", "9", "x")


def test_more_labels_than_a_matrix_takes_are_a_problem_with_the_limit_in_it() -> None:
    many = seen([f"{i:03}" for i in range(101)])
    assert many.problem(NOTHING) == "more than 100 labels"
    assert len(many.actual) <= 100


def test_a_report_says_whether_more_truths_may_change_it() -> None:
    early = seen(["good", "bad"], ["good", "bad"])
    settled = early.settle({"good": 90, "bad": 90}, {}, NOTHING)
    assert [each.report("m", NOTHING).is_early for each in (early, settled)] == [True, False]
    assert early.report("m", NOTHING).warnings == settled.report("m", NOTHING).warnings
    assert "set positive_label" in settled.report("m", NOTHING).warnings[0]
    assert seen(["no", "yes"], derived=True).report("m", NOTHING).warnings == []


def test_a_report_has_no_problem_before_any_label_came() -> None:
    for configured in (NOTHING, ConfiguredLabels(positive="fraud")):
        report = seen([], derived=True).report("m", configured)
        assert (report.problem, report.warnings) == (None, [])


def test_a_positive_label_that_no_row_has_is_named_beside_those_that_rows_have() -> None:
    absent = ConfiguredLabels(positive="fruad")
    expected = (
        'positive_label "fruad" is none of the labels "fraud", "legit"; correct it, or set labels'
    )
    assert seen(["fraud", "legit"], derived=True).problem(absent) == expected
    both = seen(["fraud", "legit"], ["fraud", "legit"])
    assert both.problem(absent) is None
    assert both.report("m", absent).warnings == [f"m: {expected}"]
    # The first positive row may be to come.
    assert seen(["legit"], ["legit"]).report("m", absent).warnings == []


def test_three_labels_are_doubted_if_one_side_has_two_of_them() -> None:
    def warnings(actual: list[str], predicted: list[str]) -> list[str]:
        return seen(actual, predicted).report("m", NOTHING).warnings

    (warning,) = warnings(["no", "unknown", "yes"], ["no", "yes"])
    assert 'truths have "no", "unknown", "yes" and predictions "no", "yes"' in warning
    assert "set labels" in warning
    (warning,) = warnings(["1", "\u22121"], ["-1", "1"])
    assert "with 3 labels" in warning
    assert warnings(["a", "b", "c", "d"], ["a", "b", "c"]) == []
    (warning,) = warnings(["cat"], ["dog"])
    assert warning.endswith("no label in common so far")
    set_to = ConfiguredLabels(labels=("no", "unknown", "yes"))
    both = NO_LABELS.with_more(
        ["no", "unknown", "yes"], ["no", "yes"], derived=False, many=False, configured=set_to
    )
    assert both.report("m", set_to).warnings == []
    none = NO_LABELS.with_more(
        ["good", "bad"], ["good", "bad"], derived=False, many=False, configured=set_to
    )
    assert "no row has one of its labels; correct labels" in none.report("m", set_to).warnings[0]


def test_two_spellings_on_one_side_are_told_unless_both_sides_have_both() -> None:
    def warnings(actual: list[str], predicted: list[str]) -> list[str]:
        return seen(actual, predicted).report("m", NOTHING).warnings

    pets = ["cat", "dog", "fox"]
    assert warnings([*pets, "Cat "], pets) == [
        'm: truths have both "cat" and "Cat ", which count as two labels; send one of them'
    ]
    (warning,) = warnings(["0", "1"], ["0", "1", "1.0"])
    assert 'predictions have both "1" and "1.0"' in warning
    assert warnings([*pets, "Cat"], [*pets, "Cat"]) == []
