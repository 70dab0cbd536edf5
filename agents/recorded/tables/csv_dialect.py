"""How a CSV file is written: encoding, separator, quotes, and the names in its header.

All of it is decided from the beginning of the file, and nothing is guessed that later rows could
contradict without a word: every row has to have the width of the header. Reading the rows is
`csv_table.py`.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
import shlex
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import IO, Final

from msgspec import Struct

from driftline.agents.recorded.tables.table_error import TableError

SEPARATORS: Final = (",", ";", "\t", "|")
NAMES: Final = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
HEAD_BYTES: Final = 1 << 18
_HEAD_ROWS: Final = 100
# The marks of UTF-32 begin like those of UTF-16, so they come first.
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SEPARATOR_LINE: Final = re.compile(r"(?:sep|SEP)=(.)[^\r\n]{0,8}(?:\r\n|\r|\n)")


class Dialect(Struct, frozen=True):
    """How a CSV file is written.

    Attributes
    ----------
    encoding
        Name of the codec.
    separator, quote
        One character each.
    skips_blanks
        Whether the blanks after a separator belong to the separator.
    skipped_lines
        Lines before the header: 1 if Excel's line "sep=;" is the first.
    has_row_names
        Whether each row has one value more than the header, the first, as R writes row names.
    """

    encoding: str
    separator: str
    quote: str = '"'
    skips_blanks: bool = False
    skipped_lines: int = 0
    has_row_names: bool = False

    def described(self) -> str:
        """The parts that are not the usual ones, for people."""
        parts = []
        if not self.encoding.startswith("utf-8"):
            parts.append(self.encoding.upper())
        if self.separator != ",":
            parts.append(f"separated by {NAMES.get(self.separator, repr(self.separator))}")
        if self.quote != '"':
            parts.append(f"quoted with {self.quote}")
        if self.skips_blanks:
            parts.append("a blank after each separator")
        if self.has_row_names:
            parts.append("row names without a heading")
        return ", ".join(parts)


def detect_dialect(file: IO[bytes], table: Path, names: frozenset[str]) -> Dialect:
    """The dialect of a CSV file, from its first 256 KiB.

    Parameters
    ----------
    file
        The bytes, at their start.
    table
        For messages.
    names
        Names of columns that are known: a separator that finds some in the header is the right one.

    Raises
    ------
    LogError
        If the file is empty, or no text in an encoding that can be read.
    """
    head = file.read(HEAD_BYTES)
    is_whole = len(head) < HEAD_BYTES
    encoding = _encoding(head, table)
    text = codecs.getincrementaldecoder(encoding)(errors="replace").decode(head, is_whole)
    if not text.strip():
        raise TableError(f"{table}: is empty; a header with the names of the columns is needed")
    separators: Sequence[str] = SEPARATORS
    skipped = 0
    if found := _SEPARATOR_LINE.match(text):
        separators, skipped, text = found[1], 1, text[found.end() :]
    if text.lstrip()[:1] in ("{", "["):
        raise TableError(
            f"{table}: holds JSON, not CSV; name it predictions.jsonl, in a folder with "
            "ground-truth.jsonl, and replay the folder"
        )
    if text.lstrip()[:1] == "<":
        raise TableError(f"{table}: holds HTML or XML, not CSV; export the table as CSV")
    best = max(
        (
            _Attempt.of(text, is_whole, separator, quote, skips_blanks)
            for skips_blanks, quote, separator in product((False, True), ('"', "'"), separators)
        ),
        key=lambda attempt: attempt.merit(names),
    )
    return Dialect(
        encoding=encoding,
        separator=best.separator,
        quote=best.quote,
        skips_blanks=best.skips_blanks or best.has_blanks_everywhere(),
        skipped_lines=skipped,
        has_row_names=best.has_row_names(),
    )


class _Attempt(Struct, frozen=True):
    """The first rows of a file, as one dialect reads them."""

    separator: str
    quote: str
    skips_blanks: bool
    rows: list[list[str]]

    @classmethod
    def of(
        cls, text: str, is_whole: bool, separator: str, quote: str, skips_blanks: bool
    ) -> _Attempt:
        reader = csv.reader(
            io.StringIO(text, newline=""),
            delimiter=separator,
            quotechar=quote,
            skipinitialspace=skips_blanks,
            strict=True,
        )
        rows: list[list[str]] = []
        is_broken = False
        try:
            for row in reader:
                if row:
                    rows.append(row)
                if len(rows) == _HEAD_ROWS:
                    break
            else:
                if not is_whole and len(rows) > 1:
                    rows.pop()  # the end of the head cuts it
        except csv.Error:
            is_broken = is_whole or len(rows) < 2
        return cls(separator, quote, skips_blanks, [*rows, []] if is_broken else rows)

    def merit(self, names: frozenset[str]) -> tuple[bool, int, bool, bool, int]:
        """What speaks for this attempt, most important first; equal ones keep their order."""
        header = self.rows[0] if self.rows else []
        known = sum(name.strip() in names for name in header)
        # A cell that the other character encloses, or opens, is quoted with that one.
        if self.quote == '"':
            is_quoted = not any(len(name) > 1 and name[0] == name[-1] == "'" for name in header)
        else:
            is_quoted = not any(cell.lstrip()[:1] == '"' for row in self.rows for cell in row)
        widths = {len(row) for row in self.rows}
        # A line above the header is one cell in every dialect; the rows below it tell them apart.
        is_even = len(widths) == 1 or len(header) == 1 or self.has_row_names()
        return len(header) > 1, known, is_quoted, is_even, max(widths, default=0)

    def has_row_names(self) -> bool:
        """Whether every row is one longer than the header."""
        width = len(self.rows[0]) if self.rows else 0
        return width > 1 and {len(row) for row in self.rows[1:]} == {width + 1}

    def has_blanks_everywhere(self) -> bool:
        """Whether every value that follows a separator begins with a blank."""
        cells = [cell for row in self.rows for cell in row[1:]]
        return bool(cells) and all(cell.startswith(" ") for cell in cells)


def _encoding(head: bytes, table: Path) -> str:
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    zeros = head[:4096].count(0)
    if zeros > len(head[:4096]) // 4:
        order = "LE" if head[1:2] == b"\0" else "BE"
        raise TableError(
            f"{table}: has a zero byte in every second place, as UTF-16 without a mark at its "
            f"beginning; convert it: {_convert(f'UTF-16{order}', table)}"
        )
    return "utf-8"


def not_utf8(table: Path, error: UnicodeDecodeError, place: str) -> TableError:
    """The refusal of a file with bytes that its encoding does not have."""
    if error.encoding.lower().startswith(("utf-16", "utf-32", "utf_16", "utf_32")):
        return TableError(
            f"{table}: {place} is no {error.encoding.upper()} ({error.reason}), which the mark at "
            "the beginning of the file announces; the file is damaged or cut off, write it again"
        )
    return TableError(
        f"{table}: {place} is not UTF-8 (byte {error.object[error.start]:#04x}); if the file was "
        f"written on Windows or as Latin-1, convert it: {_convert('WINDOWS-1252', table)}"
    )


def _convert(encoding: str, table: Path) -> str:
    target = table.with_name(f"{table.name.split('.')[0]}-utf8.csv")
    source = shlex.quote(str(table))
    if table.suffix.lower() in (".gz", ".zst"):
        program = "gzip" if table.suffix.lower() == ".gz" else "zstd"
        pipe = f"{program} -dc {source} | iconv -f {encoding} -t UTF-8"
    else:
        pipe = f"iconv -f {encoding} -t UTF-8 {source}"
    return f"{pipe} > {shlex.quote(str(target))}"
