"""Which column of a table holds which field of a prediction and of its ground truth.

The mapping of the caller decides (`--map FIELD=COLUMN`), else the column's own name or one of the
common names of other systems. A column "features.age", "segment.plan", "scores.yes" or "tags.team"
is one key of that field; a column named like a configured segment dimension is that dimension; any
other column is a feature.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
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
NEEDED_OF_TRUTHS: Final = ("prediction_id", "label", "timestamp")
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
_FIELDS_OF_TRUTHS: Final = (TRUTH_FIELDS - {TRUTH_TIME}) | {"prediction_id", "timestamp"}
_ALIASES: Final = {**ALIASES[GROUND_TRUTH], **ALIASES[PREDICTIONS]}
_INTEGER: Final = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_DECIMAL: Final = re.compile(
    r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?"
)  # "007" is a name, not a number


class ColumnMapping(Struct, frozen=True):
    """Where each field comes from.

    Attributes
    ----------
    columns
        (column, field, key within the field or None), in the order of the table.
    constants
        (field, key, value) of the fields with one value in every row.
    indexes
        Place of each mapped column among the table's columns.
    """

    columns: tuple[tuple[str, str, str | None], ...]
    constants: tuple[tuple[str, str | None, str], ...]
    indexes: tuple[int, ...]

    @classmethod
    def of(
        cls,
        columns: Sequence[str],
        *,
        mapping: Mapping[str, str],
        segments: Sequence[str],
        table: str,
        option: str = "--map",
    ) -> ColumnMapping:
        """Map the columns of a table of predictions, with or without their labels.

        Parameters
        ----------
        columns
            The table's columns.
        mapping
            Column by field; "=text" is that text in every row.
        segments
            Configured dimensions.
        table
            Name of the table, for messages.
        option
            How the caller passes `mapping`, for messages: "--map", or the name of an argument.

        Raises
        ------
        LogError
            If the mapping names an unknown field or column, a required field has no column, or a
            field has two.
        """
        constants, named = _split_mapping(mapping)
        for field, column in mapping.items():
            if field not in _FIELDS and field.partition(".")[0] not in MAPPINGS:
                known = ", ".join([*sorted(_FIELDS), *(f"{name}.NAME" for name in MAPPINGS)])
                raise LogError(
                    f"{_option(option, field, column)}: unknown field {field!r}; fields are {known}"
                )
        _check_columns(named, columns, table, option)
        places = tuple((column, *_place(column, named, mapping, segments)) for column in columns)
        _check_unique(places, table, option)
        fields = {field for _, field, _ in places}
        fields |= {field.partition(".")[0] for field in constants}
        _check_needed(NEEDED, fields, columns, table, option)
        if not fields.intersection(OUTPUTS):
            raise LogError(
                f"{table}: no column for prediction, score or scores.CLASS; "
                f"name one with {_option(option, 'score', 'COLUMN')} {_listed(columns)}"
            )
        return cls(
            columns=places,
            constants=tuple((*_split(field), value) for field, value in constants.items()),
            indexes=tuple(range(len(columns))),
        )

    @classmethod
    def of_truths(
        cls, columns: Sequence[str], *, mapping: Mapping[str, str], table: str, option: str
    ) -> ColumnMapping:
        """Map the columns of a table with ground truth alone; columns of no field are ignored.

        Raises
        ------
        LogError
            As `of`.
        """
        constants, named = _split_mapping(mapping)
        for field, column in mapping.items():
            if field not in _FIELDS_OF_TRUTHS:
                known = ", ".join(sorted(_FIELDS_OF_TRUTHS))
                raise LogError(
                    f"{_option(option, field, column)}: unknown field {field!r} of ground truth; "
                    f"fields are {known}"
                )
        _check_columns(named, columns, table, option)
        places: list[tuple[str, str, str | None]] = []
        indexes = []
        for index, column in enumerate(columns):
            own = column if column in _FIELDS_OF_TRUTHS else ALIASES[GROUND_TRUTH].get(column)
            place = named.get(column) or (own if own not in mapping else None)
            if place is not None:
                places.append((column, place, None))
                indexes.append(index)
        _check_unique(places, table, option)
        fields = {field for _, field, _ in places} | constants.keys()
        _check_needed(NEEDED_OF_TRUTHS, fields, columns, table, option)
        return cls(
            columns=tuple(places),
            constants=tuple((field, None, value) for field, value in constants.items()),
            indexes=tuple(indexes),
        )

    def has(self, field: str) -> bool:
        """Whether a column or a constant gives this field."""
        return any(place[1] == field for place in self.columns) or any(
            constant[0] == field for constant in self.constants
        )

    def events(
        self, values: Sequence[Any], row: int
    ) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """The prediction of a row, and its truth if the row has a label. A value that cannot be
        converted stays as it is; decoding rejects it.

        Parameters
        ----------
        values
            One for each mapped column; None, NaN and empty text are missing.
        row
            Number of the row; the id of rows without one.
        """
        fields = self._fields(values)
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

    def truth(self, values: Sequence[Any]) -> dict[str, Any] | None:
        """The ground truth of a row of a table mapped by `of_truths`; None without a label."""
        fields = self._fields(values)
        return fields if "label" in fields or fields.get("retracted") else None

    def _fields(self, values: Sequence[Any]) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        row_values = [
            (field, key, value) for (_, field, key), value in zip(self.columns, values, strict=True)
        ]
        for field, key, value in [*self.constants, *row_values]:
            if value is None or value == "" or (isinstance(value, float) and isnan(value)):
                if field == "features":
                    fields.setdefault(field, {})[key] = None
                continue
            if key is None:
                fields[field] = _typed(field, value)
            else:
                fields.setdefault(field, {})[key] = _typed(field, value)
        return fields


def _split_mapping(mapping: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Constant by field, and field by column."""
    constants = {field: column[1:] for field, column in mapping.items() if column.startswith("=")}
    return constants, {column: field for field, column in mapping.items() if field not in constants}


def _check_columns(
    named: Mapping[str, str], columns: Sequence[str], table: str, option: str
) -> None:
    for column, field in named.items():
        if column not in columns:
            raise LogError(
                f"{_option(option, field, column)}: {table} has no column {column!r}; "
                f"it has {', '.join(columns)}"
            )


def _check_unique(places: Sequence[tuple[str, str, str | None]], table: str, option: str) -> None:
    columns: dict[tuple[str, str | None], str] = {}
    for column, field, key in places:
        if (field, key) in columns:
            both = f"columns {columns[field, key]!r} and {column!r} both hold {field}"
            raise LogError(f"{table}: {both}; name one with {_option(option, field, 'COLUMN')}")
        columns[field, key] = column


def _check_needed(
    needed: Sequence[str],
    fields: Collection[str],
    columns: Sequence[str],
    table: str,
    option: str,
) -> None:
    for field in needed:
        if field not in fields:
            raise LogError(
                f"{table}: no column for {field}; name it with {_option(option, field, 'COLUMN')}, "
                f"or give every row one value with {_option(option, field, '=VALUE')} "
                f"{_listed(columns)}"
            )


def _option(option: str, field: str, column: str) -> str:
    """How to map a field to a column, on the command line or in Python."""
    if option.startswith("--"):
        return f"{option} {field}={column}"
    return f"{option}={{{field!r}: {column!r}}}"


def _listed(columns: Sequence[str]) -> str:
    return f"(columns: {', '.join(columns)})"


def _place(
    column: str, named: Mapping[str, str], mapping: Mapping[str, str], segments: Sequence[str]
) -> tuple[str, str | None]:
    """The field that a column holds, and its key in there."""
    field = named.get(column)
    if field is None:
        own = column if column in _FIELDS else _ALIASES.get(column)
        # If the mapping names another column for a field, the column of that name is a feature.
        field = own if own is not None and own not in mapping else None
    if field is None and column.partition(".")[0] in MAPPINGS and "." in column:
        field = column
    if field is None:
        return ("segment", column) if column in segments else ("features", column)
    return _split(field)


def _split(field: str) -> tuple[str, str | None]:
    """Field and key of "features.age"."""
    name, _, key = field.partition(".")
    return (name, key) if key else (field, None)


def _typed(field: str, value: Any) -> Any:
    """A value as JSON represents it."""
    if field in ("timestamp", TRUTH_TIME):
        return json_time(value)
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
    """A number or a boolean if the text is one, so that prediction "1.0" equals label "1"."""
    if _INTEGER.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text):
        return float(text)
    return {"true": True, "false": False}.get(text.lower(), text)


def json_time(value: Any) -> Any:
    """Milliseconds since the epoch if the value is a time, else the value; a time without an offset
    is UTC.
    """
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
    except ValueError:  # before 1970: decoding rejects the text with a precise message
        return str(value)
