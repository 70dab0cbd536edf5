"""Events from the rows of a table: a prediction for each, and a truth if it has a label.

Values are converted a column at a time. One that cannot be converted stays as it is; decoding
rejects it with a reason.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

from driftline.agents.recorded.tables.arrow_table import KEYED
from driftline.agents.recorded.tables.column_mapping import (
    NUMBERS,
    PREDICTION_FIELDS,
    TRUTH_FIELDS,
    TRUTH_TIME,
    ColumnMapping,
    ColumnUse,
    split_field,
)
from driftline.agents.recorded.tables.table import Kind
from driftline.agents.recorded.tables.written_values import (
    BOOLEANS,
    beyond_float,
    event_time,
    is_missing,
    number_of,
    numbers_of,
    time_of,
)
from driftline.schemas.labels import is_missing_label, label_text
from driftline.schemas.times import MAX_TIME_MS, format_time

Values = Sequence[Any]
Event = dict[str, Any]

LABELS: Final = frozenset({"prediction", "label"})
IDS: Final = frozenset({"prediction_id", "model_name", "model_version"})
TIMES: Final = frozenset({"timestamp", TRUTH_TIME})
TEXTS: Final = frozenset({"segment", "tags"})
MAX_JSON_INTEGER: Final = 2**64
_FLAGS: Final = {**BOOLEANS, "1": True, "0": False}


class RowEvents:
    """Makes events of the rows of a table.

    Parameters
    ----------
    mapping
        Where each field comes from.
    missing_labels
        Texts that stand for no label.
    """

    def __init__(self, mapping: ColumnMapping, missing_labels: Collection[str]) -> None:
        self._mapping = mapping
        self._used = mapping.used
        self._has_truth_time = mapping.has(TRUTH_TIME)
        missing = frozenset(missing_labels)
        self._converters = [_converter(use, missing) for use in self._used]
        self._constants = {
            field: _converter(_constant(field), missing)([text])[0]
            for field, text in mapping.constants.items()
        }

    @property
    def indexes(self) -> list[int]:
        """Places of the columns that are needed."""
        return [use.index for use in self._used]

    def of_batch(
        self, batch: Sequence[Values], first: int
    ) -> tuple[list[Event], list[Event | None]]:
        """The prediction of each row, and its truth, None if it has no label.

        Parameters
        ----------
        batch
            Values of the columns `indexes`, N rows.
        first
            Number of the first row; the id of a row in a table without ids follows from it.
        """
        n = len(batch[0])
        columns = self._columns(batch)
        if not self._mapping.has("prediction_id"):
            columns["prediction_id"] = [f"row-{first + row}" for row in range(n)]
        keyed = {
            name: _mappings(name, columns, n)
            for name in KEYED
            if any(split_field(field)[0] == name for field in columns)
        }
        plain = {field: values for field, values in columns.items() if "." not in field}
        predictions = _events(
            {field: values for field, values in plain.items() if field in PREDICTION_FIELDS}, n
        )
        for name, mappings in keyed.items():
            for event, values in zip(predictions, mappings, strict=True):
                if values:
                    event[name] = values
        return predictions, self._truths(plain, n)

    def truths_of_batch(self, batch: Sequence[Values]) -> list[Event | None]:
        """The truth of each row of a table with ground truth alone; None without a label."""
        n = len(batch[0])
        return [_if_labelled(event) for event in _events(self._columns(batch), n)]

    def _columns(self, batch: Sequence[Values]) -> dict[str, Values]:
        n = len(batch[0])
        columns: dict[str, Values] = {
            field: [value] * n for field, value in self._constants.items()
        }
        for use, convert, values in zip(self._used, self._converters, batch, strict=True):
            assert use.field is not None
            columns[use.field] = convert(values)
        return columns

    def _truths(self, plain: Mapping[str, Values], n: int) -> list[Event | None]:
        if "label" not in plain and "retracted" not in plain:
            return [None] * n
        fields = {field: values for field, values in plain.items() if field in TRUTH_FIELDS}
        known = fields.pop(TRUTH_TIME, None)
        fields["prediction_id"] = plain["prediction_id"]
        # When a label became known is not known without its time, unless the table has none at all.
        if (times := plain.get("timestamp") if known is None else known) is not None:
            fields["timestamp"] = times
        return [_if_labelled(event) for event in _events(fields, n)]


def _if_labelled(event: Event) -> Event | None:
    return event if "label" in event or event.get("retracted") is True else None


def _events(columns: Mapping[str, Values], n: int) -> list[Event]:
    """One mapping for each row, without the values that are missing."""
    names = tuple(columns)
    rows = zip(*columns.values(), strict=True) if columns else [()] * n
    if any(None in values for values in columns.values()):
        return [
            {name: value for name, value in zip(names, row, strict=True) if value is not None}
            for row in rows
        ]
    return [dict(zip(names, row, strict=True)) for row in rows]


def _mappings(name: str, columns: Mapping[str, Values], n: int) -> list[Event]:
    """The keys of one field, a mapping for each row. Missing features stay, as null."""
    start = len(name) + 1
    keys = {
        field[start:]: values for field, values in columns.items() if field.startswith(f"{name}.")
    }
    if name != "features":
        return _events(keys, n)
    names = tuple(keys)
    return [dict(zip(names, row, strict=True)) for row in zip(*keys.values(), strict=True)]


def _constant(field: str) -> ColumnUse:
    return ColumnUse(table="", column="", field=field, kind="written", why="", index=0)


def _converter(use: ColumnUse, missing_labels: frozenset[str]) -> Callable[[Values], Values]:
    """How the values of a column become those of its field; None is missing."""
    name, kind = use.name, use.kind
    if name in LABELS:
        return _labels(kind, missing_labels)
    if name in IDS:
        return _ids if kind not in ("written", "text") else _text_ids
    if name in TIMES:
        return _exact_times if kind == "time" else _times
    if name in NUMBERS:
        if kind == "number" and use.was_written:
            return lambda values: numbers_of(values, comma=use.has_comma)
        return _numbers(use.has_comma)
    if name in TEXTS:
        return _texts_of_time if kind == "time" else _texts
    if name == "features":
        return _features(use)
    return {"revision": _revisions, "retracted": _flags}.get(name, _plain_texts)


def _labels(kind: Kind, missing: frozenset[str]) -> Callable[[Values], Values]:
    def convert(values: Values) -> Values:
        unlabelled = {
            value
            for value in set(values)
            if type(value) is str and is_missing_label(value, missing)
        }
        if not unlabelled:
            return values
        return [None if value in unlabelled else value for value in values]

    def convert_numbers(values: Values) -> Values:
        return list(map(_number, values))

    if kind == "number":
        return convert_numbers
    return _texts_of_time if kind == "time" else convert


def _text_ids(values: Values) -> Values:
    return values if all(values) else [value or None for value in values]


def _ids(values: Values) -> Values:
    """Texts exactly as they are, integers as their digits; a float is rejected by decoding."""
    return [
        str(value)
        if type(value) is int
        else value
        if value and type(value) is str
        else _number(value)
        if type(value) is float
        else value
        if type(value) is bool
        else None
        for value in values
    ]


def _exact_times(values: Values) -> Values:
    return [None if value is None else event_time(value) for value in values]


def _times(values: Values) -> Values:
    return [
        (None if is_missing(value) or not value else time_of(value))
        if type(value) is str
        else _number(value)
        for value in values
    ]


def _numbers(comma: bool) -> Callable[[Values], Values]:
    def convert(values: Values) -> Values:
        return [
            (None if not value or is_missing(value) else number_of(value, comma=comma))
            if type(value) is str
            else _number(value)
            for value in values
        ]

    return convert


def _features(use: ColumnUse) -> Callable[[Values], Values]:
    if use.kind == "number":
        if use.was_written:
            return lambda values: numbers_of(values, comma=use.has_comma)
        return lambda values: list(map(_feature_number, values))
    if use.kind == "boolean":
        return (
            (lambda values: [BOOLEANS.get(value.strip().lower()) for value in values])
            if use.was_written
            else list
        )
    if use.kind == "time":
        return _texts_of_time
    if use.kind == "empty":
        return lambda values: [None] * len(values)
    return _feature_texts


def _feature_texts(values: Values) -> Values:
    missing = {value for value in set(values) if value is None or is_missing(value)}
    return [None if value in missing else value for value in values] if missing else values


def _texts(values: Values) -> Values:
    """Values of a segment or tag as text, numbers as those of labels; blanks are missing."""
    distinct = {value: _text(value) for value in set(values)}
    return [distinct[value] for value in values]


def _text(value: Any) -> str | None:
    if value is None or value != value:
        return None
    if isinstance(value, str):
        return value if value.strip() else None
    return label_text(value)


def _texts_of_time(values: Values) -> Values:
    return [
        None
        if value is None
        else format_time(value)
        if 0 <= value <= MAX_TIME_MS
        else f"{value} ms"
        for value in values
    ]


def _plain_texts(values: Values) -> Values:
    """Texts without the blanks around them."""
    return [(value.strip() or None) if type(value) is str else _number(value) for value in values]


def _revisions(values: Values) -> Values:
    return [
        (number_of(value) if value.strip() else None) if type(value) is str else _number(value)
        for value in values
    ]


def _flags(values: Values) -> Values:
    return [
        (_FLAGS.get(value.strip().lower(), value) if value.strip() else None)
        if type(value) is str
        else value
        for value in values
    ]


def _number(value: Any) -> Any:
    """A number as JSON can hold it."""
    if type(value) is float:
        return beyond_float(value)
    if type(value) is int and not -MAX_JSON_INTEGER < value < MAX_JSON_INTEGER:
        return str(value)
    return value


def _feature_number(value: Any) -> Any:
    """A number as JSON can hold it; an integer of more than 64 bits as the float nearest to it."""
    number = _number(value)
    return beyond_float(float(number)) if type(number) is str else number
