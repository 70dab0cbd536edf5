"""What the text of a label says by itself: spellings of the same label, and evident pairs.

Nothing here depends on the order of the alphabet. `docs/inputs.md` shows the same rules to users.
"""

from __future__ import annotations

import json
import re
from typing import Final

PAIRS: Final = (
    ("0", "1"),
    ("false", "true"),
    ("no", "yes"),
    ("negative", "positive"),
    ("f", "t"),
    ("n", "y"),
    ("neg", "pos"),
    ("-1", "1"),
    ("legit", "fraud"),
    ("legitimate", "fraud"),
    ("genuine", "fraud"),
    ("normal", "fraud"),
    ("legit", "fraudulent"),
    ("legitimate", "fraudulent"),
    ("genuine", "fraudulent"),
    ("ham", "spam"),
    ("benign", "malignant"),
    ("benign", "malicious"),
    ("normal", "abnormal"),
    ("normal", "anomaly"),
    ("normal", "anomalous"),
)
"""Evident pairs in plain form; the second label of each is positive."""

MOST_SHOWN: Final = 40

_SIGNED: Final = PAIRS[:8]
_IMPLIED: Final[dict[str, str]] = {
    label: pair[1 - place] for pair in reversed(_SIGNED[:4]) for place, label in enumerate(pair)
}
_POSITIVE: Final[dict[str, bool]] = {
    label: bool(place) for pair in _SIGNED for place, label in enumerate(pair)
}
_WHOLE_NUMBER: Final = re.compile(r"[+-]?[0-9]+(\.0*)?", re.ASCII)
_NEGATION: Final = re.compile(r"(?:not|non|no)[ _-]+(?=\S)")


def quoted(label: str) -> str:
    """A label in quotes for a message: control characters escaped, at most 40 characters of it."""
    shown = label if len(label) <= MOST_SHOWN else label[: MOST_SHOWN - 1] + "…"
    return json.dumps(shown, ensure_ascii=False)


def plain_form(label: str) -> str:
    """The label without blanks around it, without case, and a whole number without decimals.

    Leading zeros stay, and so do the decimals of other numbers.

    Examples
    --------
    >>> [plain_form(label) for label in (" Yes", "1.0", "-0.0", "1.10", "007")]
    ['yes', '1', '0', '1.10', '007']
    """
    plain = label.strip().casefold()
    if _WHOLE_NUMBER.fullmatch(plain):
        plain = plain.partition(".")[0].removeprefix("+")
        plain = plain.removeprefix("-") if not plain.strip("-0") else plain
    return plain


def is_positive(label: str) -> bool | None:
    """Whether a label says yes or no by itself, such as "true" or "0"; None if it says neither."""
    return _POSITIVE.get(plain_form(label))


def is_same_label(actual: str, predicted: str) -> bool | None:
    """Whether an actual and a predicted label mean the same; None if that depends on the other
    labels of the model.

    Examples
    --------
    >>> [is_same_label("yes", text) for text in ("yes", "no", "Yes", "true", "fraud")]
    [True, False, None, None, None]
    """
    if actual == predicted:
        return True
    signs = is_positive(actual), is_positive(predicted)
    if plain_form(actual) == plain_form(predicted) or (signs[0] is None) != (signs[1] is None):
        return None
    return None if signs[0] == signs[1] is not None else False


def evident_positive(one: str, other: str) -> str | None:
    """Which of two labels is positive because the pair is evident; None if it is not.

    Evident are `PAIRS`, and a label with its negation: "donated" and "not donated".

    Examples
    --------
    >>> evident_positive("Fraud", "legit"), evident_positive("not donated", "donated")
    ('Fraud', 'donated')
    >>> evident_positive("good", "bad") is None
    True
    """
    for negative, positive in ((one, other), (other, one)):
        plain = plain_form(negative), plain_form(positive)
        if plain in PAIRS or _NEGATION.sub("", plain[0], count=1) == plain[1] != plain[0]:
            return positive
    return None


def implied_label(label: str) -> str | None:
    """The other label of a pair, in the same case, if one label implies it: "Yes" for "No".

    Examples
    --------
    >>> implied_label("TRUE"), implied_label("1"), implied_label("fraud") is None
    ('FALSE', '0', True)
    """
    other = _IMPLIED.get(plain_form(label))
    if other is None:
        return None
    if label.isupper():
        return other.upper()
    return other.capitalize() if label.istitle() else other
