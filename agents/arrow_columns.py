"""Columns of an Arrow table from the structs of an output topic.

The type of a field decides the type of its column, so that empty tables have the columns of full
ones. Only the names of metrics and counters depend on the records.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import inspect

from driftline.schemas.results import WindowFigures, encode
from driftline.schemas.times import EpochMs, parse_time

# Fields of the registry's records that are times as text.
TEXT_TIMES: Final = frozenset(
    {"at", "registered_at", "deployed_at", "created_at", "span_start", "span_end"}
)
BY_METRIC: Final = ("metrics", "ci", "bounds", "null_reasons")
COUNTS: Final = "counts"
_to_json = msgspec.json.Encoder(order="deterministic").encode


class Column(NamedTuple):
    """A column of N records.

    Attributes
    ----------
    values
        N values, None where there is none.
    type
        Its Arrow type.
    """

    name: str
    values: list[Any]
    type: Any


def arrow_table(pyarrow: Any, type_: type[Any], records: Sequence[Any]) -> Any:
    """An Arrow table of records.

    Parameters
    ----------
    pyarrow
        The library, which is optional.
    type_
        Type of the records, a struct of `driftline.schemas.results`.
    """
    columns: list[Column] = []
    for field in msgspec.structs.fields(type_):
        values = [getattr(record, field.name) for record in records]
        if type_ is WindowFigures and field.name in (*BY_METRIC, COUNTS):
            continue
        info = inspect.type_info(field.type)
        columns += _columns(pyarrow, field.encode_name, info, values)
    if type_ is WindowFigures:
        used = {column.name for column in columns}
        columns += _metric_columns(pyarrow, records, used)
        columns += _counter_columns(pyarrow, records)
    return pyarrow.table(
        {column.name: pyarrow.array(column.values, column.type) for column in columns}
    )


def _columns(pyarrow: Any, name: str, info: inspect.Type, values: list[Any]) -> Iterator[Column]:
    if isinstance(info, inspect.UnionType):
        present = [each for each in info.types if not isinstance(each, inspect.NoneType)]
        info = present[0] if len(present) == 1 else inspect.AnyType()
    if isinstance(info, inspect.StructType):
        for field in info.fields:
            inner = [None if value is None else getattr(value, field.name) for value in values]
            yield from _columns(pyarrow, f"{name}_{field.encode_name}", field.type, inner)
    elif isinstance(info, inspect.TupleType):
        is_interval = isinstance(info.item_types[0], inspect.FloatType)
        for place, end in enumerate(("low", "high") if is_interval else ("start", "end")):
            ends = [None if value is None else value[place] for value in values]
            yield from _columns(pyarrow, f"{name}_{end}", info.item_types[place], ends)
    elif isinstance(info, inspect.CustomType) and info.cls is EpochMs:
        yield Column(name, values, _time_type(pyarrow))
    elif isinstance(info, inspect.StrType) and name in TEXT_TIMES:
        times = [None if value is None else parse_time(value) for value in values]
        yield Column(name, times, _time_type(pyarrow))
    elif isinstance(info, inspect.ListType) and isinstance(info.item_type, inspect.StructType):
        yield Column(name, [encode(value).decode() for value in values], pyarrow.string())
    elif isinstance(info, inspect.DictType | inspect.AnyType):
        texts = [None if value is None else _to_json(value).decode() for value in values]
        yield Column(name, texts, pyarrow.string())
    else:
        yield Column(name, values, _plain_type(pyarrow, info))


def _time_type(pyarrow: Any) -> Any:
    return pyarrow.timestamp("ms", tz="UTC")


def _plain_type(pyarrow: Any, info: inspect.Type) -> Any:
    if isinstance(info, inspect.ListType):
        return pyarrow.list_(_plain_type(pyarrow, info.item_type))
    if isinstance(info, inspect.BoolType):
        return pyarrow.bool_()
    if isinstance(info, inspect.IntType):
        return pyarrow.int64()
    if isinstance(info, inspect.FloatType):
        return pyarrow.float64()
    return pyarrow.string()


def _metric_columns(
    pyarrow: Any, records: Sequence[WindowFigures], used: set[str]
) -> Iterator[Column]:
    """Value, interval, bounds and reason of each metric; the latter three only if a record has
    them.
    """
    number, text = pyarrow.float64(), pyarrow.string()
    for metric in sorted({name for record in records for name in record.metrics}):
        name = f"metric_{metric}" if metric in used else metric
        yield Column(name, [record.metrics.get(metric) for record in records], number)
        for ending, field in (("", "ci"), ("_bound", "bounds")):
            pairs = [getattr(record, field).get(metric) for record in records]
            if any(pairs):
                for place, end in enumerate(("low", "high")):
                    values = [pair and pair[place] for pair in pairs]
                    yield Column(f"{name}{ending}_{end}", values, number)
        reasons = [record.null_reasons.get(metric) for record in records]
        if any(reasons):
            yield Column(f"{name}_null_reason", reasons, text)


def _counter_columns(pyarrow: Any, records: Sequence[WindowFigures]) -> Iterator[Column]:
    for counter in sorted({name for record in records for name in record.counts}):
        counts = [record.counts.get(counter, 0) for record in records]
        yield Column(f"count_{counter}", counts, pyarrow.int64())
