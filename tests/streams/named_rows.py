"""What arrays of values by name say, row by row."""

from __future__ import annotations

from typing import Any

from driftline.streams.named_columns import NO_WORD, Named


def said(named: Named) -> list[dict[str, Any]]:
    """What each row gives, without nulls; booleans are texts and integers floats."""
    found: list[dict[str, Any]] = [{} for _ in range(len(named))]
    for name, numbers in zip(named.numeric, named.numbers.tolist(), strict=True):
        for row, number in zip(found, numbers, strict=True):
            if number == number:
                row[name] = number
    for name, codes in zip(named.textual, named.texts.tolist(), strict=True):
        for row, code in zip(found, codes, strict=True):
            if code != NO_WORD:
                row[name] = named.words[code]
    return found
