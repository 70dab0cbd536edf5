"""The label set of a model: its classes, the positive one, and the labels that are strays.

A *class* is one label of the model, with the text that truths have for it and the text that
predictions have for it. A *stray* is a label of single rows that is no class. A *derived* label is
a predicted label that follows from score and threshold, without a text of its own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from itertools import combinations
from typing import Final, NamedTuple, Self

import msgspec

from driftline.schemas.labels import MOST_LABELS, PositiveBasis
from driftline.streams.label_vocabulary import (
    evident_positive,
    implied_label,
    is_positive,
    plain_form,
    quoted,
)
from driftline.streams.metrics.metric import UNKNOWN_POSITIVE

MOST_STRAYS: Final = 10
"""Strays that are listed by their text; further ones are counted together."""
SETTLED_ROWS: Final = 100
"""Truths after which the classes of a model are fixed."""
APART_ROWS: Final = 20
"""Truths after which labels that have nothing in common are a problem."""
STRAY_SHARE: Final = 0.01
"""Greatest share of the truths that a label may have at that point to be a stray."""

_NONE_OF_THE_SET: Final = "no row has one of its labels; correct labels"
_INTEGER = re.compile(r"-?[0-9]+", re.ASCII)


class LabelClass(msgspec.Struct, frozen=True, array_like=True):
    """One class.

    Attributes
    ----------
    name
        Its label in the records.
    actual, predicted
        Its text in truths and in predictions; None before one came.
    """

    name: str
    actual: str | None = None
    predicted: str | None = None


class ConfiguredLabels(NamedTuple):
    """`labels` and `positive_label` of a model, by its settings or by a command to the registry."""

    labels: tuple[str, ...] | None = None
    positive: str | None = None

    @property
    def named(self) -> tuple[str, ...]:
        """All labels that the settings name."""
        positive = () if self.positive is None else (self.positive,)
        return (*(self.labels or ()), *positive)

    def over(self, other: ConfiguredLabels) -> ConfiguredLabels:
        """These, and where one is not set that of `other`."""
        return ConfiguredLabels(
            other.labels if self.labels is None else self.labels,
            other.positive if self.positive is None else self.positive,
        )


class Classes(NamedTuple):
    """Classes in the order of a confusion matrix, and the strays beside them.

    Attributes
    ----------
    actual_strays, predicted_strays
        Texts of truths and of predictions that belong to no class, sorted, at most MOST_STRAYS
        each.
    """

    classes: tuple[LabelClass, ...]
    actual_strays: tuple[str, ...] = ()
    predicted_strays: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The labels in the records."""
        return tuple(each.name for each in self.classes)

    @property
    def strays(self) -> tuple[str, ...]:
        """The strays of both sides, at most twice MOST_STRAYS."""
        return tuple(dict.fromkeys((*self.actual_strays, *self.predicted_strays)))

    @property
    def from_scores_only(self) -> bool:
        """Whether no prediction has a label of its own so far."""
        return all(each.predicted is None for each in self.classes)


class LabelReport(NamedTuple):
    """What is known about the labels of a model, for people.

    Attributes
    ----------
    classes, strays
        Texts of both; the first MOST_STRAYS strays of each side.
    positive, basis
        The positive label, and how it is known.
    problem
        Why figures that need labels are withheld.
    is_early
        Whether more truths may still settle the classes.
    texts
        The classes with their texts.
    doubt
        Why figures that are given may not be those that were meant.
    """

    model: str
    classes: tuple[str, ...]
    strays: tuple[str, ...]
    positive: str | None
    basis: PositiveBasis | None
    problem: str | None
    is_early: bool
    texts: tuple[LabelClass, ...] = ()
    doubt: str | None = None

    @property
    def warnings(self) -> list[str]:
        """Sentences about figures that are withheld and rows that are in none."""
        classes, warnings = _listed(self.classes), []
        if self.problem is not None:
            warnings.append(f"{self.model}: figures that need labels are withheld: {self.problem}")
        elif self.doubt is not None:
            warnings.append(f"{self.model}: {self.doubt}")
        elif len(self.classes) == 2 and self.positive is None:
            warnings.append(
                f"{self.model}: which of {classes} is positive is not known, so F1, precision, "
                "recall and the figures of scores are withheld; set positive_label"
            )
        if self.strays:
            warnings.append(
                f"{self.model}: rows with the labels {_listed(self.strays)} are in no figure; its "
                f"labels are {classes}; set labels to change them"
            )
        return warnings


class LabelSet(msgspec.Struct, frozen=True):
    """The labels in the complete windows of a model so far.

    Attributes
    ----------
    actual, predicted
        Texts of truths and of predictions, sorted. Once the classes are settled, the strays.
    derived
        Whether any predicted label follows from a score.
    many
        Whether there are more than MOST_LABELS labels; no further ones are stored then.
    settled
        The classes, once they are fixed: after SETTLED_ROWS truths.
    positive, basis
        Name of the positive class once the classes are settled, and how it is known.
    scored
        The predicted label with the higher scores; "" if the scores do not separate two labels,
        None before enough predictions have both.
    apart
        Whether truths and predictions had no class in common after APART_ROWS truths.
    registered
        What a command to the registry has set; the configuration comes first.
    """

    actual: tuple[str, ...] = ()
    predicted: tuple[str, ...] = ()
    derived: bool = False
    many: bool = False
    settled: tuple[LabelClass, ...] | None = None
    positive: str | None = None
    basis: PositiveBasis | None = None
    scored: str | None = None
    apart: bool = False
    registered: ConfiguredLabels = ConfiguredLabels()

    def with_registered(self, registered: ConfiguredLabels, configured: ConfiguredLabels) -> Self:
        """The set after a command to the registry, with its classes made anew if that names others.

        Strays that are not listed join a class when the next window has them.
        """
        if registered.labels == self.registered.labels:
            return msgspec.structs.replace(self, registered=registered)
        anew = type(self)(
            derived=self.derived,
            many=self.many and registered.labels is None,
            scored=self.scored,
            registered=registered,
        )
        classes = self.settled or ()
        return anew.with_more(
            [*self.actual, *(each.actual for each in classes if each.actual is not None)],
            [*self.predicted, *(each.predicted for each in classes if each.predicted is not None)],
            derived=self.derived,
            many=False,
            configured=configured,
        )

    def with_more(
        self,
        actual: Iterable[str],
        predicted: Iterable[str],
        *,
        derived: bool,
        many: bool,
        configured: ConfiguredLabels,
    ) -> Self:
        """The set with further labels of truths and of predictions.

        Parameters
        ----------
        derived, many
            As the attributes, of the further labels.
        """
        grown = msgspec.structs.replace(self, derived=self.derived or derived)
        labels = configured.over(self.registered).labels
        new = ordered(label for label in actual if label not in self._texts(0))
        new_predicted = ordered(label for label in predicted if label not in self._texts(1))
        if self.settled is not None or labels is not None:
            settled = grown._judged(configured).classes
            settled = _take(settled, new, new_predicted)
            return msgspec.structs.replace(
                grown,
                settled=settled,
                actual=_limited([*self.actual, *new], {each.actual for each in settled}),
                predicted=_limited(
                    [*self.predicted, *new_predicted], {each.predicted for each in settled}
                ),
            )
        all_actual = ordered([*self.actual, *new])
        all_predicted = ordered([*self.predicted, *new_predicted])
        if many or self.many or max(len(all_actual), len(all_predicted)) > MOST_LABELS:
            return msgspec.structs.replace(grown, many=True)
        return msgspec.structs.replace(grown, actual=all_actual, predicted=all_predicted)

    def _texts(self, side: int) -> set[str | None]:
        texts: set[str | None] = {*(self.actual, self.predicted)[side]}
        return texts | {(each.actual, each.predicted)[side] for each in self.settled or ()}

    def takes(self, label: str, side: int) -> bool:
        """Whether a settled class has no text of truths (side 0) or predictions (side 1), and takes
        this one.
        """
        found = _matching(self.settled or (), label)
        return found is not None and (found.actual, found.predicted)[side] is None

    def judged(self, configured: ConfiguredLabels) -> Classes:
        """The classes and the strays."""
        classes, actual, predicted = self._judged(configured)
        names = {each: number for number, each in enumerate(ordered(c.name for c in classes))}
        return Classes(tuple(sorted(classes, key=lambda each: names[each.name])), actual, predicted)

    def _judged(self, configured: ConfiguredLabels) -> Classes:
        configured = configured.over(self.registered)
        if self.settled is not None:
            return Classes(self.settled, self.actual, self.predicted)
        if configured.labels is not None:
            return Classes(tuple(LabelClass(name) for name in dict.fromkeys(configured.named)))
        classes = _classes(self.actual, self.predicted, configured.named)
        if len(classes) == 1 and (other := implied_label(classes[0].name)) is not None:
            classes = (*classes, LabelClass(other))
        if self.derived and len(classes) > 2 and Classes(classes).from_scores_only:
            # A score tells two labels apart. A third one is a stray if the two are evident.
            evident = [pair for pair in combinations(classes, 2) if _is_evident(pair, configured)]
            if len(evident) == 1:
                return Classes(
                    evident[0],
                    _limited(self.actual, {each.actual for each in evident[0]}),
                    _limited(self.predicted, {each.predicted for each in evident[0]}),
                )
        return Classes(classes)

    def positive_class(
        self, configured: ConfiguredLabels
    ) -> tuple[str | None, PositiveBasis | None]:
        """Name of the positive one of two classes, and how it is known; (None, None) if unknown."""
        classes = self._judged(configured).classes
        positive = configured.over(self.registered).positive
        if positive is not None:
            named = _matching(classes, positive)
            if named is None:
                return None, None
            return named.name, "registry" if configured.positive is None else "configured"
        if self.basis is not None:
            return self.positive, self.basis
        if len(classes) != 2:
            return None, None
        if self.scored:
            for each in classes:
                if each.predicted == self.scored:
                    return each.name, "scores"
        for side in (
            [each.name for each in classes],
            [each.predicted or each.name for each in classes],
        ):
            if (positive := evident_positive(*side)) is not None:
                return classes[side.index(positive)].name, "vocabulary"
        return None, None

    def report(self, model: str, configured: ConfiguredLabels) -> LabelReport:
        """What is known, for people."""
        judged = self.judged(configured)
        positive, basis = self.positive_class(configured)
        is_early = self.settled is None and not self.many and not self.apart
        has_labels = self.many or any(map(_has_come, judged.classes))
        return LabelReport(
            model,
            judged.names,
            judged.strays,
            positive,
            basis,
            self.problem(configured) if has_labels else None,
            is_early,
            judged.classes,
            _doubt_about(
                judged, positive, is_set=configured.over(self.registered).labels is not None
            ),
        )

    def derived_names(self, configured: ConfiguredLabels) -> tuple[str | None, str | None]:
        """Names of derived labels: the positive and the negative one; None while unknown."""
        positive, _ = self.positive_class(configured)
        names = self.judged(configured).names
        if positive is None or len(names) != 2:
            return positive, None
        return positive, names[1 - names.index(positive)]

    def problem(self, configured: ConfiguredLabels) -> str | None:
        """Why rows cannot be counted by label, or None."""
        if self.many:
            return f"more than {MOST_LABELS} labels"
        judged = self._judged(configured)
        classes = judged.classes
        if self.derived and judged.from_scores_only:
            if len(classes) < 2:
                return "one label seen; set labels and positive_label"
            if len(classes) > 2:
                return _absent_positive(classes, self.positive_class(configured)[0]) or (
                    "more than two labels, and a score for one; set labels"
                )
            if self.positive_class(configured)[0] is None:
                return UNKNOWN_POSITIVE
        if self.apart and _have_nothing_in_common(classes):
            actual = _listed(each.actual for each in classes)
            predicted = _listed(each.predicted for each in classes)
            return f"no label in common: actual {actual}; predicted {predicted}"
        return None

    def settle(
        self,
        truths: Mapping[str, int],
        predictions: Mapping[str, int],
        configured: ConfiguredLabels,
    ) -> Self:
        """The set with its classes fixed; itself if they cannot be told yet.

        A label becomes a stray if only truths or only predictions have it, in at most STRAY_SHARE
        of the rows. At least two labels stay.

        Parameters
        ----------
        truths, predictions
            Number of joined rows so far by actual, and by predicted label with a text.
        """
        classes = self._judged(configured).classes
        n = sum(truths.values())
        if self.settled is not None or self.many:
            return self
        if _have_nothing_in_common(classes):
            return msgspec.structs.replace(self, apart=True) if n >= APART_ROWS else self
        if n < SETTLED_ROWS or len(classes) < 2:
            return self
        positive, _ = self.positive_class(configured)
        rows = {
            each.name: max(
                truths.get(each.actual or "", 0), predictions.get(each.predicted or "", 0)
            )
            for each in classes
        }
        by_size = sorted(classes, key=lambda each: (-rows[each.name], each.name))
        is_frequent = {name: count > STRAY_SHARE * n for name, count in rows.items()}
        kept = [
            each
            for each in by_size
            if each.name == positive
            or is_frequent[each.name]
            or (each.actual is not None and each.predicted is not None)
        ]
        if len(kept) == 1:
            # The other label of the pair may still come; what came instead is a stray.
            other = implied_label(kept[0].name)
            rare = [each for each in by_size if each not in kept]
            kept += (
                rare[:1]
                if other is None
                else [each for each in rare if _matching([each], other)][:1] or [LabelClass(other)]
            )
        if len(kept) < 2 or (self.derived and len(kept) > 2 and Classes(classes).from_scores_only):
            return self
        settled = msgspec.structs.replace(
            self,
            settled=tuple(kept),
            actual=_limited(self.actual, {each.actual for each in kept}),
            predicted=_limited(self.predicted, {each.predicted for each in kept}),
        )
        name, basis = settled.positive_class(configured)
        return msgspec.structs.replace(settled, positive=name, basis=basis)


NO_LABELS: Final = LabelSet()


def _doubt_about(judged: Classes, positive: str | None, *, is_set: bool) -> str | None:
    """Why figures that are given may not be those that were meant; `is_set` says that the settings
    name the classes.
    """
    classes = judged.classes
    actual = [each.actual for each in classes if each.actual is not None]
    predicted = [each.predicted for each in classes if each.predicted is not None]
    both = f"truths have {_listed(actual)} and predictions {_listed(predicted)}"
    if _have_nothing_in_common(classes):
        return f"{both}; no label in common so far"
    if is_set:
        return None if actual or predicted or not judged.strays else _NONE_OF_THE_SET
    if len(classes) < 3:
        return None
    if (absent := _absent_positive(classes, positive)) is not None:
        return absent
    if (alike := _alike(classes)) is not None:
        return alike
    if 2 not in (len(actual), len(predicted)):
        return None
    return (
        f"{both}; with {len(classes)} labels F1 is their mean, and precision, recall and the "
        "figures of scores are withheld; set labels if one of them is no class"
    )


def _alike(classes: Sequence[LabelClass]) -> str | None:
    """Which label of one side only has another one of that side in another spelling."""
    alone = [each for each in classes if (each.actual is None) != (each.predicted is None)]
    for side, name in enumerate(("truths", "predictions")):
        spelled: dict[str, str] = {}
        for each in (*(each for each in classes if each not in alone), *alone):
            if (text := (each.actual, each.predicted)[side]) is not None:
                twin = spelled.setdefault(plain_form(text), text)
                if twin != text and each in alone:
                    return (
                        f"{name} have both {quoted(twin)} and {quoted(text)}, which count as two "
                        "labels; send one of them"
                    )
    return None


def _absent_positive(classes: Sequence[LabelClass], positive: str | None) -> str | None:
    """What is wrong with a configured positive label if no row has it, but rows have two others."""
    came = [each.name for each in classes if _has_come(each)]
    if positive is None or positive in came or len(came) < 2:
        return None
    return (
        f"positive_label {quoted(positive)} is none of the labels {_listed(came)}; correct it, or "
        "set labels"
    )


def _has_come(label: LabelClass) -> bool:
    return label.actual is not None or label.predicted is not None


def ordered(labels: Iterable[str]) -> tuple[str, ...]:
    """Distinct labels, sorted as numbers if all are integers, else as text."""
    distinct = dict.fromkeys(labels)
    if all(map(_INTEGER.fullmatch, distinct)):
        return tuple(sorted(distinct, key=lambda label: (int(label), label)))
    return tuple(sorted(distinct))


def paired_labels(left: Sequence[str], right: Sequence[str]) -> dict[str, str]:
    """Labels of one side that mean the same as one of the other: right -> left.

    Two labels of one side never meet the same one. In this order: equal texts; equal plain forms,
    if no other label of a side has that form; labels that both say yes, or both say no, by
    themselves, if no other of a side does; evident pairs.

    Examples
    --------
    >>> paired_labels(["true", "false"], ["1", "0"])
    {'1': 'true', '0': 'false'}
    >>> paired_labels(["yes", "Yes "], ["YES"])
    {}
    """
    pairs = {label: label for label in right if label in left}
    for form in (plain_form, is_positive):
        of_left = Counter(form(label) for label in left)
        of_right = Counter(form(label) for label in right)
        free = [label for label in left if label not in pairs.values()]
        for label in right:
            same = [other for other in free if form(other) == form(label) is not None]
            if label not in pairs and same and of_left[form(label)] == of_right[form(label)] == 1:
                pairs[label] = same[0]
    rest = (
        [label for label in left if label not in pairs.values()],
        [label for label in right if label not in pairs],
    )
    if len(rest[0]) == len(rest[1]) == 2:
        positive, other_positive = evident_positive(*rest[0]), evident_positive(*rest[1])
        if positive is not None and other_positive is not None:
            for label in rest[1]:
                pairs[label] = next(
                    each for each in rest[0] if (each == positive) == (label == other_positive)
                )
    return pairs


def _classes(
    actual: Sequence[str], predicted: Sequence[str], named: Sequence[str]
) -> tuple[LabelClass, ...]:
    """The classes of all labels, and of those that the configuration names."""
    of_predicted = paired_labels(actual, predicted)
    partner = {label: other for other, label in of_predicted.items()}
    classes = [LabelClass(label, label, partner.get(label)) for label in actual]
    classes += [LabelClass(label, None, label) for label in predicted if label not in of_predicted]
    for label in dict.fromkeys(named):
        if not _matching(classes, label):
            classes.append(LabelClass(label))
    return tuple(classes)


def _take(
    classes: Sequence[LabelClass], actual: Sequence[str], predicted: Sequence[str]
) -> tuple[LabelClass, ...]:
    """Classes that take further texts where they have none on that side."""
    taking = list(classes)
    for label in actual:
        for place, each in enumerate(taking):
            if each.actual is None and _matching(taking, label) == each:
                taking[place] = msgspec.structs.replace(each, actual=label)
                break
    for label in predicted:
        for place, each in enumerate(taking):
            if each.predicted is None and _matching(taking, label) == each:
                taking[place] = msgspec.structs.replace(each, predicted=label)
                break
    return tuple(taking)


def _matching(classes: Sequence[LabelClass], label: str) -> LabelClass | None:
    """The class that a label belongs to, by any of its texts; None if no class or several match."""
    for form in (str, plain_form, is_positive):
        wanted = form(label)
        found = [
            each
            for each in classes
            if wanted is not None
            and wanted in {form(text) for text in (each.name, each.actual, each.predicted) if text}
        ]
        if found:
            return found[0] if len(found) == 1 else None
    return None


def _limited(labels: Iterable[str], taken: Container[str | None]) -> tuple[str, ...]:
    """The first MOST_STRAYS labels that no class has taken."""
    return tuple(label for label in dict.fromkeys(labels) if label not in taken)[:MOST_STRAYS]


def _listed(labels: Iterable[str | None]) -> str:
    """The first three labels, shortened, for a message."""
    texts = [label for label in labels if label is not None]
    named = [quoted(text) for text in texts[:3]]
    return ", ".join(named + ["..."] * (len(texts) > 3))


def _is_evident(pair: Sequence[LabelClass], configured: ConfiguredLabels) -> bool:
    positive = evident_positive(*(each.name for each in pair))
    return positive is not None and (
        configured.positive is None or any(_matching([each], configured.positive) for each in pair)
    )


def _have_nothing_in_common(classes: Sequence[LabelClass]) -> bool:
    """Whether truths and predictions both have labels and no class has both.

    One label on each side that form an evident pair are known to differ.
    """
    actual = [each for each in classes if each.actual is not None]
    predicted = [each for each in classes if each.predicted is not None]
    if not actual or not predicted or any(each.predicted is not None for each in actual):
        return False
    return not (
        len(actual) == len(predicted) == 1
        and evident_positive(actual[0].name, predicted[0].name) is not None
    )
