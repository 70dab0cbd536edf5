"""Summary of one feature over one pane or window: its numbers, its texts, its missing values.

A feature is a number for most models and a text for some. A feed that mixes both is faulty, so both
are kept and the mix is reported. Many summaries together are columns, `feature_table.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import msgspec

from driftline.streams.summaries import numeric_bins, text_summary
from driftline.streams.summaries.numeric_bins import NumericSummary
from driftline.streams.summaries.text_summary import StringSummary

ValueKind = Literal["number", "string", "mixed", "empty"]


@dataclass(frozen=True, slots=True)
class FeatureSummary:
    """Numbers, texts and missing values of a feature. Booleans are the texts "true" and "false".

    Parameters
    ----------
    numbers, texts
        Summaries of the values of each kind.
    missing
        Rows that should have the feature but have null or no value.

    Examples
    --------
    >>> import numpy as np
    >>> age = FeatureSummary(numbers=NumericSummary.of(np.array([41.0, 52.0])), missing=1)
    >>> age.kind, age.n, round(age.missing_share, 3)
    ('number', 2, 0.333)
    """

    numbers: NumericSummary = field(default_factory=lambda: numeric_bins.EMPTY)
    texts: StringSummary = text_summary.EMPTY
    missing: int = 0

    @property
    def n(self) -> int:
        """Number of values."""
        return self.numbers.total + self.texts.total

    @property
    def missing_share(self) -> float:
        """Share of the rows without a value, in [0, 1]; NaN without rows."""
        rows = self.n + self.missing
        return self.missing / rows if rows else float("nan")

    @property
    def kind(self) -> ValueKind:
        """Kind of the values; "mixed" if the feed sends both numbers and texts."""
        if self.numbers.total:
            return "mixed" if self.texts.total else "number"
        return "string" if self.texts.total else "empty"

    @property
    def judged(self) -> NumericSummary | StringSummary:
        """The summary that drift tests compare: of the kind that most values have, numbers on a
        tie.
        """
        return self.texts if self.texts.total > self.numbers.total else self.numbers

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "numbers": self.numbers.to_dict(),
            "texts": self.texts.to_dict(),
            "missing": self.missing,
        }

    @classmethod
    def from_dict(cls, plain: dict[str, object]) -> FeatureSummary:
        """Read the result of `to_dict`; raises msgspec.ValidationError, a ValueError, otherwise."""
        read = msgspec.convert(plain, _PlainFeature)
        return cls(
            NumericSummary.from_dict(read.numbers),
            StringSummary.from_dict(read.texts),
            read.missing,
        )


class _PlainFeature(msgspec.Struct, frozen=True):
    numbers: dict[str, object]
    texts: dict[str, object]
    missing: int
