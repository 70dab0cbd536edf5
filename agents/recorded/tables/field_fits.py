"""Whether the values of a column fit the field of its name.

Some fields have names that are common for features: a column called "threshold" may be the decision
threshold of the model or the alarm setting of a machine. Such a column becomes the field only if
its values fit; otherwise it is a feature. Fields that are needed, and labels, are not judged here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
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


def _threshold(facts: ColumnFacts) -> str | None:
    if not facts.is_number or facts.low < -TOLERANCE or facts.high > 1 + TOLERANCE:
        return "not all of its values are probabilities"
    return None


def _score(facts: ColumnFacts) -> str | None:
    if 2 * facts.inside < facts.present:
        return "most of its values are no probabilities"
    return None


def _latency(facts: ColumnFacts) -> str | None:
    if not facts.is_number or facts.low < 0:
        return "not all of its values are numbers of at least 0"
    return None


def _weight(facts: ColumnFacts) -> str | None:
    if not facts.is_number or facts.low <= 0 or facts.high > GREATEST_WEIGHT:
        return f"not all of its values are above 0 and at most {GREATEST_WEIGHT}"
    return None


def _revision(facts: ColumnFacts) -> str | None:
    if not facts.is_number or not facts.is_whole or facts.low < 0:
        return "not all of its values are whole numbers of at least 0"
    return None


def _retracted(facts: ColumnFacts) -> str | None:
    texts = _lower(facts)
    if texts is None or not texts <= {"true", "false", "0", "1"}:
        return "not all of its values are true or false"
    return None


def _status(facts: ColumnFacts) -> str | None:
    if facts.texts is None or not {text.strip() for text in facts.texts} <= {"ok", "error"}:
        return "not all of its values are ok or error"
    return None


def _environment(facts: ColumnFacts) -> str | None:
    texts = _lower(facts)
    if texts is None or not texts <= ENVIRONMENTS:
        return "not all of its values are names of an environment, such as production"
    return None


def _variant(facts: ColumnFacts) -> str | None:
    if facts.texts is None or not all(VARIANTS.fullmatch(text.strip()) for text in facts.texts):
        return "not all of its values are names of a variant, such as control"
    return None


def _source(facts: ColumnFacts) -> str | None:
    texts = _lower(facts)
    if texts is None or not texts <= SOURCES:
        return "not all of its values are names of a source of labels, such as manual"
    return None


def _lower(facts: ColumnFacts) -> set[str] | None:
    return None if facts.texts is None else {text.strip().lower() for text in facts.texts}


JUDGED: Final[dict[str, Callable[[ColumnFacts], str | None]]] = {
    "score": _score,
    "threshold": _threshold,
    "latency_ms": _latency,
    "status": _status,
    "environment": _environment,
    "variant": _variant,
    "weight": _weight,
    "revision": _revision,
    "retracted": _retracted,
    "source": _source,
}
"""By field: why the values of a column do not fit, or None if they do."""


def misfit(field: str, facts: ColumnFacts) -> str | None:
    """Why the values of a column do not fit a field; None if they do, or if there are none."""
    return JUDGED[field](facts) if facts.present else None
