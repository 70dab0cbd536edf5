"""What the bytes of a table file are, whatever its name says: text, Parquet, or something that is
refused with the way out; and the bytes without their compression.
"""

from __future__ import annotations

import gzip
import io
import shlex
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

from driftline.agents.recorded.lines import LogError
from driftline.agents.recorded.tables.table_error import TableError

SUFFIXES: Final = (".csv", ".tsv", ".parquet")
COMPRESSED: Final = (".gz", ".zst")

_PARQUET: Final = b"PAR1"
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
# First bytes, what they are, and the way out.
_OTHERS: Final = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook", "unpack it, or save the sheet as CSV"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook", "save the sheet as CSV"),
    (b"BZh", "compressed by bzip2", "unpack it: bunzip2 --keep {file}"),
    (b"\xfd7zXZ\x00", "compressed by xz", "unpack it: unxz --keep {file}"),
    (b"ARROW1", "an Arrow file", "write it as Parquet: pandas.read_feather(...).to_parquet(...)"),
    (b"FEA1", "a Feather file", "write it as Parquet: pandas.read_feather(...).to_parquet(...)"),
    (b"ORC", "an ORC file", "write it as Parquet: pandas.read_orc(...).to_parquet(...)"),
    (b"Obj\x01", "an Avro file", "write it as Parquet or JSON lines"),
    (b"SQLite format 3", "an SQLite database", "export the table as CSV"),
    (b"\x89HDF", "an HDF5 file", "write it as Parquet: pandas.read_hdf(...).to_parquet(...)"),
    (b"%PDF", "a PDF document", "export the table as CSV"),
)


def table_suffix(source: Path) -> str | None:
    """The suffix of a table file's name without that of its compression; None for any other."""
    name = source.name.lower()
    for compressed in COMPRESSED:
        name = name.removesuffix(compressed)
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix)), None)


def is_table(source: Path) -> bool:
    """Whether the name of a file is that of a table: .csv, .tsv, .parquet, with .gz or .zst."""
    return source.is_file() and table_suffix(source) is not None


def is_parquet(table: Path) -> bool:
    """Whether a file holds Parquet, by its first bytes.

    Raises
    ------
    LogError
        If it holds neither Parquet nor text.
    """
    head = _head(table)
    if head.startswith(_PARQUET):
        return True
    if table_suffix(table) == ".parquet":
        if not head:
            raise TableError(f"{table}: is empty, so it is no Parquet file; write it again")
        with _opened(table, head) as file:
            if not head.startswith((_GZIP, _ZSTD)):
                raise TableError(
                    f"{table}: is no Parquet file that can be read (it begins with {head[:4]!r}, "
                    "not with 'PAR1'); if it is text, name it .csv"
                )
            if file.read(len(_PARQUET)) == _PARQUET:
                raise TableError(
                    f"{table}: is a compressed Parquet file, which can only be read unpacked; "
                    f"unpack it: {_unpack(table, head)}"
                )
    for first, what, way_out in _OTHERS:
        if head.startswith(first):
            raise TableError(
                f"{table}: is {what}, not CSV or Parquet; "
                + way_out.format(file=shlex.quote(str(table)))
            )
    return False


@contextmanager
def open_bytes(table: Path) -> Iterator[IO[bytes]]:
    """The bytes of a file, unpacked if they are gzip or zstd.

    Raises
    ------
    LogError
        If the file cannot be opened, or its compressed bytes are damaged.
    """
    head = _head(table)
    try:
        with _opened(table, head) as file:
            yield file
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise TableError(
            f"{table}: its gzip data are damaged or cut off ({error}); copy the file again"
        ) from error
    except OSError as error:
        if not head.startswith(_ZSTD):
            raise
        raise TableError(
            f"{table}: its zstd data are damaged or cut off ({error}); copy the file again"
        ) from error


def _head(table: Path) -> bytes:
    try:
        with table.open("rb") as file:
            return file.read(16)
    except OSError as error:
        raise LogError(f"{table}: cannot be opened ({error.strerror})") from error


@contextmanager
def _opened(table: Path, head: bytes) -> Iterator[IO[bytes]]:
    file: Any
    if head.startswith(_GZIP):
        file = gzip.open(table)  # noqa: SIM115  closed below
    elif head.startswith(_ZSTD):
        try:
            import pyarrow
        except ImportError as error:
            raise TableError(
                f"{table}: is compressed by zstd, which needs pyarrow: "
                f'pip install "driftline[parquet]"; or unpack it: {_unpack(table, head)}'
            ) from error
        file = io.BufferedReader(pyarrow.CompressedInputStream(str(table), "zstd"))
    else:
        file = table.open("rb")
    with file:
        yield file


def _unpack(table: Path, head: bytes) -> str:
    program = "gzip" if head.startswith(_GZIP) else "zstd"
    unpacked = table.with_suffix("") if table.suffix.lower() in COMPRESSED else f"{table}.unpacked"
    return f"{program} -dc {shlex.quote(str(table))} > {shlex.quote(str(unpacked))}"
