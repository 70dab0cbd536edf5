"""Canonical text of a label, whatever JSON type it was sent as."""

from collections.abc import Container
from typing import Literal

__all__ = [
    "MAX_FEATURES",
    "MAX_ID_INTEGER",
    "MAX_LABEL_INTEGER",
    "MAX_TEXT_CHARACTERS",
    "MISSING_LABELS",
    "MOST_LABELS",
    "PositiveBasis",
    "is_missing_label",
    "label_text",
]

PositiveBasis = Literal["configured", "registry", "scores", "vocabulary"]
"""How the positive label is known: by the configuration, by the registry, by the scores of the
predicted labels, or because the pair of labels is evident."""
MAX_TEXT_CHARACTERS = 1_024
"""Longest id, name, label or segment value. They are part of keys and of many output records: with
longer ones, the partial of a few thousand rows would not fit into a record of Kafka.
"""
MAX_ID_INTEGER = 10**MAX_TEXT_CHARACTERS - 1
"""Greatest magnitude of an id or name that is sent as an integer."""
MAX_FEATURES = 4_096
"""Most features of one prediction. Each is summarised on its own, so a few rows with tens of
thousands would hold a worker for many seconds.
"""
MOST_LABELS = 100
"""Most labels of a model with a confusion matrix."""
MISSING_LABELS = ("", "NaN", "nan", "NA", "null", "None")
"""Texts that stand for no label, as blanks alone do; the setting `missing_labels` replaces them."""
MAX_LABEL_INTEGER = 2**63
"""Integers of this magnitude and above are rejected on input; floats keep their exponent."""


def label_text(value: str | int | bool | float) -> str:
    """Strings unchanged, integers in decimal, booleans as "true" and "false", whole floats as
    integers, other floats in the shortest form that reads back as the same number.

    Examples
    --------
    >>> [label_text(value) for value in ("yes", 1, True, 1.0, -0.0, 0.25)]
    ['yes', '1', 'true', '1', '0', '0.25']
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < MAX_LABEL_INTEGER:
        return str(int(value))
    return str(value)


def is_missing_label(label: str, missing: Container[str]) -> bool:
    """Whether a text stands for no label: it is one of `missing`, or consists of blanks.

    Examples
    --------
    >>> [is_missing_label(label, MISSING_LABELS) for label in ("", " ", "NaN", "none", "no")]
    [True, True, True, False, False]
    """
    # Most labels begin with a character above the blank, which is cheap to see.
    return label in missing or (label[:1] <= " " and not label.strip())
