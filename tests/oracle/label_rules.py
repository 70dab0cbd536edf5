"""Which labels are one class, which class is positive, and which labels are strays, by the rules of
`docs/inputs.md`.

Everything here is about the labels of one model at one moment; `label_sets.py` follows them over
time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product

YES = ("1", "true", "t", "yes", "y", "positive", "pos")
NO = ("0", "-1", "false", "f", "no", "n", "negative", "neg")
SIGNED = (("0", "1"), ("false", "true"), ("no", "yes"), ("negative", "positive"), ("n", "y"))
OTHER_EVIDENT = (
    *((negative, "fraud") for negative in ("legit", "legitimate", "genuine", "normal")),
    *((negative, "fraudulent") for negative in ("legit", "legitimate", "genuine")),
    ("ham", "spam"),
    ("benign", "malignant"),
    ("benign", "malicious"),
    ("normal", "abnormal"),
    ("normal", "anomaly"),
    ("normal", "anomalous"),
    ("f", "t"),
    ("neg", "pos"),
    ("-1", "1"),
)
IMPLIED = dict([*SIGNED[:4], *(pair[::-1] for pair in SIGNED[:4])])
NO_LABEL = ("", "NaN", "nan", "NA", "null", "None", "  ")
SETTLED_ROWS, APART_ROWS, STRAY_SHARE, SCORED_ROWS = 100, 20, 0.01, 10


def plain(text: str) -> str:
    """Without blanks around it, case, and decimals of a whole number."""
    text = text.strip().lower()
    return text.split(".")[0] if re.fullmatch(r"-?[0-9]+\.0*", text) else text


def sign(text: str) -> str | None:
    return "yes" if plain(text) in YES else "no" if plain(text) in NO else None


def evident(one: str, other: str) -> str | None:
    """The positive label of two, if that is evident."""
    for negative, positive in ((one, other), (other, one)):
        pair = plain(negative), plain(positive)
        if pair in SIGNED or pair in OTHER_EVIDENT:
            return positive
        if re.sub("^(not|non|no)[ _-]+", "", pair[0]) == pair[1] != pair[0]:
            return positive
    return None


FORMS: tuple[Callable[[str], str | None], ...] = (str, plain, sign)
"""Two texts are one class if one of these, in this order, is the same for both."""


@dataclass(frozen=True)
class Class:
    """A label with its text in truths and in predictions, None before one came."""

    name: str
    actual: str | None = None
    predicted: str | None = None


def classes_of(
    actual: Sequence[str], predicted: Sequence[str], named: Sequence[str] = ()
) -> list[Class]:
    """Which labels of the two sides are one class, by the first rule that fits, and the `named`
    labels of the configuration that no row has.
    """
    partner: dict[str, str] = {}
    for form in FORMS:
        pairs = [
            (one, other)
            for one, other in product(actual, predicted)
            if form(one) is not None
            and form(one) == form(other)
            and sum(form(each) == form(one) for each in actual) == 1
            and sum(form(each) == form(one) for each in predicted) == 1
        ]
        for one, other in pairs:
            if one not in partner and other not in partner.values():
                partner[one] = other
    left = [one for one in actual if one not in partner]
    right = [other for other in predicted if other not in partner.values()]
    if len(left) == len(right) == 2 and evident(*left) and evident(*right):
        for one in left:
            positive = one == evident(*left)
            partner[one] = next(other for other in right if (other == evident(*right)) == positive)
    found = [Class(one, one, partner.get(one)) for one in actual]
    found += [Class(each, None, each) for each in predicted if each not in partner.values()]
    for label in named:
        if class_of(found, label) is None:
            found.append(Class(label))
    return found


def class_of(classes: Sequence[Class], label: str) -> Class | None:
    """The class that a label names, by the first rule by which any class fits; None if several
    do.
    """
    for form in FORMS:
        same = [
            each
            for each in classes
            if form(label) is not None
            and form(label)
            in {form(text) for text in (each.name, each.actual, each.predicted) if text}
        ]
        if same:
            return same[0] if len(same) == 1 else None
    return None


def with_implied(classes: list[Class]) -> list[Class]:
    """A single label of a pair of words implies the other one, in the same case."""
    if len(classes) != 1 or plain(classes[0].name) not in IMPLIED:
        return classes
    return [*classes, Class(implied(classes[0].name))]


def implied(name: str) -> str:
    """The other label of an evident pair, in the same case."""
    other = IMPLIED[plain(name)]
    return other.upper() if name.isupper() else other.capitalize() if name.istitle() else other


def told_by_scores(classes: list[Class], positive: str | None) -> list[Class]:
    """Scores tell two labels apart: of more than two, those two that alone are an evident pair."""
    pairs = [
        [one, other]
        for one, other in combinations(classes, 2)
        if evident(one.name, other.name)
        and (positive is None or any(class_of([each], positive) for each in (one, other)))
    ]
    return pairs[0] if len(classes) > 2 and len(pairs) == 1 else classes


def settled(
    classes: Sequence[Class],
    positive: str | None,
    actual: Mapping[str, int],
    predicted: Mapping[str, int],
    n: int,
) -> list[Class]:
    """The classes without the labels that only one side has, in at most 1 % of `n` rows.

    The positive class stays, and so do two: with one left, the other label of the pair of words is
    the second, or the one with the most rows.
    """

    def rows(each: Class) -> int:
        return max(actual.get(each.actual or "", 0), predicted.get(each.predicted or "", 0))

    kept = [
        each
        for each in classes
        if each.name == positive
        or (each.actual is not None and each.predicted is not None)
        or rows(each) > STRAY_SHARE * n
    ]
    if len(kept) != 1:
        return kept
    rare = sorted((each for each in classes if each not in kept), key=lambda c: (-rows(c), c.name))
    if plain(kept[0].name) not in IMPLIED:
        return kept + rare[:1]
    other = implied(kept[0].name)
    return kept + ([each for each in rare if class_of([each], other)][:1] or [Class(other)])


def positive_of(
    classes: Sequence[Class], configured: str | None, higher: str | None
) -> tuple[str | None, str | None]:
    """Name of the positive class, and how it is known; without a configured one, of two classes.

    Parameters
    ----------
    configured
        The label that the configuration names.
    higher
        The predicted label with the higher scores, if a threshold separates those of two.
    """
    if configured is not None:
        named = class_of(classes, configured)
        return (None, None) if named is None else (named.name, "configured")
    if len(classes) != 2:
        return None, None
    for each in classes:
        if higher is not None and each.predicted == higher:
            return each.name, "scores"
    for side in (
        [each.name for each in classes],
        [each.predicted or each.name for each in classes],
    ):
        label = evident(*side)
        if label is not None:
            return classes[side.index(label)].name, "vocabulary"
    return None, None


def nothing_in_common(classes: Sequence[Class]) -> bool:
    """Whether both sides have labels and no class has both; one label on each side that are an
    evident pair are known to differ.
    """
    actual = [each.name for each in classes if each.actual is not None]
    predicted = [each.name for each in classes if each.predicted is not None]
    if not actual or not predicted or set(actual) & set(predicted):
        return False
    return not (len(actual) == len(predicted) == 1 and evident(actual[0], predicted[0]))
