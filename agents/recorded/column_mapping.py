"""Which column of a table holds which field of a prediction and of its truth.

A column is found by what `--map FIELD=COLUMN` says, else by its own name or one of the common names
of other systems; a column "features.age", "segment.plan", "scores.yes" or "tags.team" goes into
that mapping; a column named like a configured segment dimension is one; every other column is a
feature.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from math import isnan
from typing import Any, Final

from msgspec import Struct

from driftline.agents.recorded.lines import LogError
from driftline.schemas.aliases import ALIASES
from driftline.schemas.times import parse_time
from driftline.schemas.topics import GROUND_TRUTH, PREDICTIONS

MAPPINGS: Final = ("features", "segment", "scores", "tags")
NUMBERS: Final = frozenset({"score", "threshold", "latency_ms", "weight"})
LABELS: Final = frozenset({"prediction", "label"})
TRUTH_TIME: Final = "label_timestamp"
NEEDED: Final = ("model_name", "model_version", "timestamp")
OUTPUTS: Final = ("prediction", "score", "scores")
PREDICTION_FIELDS: Final = frozenset(
    {
        *NEEDED,
        *OUTPUTS,
        "prediction_id",
        "threshold",
        "latency_ms",
        "status",
        "environment",
        "variant",
    }
)
TRUTH_FIELDS: Final = frozenset({"label", TRUTH_TIME, "revision", "retracted", "weight", "source"})
_FIELDS: Final = PREDICTION_FIELDS | TRUTH_FIELDS
_ALIASES: Final = {**ALIASES[GROUND_TRUTH], **ALIASES[PREDICTIONS]}
_INTEGER: Final = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_DECIMAL: Final = re.compile(
    r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?"
)  # "007" is a name


class ColumnMapping(Struct, frozen=True):
    """Where each field comes from.

    Attributes
    ----------
    columns
        (column, field, key within the field or None), in the order of the table.
    constants
        (field, key, value) of what is the same in every row.
    """

    columns: tuple[tuple[str, str, str | None], ...]
    constants: tuple[tuple[str, str | None, str], ...]

    @classmethod
    def of(
        cls,
        columns: Sequence[str],
        *,
        mapping: Mapping[str, str],
        segments: Sequence[str],
        table: str,
    ) -> ColumnMapping:
        """Find the fields.

        Parameters
        ----------
        columns
            The table's columns.
        mapping
            Column by field; "=text" stands for that text in every row.
        segments
            Configured dimensions.
        table
            Name of the table, for messages.

        Raises
        ------
        LogError
            If the mapping names what is not there, a needed field has no column, or a field has
            two.
        """
        constants = {
            field: column[1:] for field, column in mapping.items() if column.startswith("=")
        }
        named = {column: field for field, column in mapping.items() if field not in constants}
        for field, column in mapping.items():
            if field not in _FIELDS and field.partition(".")[0] not in MAPPINGS:
                known = ", ".join([*sorted(_FIELDS), *(f"{name}.NAME" for name in MAPPINGS)])
                raise LogError(
                    f"--map {field}={column}: unknown field {field!r}; fields are {known}"
                )
        for column, field in named.items():
            if column not in columns:
                raise LogError(
                    f"--map {field}={column}: {table} has no column {column!r}; it has {', '.join(columns)}"
                )
        found = tuple((column, *_place(column, named, mapping, segments)) for column in columns)
        taken: dict[tuple[str, str | None], str] = {}
        for column, field, key in found:
            if (field, key) in taken:
                both = f"columns {taken[field, key]!r} and {column!r} both hold {field}"
                raise LogError(f"{table}: {both}; say which one with --map {field}=COLUMN")
            taken[field, key] = column
        have = {field for _, field, _ in found} | {field.partition(".")[0] for field in constants}
        listed = f"(columns: {', '.join(columns)})"
        for needed in NEEDED:
            if needed not in have:
                ways = f"name it with --map {needed}=COLUMN, or give every row one value with --map {needed}==VALUE"
                raise LogError(f"{table}: no column for {needed}; {ways} {listed}")
        if not have.intersection(OUTPUTS):
            raise LogError(
                f"{table}: no column for prediction, score or scores.CLASS; name one with --map score=COLUMN {listed}"
            )
        return cls(found, tuple((*_split(field), value) for field, value in constants.items()))

    def events(
        self, values: Sequence[Any], row: int
    ) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """The prediction of a row, and its truth if it has one. What cannot be understood stays as
        it is, to be refused.

        Parameters
        ----------
        values
            One for each column; None and empty text are missing.
        row
            Number of the row; the id of rows without one.
        """
        fields: dict[str, Any] = {}
        given = [
            (field, key, value) for (_, field, key), value in zip(self.columns, values, strict=True)
        ]
        for field, key, value in [*self.constants, *given]:
            if value is None or value == "" or (isinstance(value, float) and isnan(value)):
                if field == "features":
                    fields.setdefault(field, {})[key] = None
                continue
            if key is None:
                fields[field] = _typed(field, value)
            else:
                fields.setdefault(field, {})[key] = _typed(field, value)
        fields.setdefault("prediction_id", f"row-{row}")
        prediction = {
            field: value
            for field, value in fields.items()
            if field in PREDICTION_FIELDS or field in MAPPINGS
        }
        if "label" not in fields and not fields.get("retracted"):
            return prediction, None
        truth = {
            field: value
            for field, value in fields.items()
            if field in TRUTH_FIELDS and field != TRUTH_TIME
        }
        truth["prediction_id"] = fields["prediction_id"]
        truth["timestamp"] = fields.get(TRUTH_TIME, fields.get("timestamp"))
        return prediction, truth


def _place(
    column: str, named: Mapping[str, str], mapping: Mapping[str, str], segments: Sequence[str]
) -> tuple[str, str | None]:
    """The field that a column holds, and its key in there."""
    field = named.get(column)
    if field is None:
        own = column if column in _FIELDS else _ALIASES.get(column)
        # A field that --map takes from elsewhere leaves the column of that name to be a feature.
        field = own if own is not None and own not in mapping else None
    if field is None and column.partition(".")[0] in MAPPINGS and "." in column:
        field = column
    if field is None:
        return ("segment", column) if column in segments else ("features", column)
    return _split(field)


def _split(field: str) -> tuple[str, str | None]:
    """Field and key of "features.age"."""
    whole, _, key = field.partition(".")
    return (whole, key) if key else (field, None)


def _typed(field: str, value: Any) -> Any:
    """A value as JSON has it."""
    if field in ("timestamp", TRUTH_TIME):
        return _time(value)
    if isinstance(value, datetime | date):
        return str(value)
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if not isinstance(value, str):
        return (
            str(value)
            if field in ("prediction_id", "model_name", "model_version", "segment")
            else value
        )
    if field in LABELS or field == "features":
        return _scalar(value)
    if field in NUMBERS or field == "scores":
        return float(value) if _DECIMAL.fullmatch(value) else value
    if field == "revision":
        return int(value) if _INTEGER.fullmatch(value) else value
    if field == "retracted":
        return {"true": True, "1": True, "false": False, "0": False}.get(value.lower(), value)
    return value


def _scalar(text: str) -> Any:
    """A number or truth value where the text is one: prediction "1.0" and label "1" shall mean the
    same.
    """
    if _INTEGER.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text):
        return float(text)
    return {"true": True, "false": False}.get(text.lower(), text)


def _time(value: Any) -> Any:
    """Milliseconds since the epoch where the value is a time; one without an offset is UTC."""
    if isinstance(value, datetime):
        moment = value
    elif isinstance(value, date):
        moment = datetime(value.year, value.month, value.day, tzinfo=UTC)
    elif isinstance(value, str):
        if _INTEGER.fullmatch(value):
            return int(value)
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return value
    else:
        return value
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    try:
        return parse_time(moment.isoformat())
    except ValueError:  # before 1970: refused as a time later on, with what came
        return str(value)
