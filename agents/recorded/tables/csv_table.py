"""Rows of a CSV file, every value as text.

The reader is that of the standard library in its strict mode: a quote that is not closed, or not
doubled within a value, is an error, where more tolerant readers make one value of many rows.
"""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Final

from driftline.agents.recorded.tables.csv_dialect import Dialect, detect_dialect, not_utf8
from driftline.agents.recorded.tables.file_content import open_bytes
from driftline.agents.recorded.tables.table import BATCH_ROWS, Column
from driftline.agents.recorded.tables.table_error import TableError

# The standard library's limit, 131,072 characters, would refuse a table with a long text.
MAX_VALUE_CHARACTERS: Final = 16 << 20


class CsvTable:
    """A CSV file with a header.

    Parameters
    ----------
    path
        The file; .gz and .zst are unpacked while they are read.
    names
        Names of columns that are known, which help to find the separator.

    Raises
    ------
    LogError
        If the file is no CSV that can be read.
    """

    def __init__(self, path: Path, names: frozenset[str]) -> None:
        self._path = path
        self.name = path.name
        self.blank_rows = 0
        with open_bytes(path) as file:
            self._dialect = detect_dialect(file, path, names)
        with self._rows() as rows:
            header = next(rows)
            self._header_width = len(header)
            if len(header) == 1 and len(row := next(rows, [])) > 1:
                self.columns = [Column(header[0], "written")]
                raise self._ragged(rows, row)
        if self._dialect.has_row_names:
            header = ["", *header]
        self.columns = [Column(name.strip(), "written") for name in header]

    @property
    def read_as(self) -> str:
        """As in `Table`."""
        return self._dialect.described()

    def batches(self, indexes: Sequence[int]) -> Iterator[list[Sequence[Any]]]:
        """As in `Table`."""
        blank_rows = 0
        widths = {len(self.columns)}
        with self._rows() as rows:
            next(rows)
            while True:
                try:
                    batch = list(islice(rows.reader, BATCH_ROWS))
                except (csv.Error, UnicodeDecodeError):
                    self._find_fault()
                    raise  # the file was changed in between
                if not batch:
                    break
                if set(map(len, batch)) != widths:
                    batch = [row for row in batch if row]
                    if set(map(len, batch)) - widths:
                        batch = [row for row in batch if any(row)]
                        if set(map(len, batch)) - widths:
                            self._find_fault()
                columns = list(zip(*batch, strict=True))
                # Rows without any value, as below a sheet of Excel.
                if batch and "" in columns[0]:
                    valued = [row for row in batch if any(row)]
                    blank_rows += len(batch) - len(valued)
                    columns = list(zip(*valued, strict=True))
                if columns:
                    yield [columns[index] for index in indexes]
        self.blank_rows = blank_rows

    def _find_fault(self) -> None:
        """Raise the first fault of the file, with its place: a second pass, so that the first need
        not count lines.
        """
        width = len(self.columns)
        with self._rows() as rows:
            next(rows)
            for row in rows:
                if len(row) != width and any(row):
                    raise self._ragged(rows, row)
                if not any(row):
                    rows.number -= 1

    @contextmanager
    def _rows(self) -> Iterator[_Rows]:
        with (
            open_bytes(self._path) as file,
            # Line ends belong to the reader, which knows those within quotes.
            io.TextIOWrapper(file, encoding=self._dialect.encoding, newline="") as text,
        ):
            try:
                for _ in range(self._dialect.skipped_lines):
                    text.readline()
            except UnicodeDecodeError as error:
                raise not_utf8(self._path, error, "something in it") from error
            yield _Rows(text, self._dialect, self._path)

    def _ragged(self, rows: _Rows, row: Sequence[str]) -> TableError:
        file = shlex.quote(str(self._path))
        width = self._header_width
        named = "" if width == len(self.columns) else " besides the row name"
        if width == 1:
            return TableError(
                f"{self._path}: {rows.place} has {len(row)} values, the header has one; if line "
                f"{rows.first_line} is no header, take it out: sed {rows.first_line}d {file}"
            )
        return TableError(
            f"{self._path}: {rows.place} has {len(row)} values, the header has {width}{named}; put "
            "a value that holds the separator in quotes, or take the row out: "
            f"sed {rows.line}d {file}"
        )


class _Rows:
    """The rows of an open file, the header first.

    Attributes
    ----------
    reader
        The reader of the standard library.
    number
        Number of the row that was read last, from 0; -1 is the header.
    line
        The line on which it begins, from 1.
    first_line
        Line of the header.
    """

    def __init__(self, text: io.TextIOWrapper, dialect: Dialect, path: Path) -> None:
        csv.field_size_limit(max(csv.field_size_limit(), MAX_VALUE_CHARACTERS))
        self.reader = csv.reader(
            text,
            delimiter=dialect.separator,
            quotechar=dialect.quote,
            skipinitialspace=dialect.skips_blanks,
            strict=True,
        )
        self._path = path
        self._quote = dialect.quote
        self._skipped = dialect.skipped_lines
        self.first_line = 1 + dialect.skipped_lines
        self.number = -2
        self.line = 0

    @property
    def place(self) -> str:
        """The row that was read last, for messages."""
        return f"the header (line {self.line})" if self.number < 0 else self._place_of(self.number)

    def _place_of(self, number: int) -> str:
        return f"row {number} (line {self.line})"

    def __iter__(self) -> Iterator[list[str]]:
        return self

    def __next__(self) -> list[str]:
        self.line = self.reader.line_num + self._skipped + 1
        try:
            row = next(self.reader)
            while not row and self.number == -2:
                self.line = self.reader.line_num + self._skipped + 1
                row = next(self.reader)
        except csv.Error as error:
            self.number += 1
            raise TableError(f"{self._path}: {self.place} is no CSV: {self._why(error)}") from error
        except UnicodeDecodeError as error:
            place = f"something after line {self.line - 1}" if self.line > 1 else "something in it"
            raise not_utf8(self._path, error, place) from error
        self.number += 1
        return row

    def _why(self, error: csv.Error) -> str:
        text = str(error)
        if "end of data" in text:
            return (
                f"a quote ({self._quote}) opens in it, or in a later row, and is never closed; "
                "close it, or double it if it is part of the value"
            )
        if "expected after" in text:
            return (
                f"a quote ({self._quote}) within a quoted value is not doubled; "
                f"write {self._quote * 2} for it"
            )
        if "field limit" in text:
            return (
                f"a value is longer than {MAX_VALUE_CHARACTERS:,} characters; "
                f"if that is not meant, a quote ({self._quote}) is not closed"
            )
        return text
