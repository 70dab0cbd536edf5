"""Named columns as mappings, row by row."""

from __future__ import annotations

from typing import Any

from driftline.streams.named_columns import NO_WORD, Named


def mappings_of(named: Named) -> list[dict[str, Any]]:
    """The mapping of each row, without nulls; booleans are texts, integers are floats."""
    rows: list[dict[str, Any]] = [{} for _ in range(len(named))]
    for name, numbers in zip(named.numeric, named.numbers.tolist(), strict=True):
        for row, number in zip(rows, numbers, strict=True):
            if number == number:
                row[name] = number
    for name, codes in zip(named.textual, named.texts.tolist(), strict=True):
        for row, code in zip(rows, codes, strict=True):
            if code != NO_WORD:
                row[name] = named.words[code]
    few = named.few
    for at, name, number, code in zip(
        few.row.tolist(), few.name.tolist(), few.number.tolist(), few.text.tolist(), strict=True
    ):
        assert few.names[name] not in rows[at]
        rows[at][few.names[name]] = number if code == NO_WORD else named.words[code]
    return rows
