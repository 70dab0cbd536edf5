"""Rows of a Parquet file or a data frame: values of every Arrow type as values of an event.

A type that has no such value, such as a list, makes its column unusable, with the reason. Times are
integers in milliseconds, counted down from nanoseconds by cutting digits off.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, runtime_checkable

from driftline.agents.recorded.tables.table import BATCH_ROWS, Column, Kind
from driftline.agents.recorded.tables.table_error import TableError

if TYPE_CHECKING:
    import pyarrow

KEYED: Final = ("features", "segment", "scores", "tags")
"""Fields whose keys may be columns of a struct."""
# pandas gives this name to the column of an index without a name.
_UNNAMED_INDEX: Final = re.compile(r"__index_level_[0-9]+__")
_PER_MS: Final = {"us": 1_000, "ns": 1_000_000}
_MS_PER_SECOND: Final = 1_000
# What pyarrow raises for data that it cannot convert or read, beside its own exceptions.
_FAULTS: Final = (ValueError, TypeError, OverflowError, NotImplementedError, OSError, KeyError)


class _Leaf(NamedTuple):
    """A column that is read: one of the file, or a key of one that is a struct.

    Attributes
    ----------
    place
        Index of the file's column.
    key
        Index of the struct's field, or None.
    values
        Converts an array to values of `kind`.
    """

    place: int
    key: int | None
    name: str
    kind: Kind
    values: Callable[[Any], list[Any]]
    unusable: str | None


@runtime_checkable
class ArrowStream(Protocol):
    """A data frame that exports an Arrow stream: of pandas, polars, pyarrow and others.

    References
    ----------
    The Arrow PyCapsule interface, https://arrow.apache.org/docs/format/CDataInterface.html
    """

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...


class ArrowTable:
    """A Parquet file, or a data frame that was written to an Arrow file.

    Parameters
    ----------
    path
        The file.
    name
        Name of the table, for messages.
    is_parquet
        Whether it is Parquet, not Arrow.

    Raises
    ------
    LogError
        If pyarrow is not installed, or the file cannot be read.
    """

    read_as = ""
    blank_rows = 0

    def __init__(self, path: Path, name: str, *, is_parquet: bool) -> None:
        self._path, self._is_parquet = path, is_parquet
        self.name = name
        try:
            import pyarrow
            import pyarrow.compute
            import pyarrow.parquet
        except ImportError as error:
            raise TableError(
                f'{path}: reading Parquet needs pyarrow: pip install "driftline[parquet]"'
            ) from error
        self._pyarrow = pyarrow
        schema = self._schema()
        self._names: list[str] = schema.names
        self._fields = [
            leaf
            for place, field in enumerate(schema)
            if not _UNNAMED_INDEX.fullmatch(field.name)
            for leaf in _leaves(pyarrow, place, field)
        ]
        self.columns = [
            Column(leaf.name.strip(), leaf.kind, leaf.unusable) for leaf in self._fields
        ]

    def _schema(self) -> pyarrow.Schema:
        try:
            if self._is_parquet:
                return self._pyarrow.parquet.read_schema(self._path)
            with self._pyarrow.ipc.open_file(self._path) as file:
                return file.schema
        except (self._pyarrow.ArrowException, *_FAULTS) as error:
            raise self._unreadable(error) from error

    def batches(self, indexes: Sequence[int]) -> Iterator[list[Sequence[Any]]]:
        """As in `Table`."""
        row = 0
        for batch in self._record_batches({self._fields[index].place for index in indexes}):
            for start in range(0, batch.num_rows, BATCH_ROWS):
                part = batch.slice(start, BATCH_ROWS)
                yield [self._values(self._fields[index], part, row) for index in indexes]
                row += part.num_rows

    def _values(self, field: _Leaf, batch: pyarrow.RecordBatch, row: int) -> list[Any]:
        try:
            # Of columns with one name, a batch has all that the file has, in the same order.
            name = self._names[field.place]
            occurrence = self._names[: field.place].count(name)
            array = batch.column(
                [at for at, each in enumerate(batch.schema.names) if each == name][occurrence]
            )
            if field.key is not None:
                array = array.flatten()[field.key]
            return field.values(array)
        except (self._pyarrow.ArrowException, *_FAULTS) as error:
            raise TableError(
                f"{self.name}: column {field.name!r} cannot be read after row {row} ({error}); "
                f"correct it where the table is written, or leave it out: --drop {field.name}"
            ) from error

    def _record_batches(self, places: Collection[int]) -> Iterator[pyarrow.RecordBatch]:
        try:
            if self._is_parquet:
                names = sorted({self._names[place] for place in places})
                with self._pyarrow.parquet.ParquetFile(self._path) as file:
                    yield from file.iter_batches(batch_size=BATCH_ROWS, columns=names)
            else:
                # Mapped, so that a frame in one piece is not in memory twice.
                with (
                    self._pyarrow.memory_map(str(self._path)) as source,
                    self._pyarrow.ipc.open_file(source) as file,
                ):
                    for number in range(file.num_record_batches):
                        yield file.get_batch(number)
        except (self._pyarrow.ArrowException, OSError) as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> TableError:
        what = "is no Parquet file that can be read" if self._is_parquet else "cannot be read"
        return TableError(f"{self._path if self._is_parquet else self.name}: {what} ({error})")


def spool(frame: ArrowStream, name: str, path: Path) -> ArrowTable:
    """A data frame as a table: its stream, which may be read only once, goes to an Arrow file.

    Parameters
    ----------
    name
        Name of the argument, for messages.
    path
        The file to write.

    Raises
    ------
    LogError
        If pyarrow is not installed, or the frame cannot be exported.
    """
    try:
        import pyarrow
    except ImportError as error:
        raise TableError(
            f'{name}: reading a data frame needs pyarrow: pip install "driftline[parquet]"'
        ) from error
    try:
        reader = pyarrow.RecordBatchReader.from_stream(frame)
        with pyarrow.ipc.new_file(path, reader.schema) as file:
            for batch in reader:
                file.write_batch(batch)
    except (pyarrow.ArrowException, *_FAULTS) as error:
        causes = ": ".join(str(cause) for cause in error.args)
        raise TableError(
            f"{name}: {type(frame).__name__} cannot be read ({causes}); give every column values "
            "of one type, such as frame['column'].astype(str), and a name of its own"
        ) from error
    return ArrowTable(path, name, is_parquet=False)


def _leaves(pyarrow: Any, place: int, field: pyarrow.Field) -> Iterator[_Leaf]:
    if field.name in KEYED and pyarrow.types.is_struct(field.type):
        for key, part in enumerate(field.type):
            yield _Leaf(place, key, f"{field.name}.{part.name}", *_reader(pyarrow, part.type))
    else:
        yield _Leaf(place, None, field.name, *_reader(pyarrow, field.type))


def _reader(pyarrow: Any, type_: Any) -> tuple[Kind, Callable[[Any], list[Any]], str | None]:
    """Kind of the values of an Arrow type, how to get them, and why there are none."""
    is_a = pyarrow.types
    if isinstance(type_, pyarrow.BaseExtensionType):
        if type_.extension_name == "arrow.uuid":
            return "text", _texts_of, None
        kind, values, unusable = _reader(pyarrow, type_.storage_type)
        return kind, lambda array: values(array.storage), unusable
    if is_a.is_dictionary(type_):
        kind, values, unusable = _reader(pyarrow, type_.value_type)
        return kind, lambda array: values(array.dictionary_decode()), unusable
    if is_a.is_run_end_encoded(type_):
        kind, values, unusable = _reader(pyarrow, type_.value_type)
        return kind, lambda array: values(pyarrow.compute.run_end_decode(array)), unusable
    if is_a.is_null(type_):
        return "empty", _plain, None
    if is_a.is_boolean(type_):
        return "boolean", _plain, None
    if is_a.is_integer(type_) or is_a.is_floating(type_):
        return "number", _plain, None
    if is_a.is_decimal(type_):
        return "number", _decimals, None
    if is_a.is_string(type_) or is_a.is_large_string(type_) or is_a.is_string_view(type_):
        return "text", _plain, None
    if (
        is_a.is_binary(type_)
        or is_a.is_large_binary(type_)
        or is_a.is_fixed_size_binary(type_)
        or is_a.is_binary_view(type_)
    ):
        return "text", _decoded, None
    if is_a.is_timestamp(type_):
        return "time", lambda array: _milliseconds(pyarrow, array, type_.unit), None
    if is_a.is_date(type_):
        to_ms = pyarrow.timestamp("ms")
        return "time", lambda array: array.cast(to_ms).cast(pyarrow.int64()).to_pylist(), None
    if is_a.is_duration(type_) or is_a.is_time(type_):
        return "number", lambda array: _milliseconds(pyarrow, array, type_.unit), None
    what = _WORDS.get(str(type_).partition("<")[0], f"of type {type_}")
    return "empty", _plain, f"{what}, which no figure can use; send its parts as columns"


_WORDS: Final = {
    **dict.fromkeys(("list", "large_list", "fixed_size_list", "list_view"), "a list"),
    "struct": "a struct",
    "map": "a map",
}


def _plain(array: pyarrow.Array) -> list[Any]:
    values: list[Any] = array.to_pylist()
    return values


def _texts_of(array: pyarrow.Array) -> list[Any]:
    return [None if value is None else str(value) for value in array.to_pylist()]


def _decoded(array: pyarrow.Array) -> list[Any]:
    """Bytes as the text that they are; others in hexadecimal."""
    return [None if value is None else _text_of(value) for value in array.to_pylist()]


def _text_of(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return f"0x{value.hex()}"


def _decimals(array: pyarrow.Array) -> list[Any]:
    if array.type.scale <= 0:
        return [None if value is None else int(value) for value in array.to_pylist()]
    return [None if value is None else float(value) for value in array.to_pylist()]


def _milliseconds(pyarrow: Any, array: pyarrow.Array, unit: str) -> list[Any]:
    """Whole milliseconds, rounded down."""
    bits = pyarrow.int32() if array.type.bit_width == 32 else pyarrow.int64()
    counts = array.cast(bits).to_pylist()
    if unit == "s":
        return [None if count is None else count * _MS_PER_SECOND for count in counts]
    per_ms = _PER_MS.get(unit, 1)
    if per_ms == 1:
        return counts
    return [None if count is None else count // per_ms for count in counts]
