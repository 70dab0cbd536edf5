"""Whether the values of a column fit the field of its name.

Some fields have names that are common for features: a column called "threshold" may be the decision
threshold of the model or the alarm setting of a machine. Such a column becomes the field only if
its values fit; otherwise it is a feature. Fields that are needed, and labels, are not judged here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from math import inf
from typing import Final

from driftline.agents.recorded.tables.written_values import ColumnFacts

TOLERANCE: Final = 1e-6
GREATEST_WEIGHT: Final = 10
ENVIRONMENTS: Final = frozenset(
    """
    prod production live staging stage preprod pre-production test testing qa uat dev development
    sandbox local shadow canary
    """.split()
)
VARIANTS: Final = re.compile(
    r"[a-d]|control|treatment|champion|challenger|candidate|canary|shadow|baseline|default"
    r"|(variant|arm|group|treatment)[-_ ]?[a-z0-9]{1,3}|v[0-9]+",
    re.IGNORECASE,
)
SOURCES: Final = frozenset(
    """
    human manual analyst reviewer review annotator labeler labeller labelling labeling expert system
    automatic auto rule rules backfill chargeback feedback survey
    """.split()
)


def _is_probability(facts: ColumnFacts) -> bool:
    return facts.is_number and facts.low >= -TOLERANCE and facts.high <= 1 + TOLERANCE


def _is_within(facts: ColumnFacts, low: float, high: float = inf, *, whole: bool = False) -> bool:
    return facts.is_number and low <= facts.low <= facts.high <= high and facts.is_whole >= whole


def _consists_of(facts: ColumnFacts, words: Callable[[str], object]) -> bool:
    return facts.texts is not None and all(words(text.strip()) for text in facts.texts)


_FITS: Final[dict[str, tuple[Callable[[ColumnFacts], bool], str]]] = {
    "score": (
        lambda facts: 2 * facts.inside >= facts.present,
        "most of its values are no probabilities",
    ),
    "threshold": (_is_probability, "not all of its values are probabilities"),
    "latency_ms": (
        lambda facts: _is_within(facts, 0),
        "not all of its values are numbers of at least 0",
    ),
    "status": (
        lambda facts: _consists_of(facts, ("ok", "error").__contains__),
        "not all of its values are ok or error",
    ),
    "environment": (
        lambda facts: _consists_of(facts, lambda text: text.lower() in ENVIRONMENTS),
        "not all of its values are names of an environment, such as production",
    ),
    "variant": (
        lambda facts: _consists_of(facts, VARIANTS.fullmatch),
        "not all of its values are names of a variant, such as control",
    ),
    "weight": (
        lambda facts: facts.low > 0 and _is_within(facts, 0, GREATEST_WEIGHT),
        f"not all of its values are above 0 and at most {GREATEST_WEIGHT}",
    ),
    "revision": (
        lambda facts: _is_within(facts, 0, whole=True),
        "not all of its values are whole numbers of at least 0",
    ),
    "retracted": (
        lambda facts: _consists_of(facts, lambda text: text.lower() in ("true", "false", "0", "1")),
        "not all of its values are true or false",
    ),
    "source": (
        lambda facts: _consists_of(facts, lambda text: text.lower() in SOURCES),
        "not all of its values are names of a source of labels, such as manual",
    ),
}
JUDGED: Final = frozenset(_FITS)
"""Fields that a column becomes by its name only if its values fit."""


def misfit(field: str, facts: ColumnFacts) -> str | None:
    """Why the values of a column do not fit a field; None if they do, or if there are none."""
    fits, why = _FITS[field]
    return why if facts.present and not fits(facts) else None
