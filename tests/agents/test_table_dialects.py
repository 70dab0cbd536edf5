"""CSV as programs write it: read with the same result, or refused with the cause and a way out."""

from __future__ import annotations

import csv
import gzip
import io
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from driftline.agents.recorded.lines import LogError
from driftline.agents.recorded.tables.file_content import is_table
from tests.agents.tables import convert, notes_of, predictions_of, truths_of, uses_of

HEADER = ["prediction_id", "timestamp", "score", "y_true", "age", "city", "model", "version"]
ROWS = [
    ["a", "2026-01-05T00:00:00Z", "0.8", "1", "27.5", "Łódź", "m", "1.10"],
    ["b", "2026-01-05T01:00:00Z", "0.25", "0", "40", 'Köln, "Süd"', "m", "1.10"],
    ["c", "2026-01-05T02:00:00Z", "0", "", "", "x;y|z", "m", "1.10"],
]
PREDICTIONS = [
    {
        "prediction_id": id_,
        "timestamp": 1_767_571_200_000 + hour * 3_600_000,
        "score": score,
        "model_name": "m",
        "model_version": "1.10",
        "features": {"age": age, "city": city},
    }
    for hour, (id_, score, age, city) in enumerate(
        [("a", 0.8, 27.5, "Łódź"), ("b", 0.25, 40, 'Köln, "Süd"'), ("c", 0, None, "x;y|z")]
    )
]


def written(rows: list[list[str]], **dialect: Any) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, **dialect).writerows(rows)
    return text.getvalue()


def packed(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


PLAIN = written([HEADER, *ROWS])


def read(tmp_path: Path, content: str | bytes, name: str = "table.csv", **options: Any) -> Path:
    """The log of a table with this content."""
    table = tmp_path / name
    table.write_bytes(content.encode() if isinstance(content, str) else content)
    convert(table, tmp_path / "log", **options)
    return tmp_path / "log"


def check(log: Path) -> None:
    assert predictions_of(log) == PREDICTIONS
    assert {id_: truth["label"] for id_, truth in truths_of(log).items()} == {"a": "1", "b": "0"}


def with_comma(rows: list[list[str]]) -> list[list[str]]:
    return [
        [*row[:2], row[2].replace(".", ","), row[3], row[4].replace(".", ","), *row[5:]]
        for row in rows
    ]


def spaced(rows: list[list[str]]) -> str:
    lines = [", ".join('"{}"'.format(cell.replace('"', '""')) for cell in row) for row in rows]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        written([HEADER, *ROWS], delimiter=";"),
        written([HEADER, *ROWS], delimiter="\t"),
        written([HEADER, *ROWS], delimiter="|"),
        written([HEADER, *ROWS], quotechar="'"),
        written([HEADER, *ROWS], quotechar="'", quoting=csv.QUOTE_ALL, delimiter=";"),
        written([HEADER, *ROWS], quoting=csv.QUOTE_ALL),
        written([HEADER, *ROWS], lineterminator="\n"),
        written([HEADER, *ROWS], lineterminator="\r"),
        PLAIN.encode("utf-8-sig"),
        PLAIN.encode("utf-16"),
        b"\xfe\xff" + PLAIN.encode("utf-16-be"),
        PLAIN.encode("utf-32"),
        "sep=,\r\n" + PLAIN,
        "sep=;\n" + written([HEADER, *ROWS], delimiter=";"),
        "\ufeffsep=\t\n" + written([HEADER, *ROWS], delimiter="\t"),
        "sep=,\n".encode("utf-16") + PLAIN.encode("utf-16-le"),
        "sep=~\n" + written([HEADER, *ROWS], delimiter="~"),
        written([HEADER, *with_comma(ROWS)], delimiter=";"),
        written([HEADER, *with_comma(ROWS)]),
        written([HEADER, *with_comma(ROWS)], delimiter="\t").encode("utf-16"),
        written([[f" {name} " for name in HEADER], *ROWS]),
        written([[f"\t{name}\u00a0" for name in HEADER], *ROWS], delimiter=";"),
        spaced([HEADER, *ROWS]),
        PLAIN + "\r\n\r\n",
        "\r\n" + PLAIN,
        PLAIN + ",,,,,,,\r\n" * 3,
        PLAIN.rstrip(),
        packed(PLAIN.encode()),
        packed(PLAIN.encode()[:40]) + packed(PLAIN.encode()[40:]),
    ],
)
def test_a_dialect_is_read(tmp_path: Path, content: str | bytes) -> None:
    check(read(tmp_path, content))


@pytest.mark.parametrize("suffix", [".csv.gz", ".tsv", ".TSV", ".csv.zst", ".csv"])
def test_the_content_decides_not_the_suffix(tmp_path: Path, suffix: str) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    pack: Any = {
        ".csv.gz": packed,
        ".csv.zst": lambda data: pyarrow.Codec("zstd").compress(data, asbytes=True),
    }.get(suffix, bytes)
    log = read(tmp_path, pack(PLAIN.encode()), f"table{suffix}")
    assert is_table(tmp_path / f"table{suffix}")
    check(log)


def test_parquet_called_csv_is_read(tmp_path: Path) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = {name: [row[at] or None for row in ROWS] for at, name in enumerate(HEADER)}
    columns["age"] = [27.5, 40, None]
    parquet.write_table(pyarrow.table(columns), tmp_path / "table.csv")
    convert(tmp_path / "table.csv", tmp_path / "log")
    check(tmp_path / "log")


@pytest.mark.parametrize(
    "content",
    [
        written([["", *HEADER], *([str(at), *row] for at, row in enumerate(ROWS))]),
        written([["Unnamed: 0", *HEADER], *([str(at), *row] for at, row in enumerate(ROWS))]),
        written([[" ", *HEADER], *([f"r{at}", *row] for at, row in enumerate(ROWS))]),
        written([HEADER, *([str(at), *row] for at, row in enumerate(ROWS))]),
        written([[*HEADER, ""], *([*row, ""] for row in ROWS)], delimiter=";"),
    ],
)
def test_a_column_without_a_heading_is_left_out_with_a_word(tmp_path: Path, content: str) -> None:
    log = read(tmp_path, content)
    check(log)
    (use,) = [use for use in uses_of(log).values() if use.field is None]
    assert use.column in ("#1", "#9", "Unnamed: 0")
    assert "no heading" in use.why


def test_a_column_without_a_heading_is_called_by_its_place(tmp_path: Path) -> None:
    content = written([["", *HEADER[1:]], *ROWS])
    check(read(tmp_path, content, mapping={"prediction_id": "#1"}))


@pytest.mark.parametrize(
    ("header", "drop"),
    [
        (["age"], ("age#2",)),
        (["age"], ("age#1",)),
        ([" age"], ("age#2",)),
        (["age", "age"], ("age#2", "age#3")),
        (["city", "age"], ("age#2", "city#2")),
    ],
)
def test_two_columns_of_one_name_are_refused_until_one_is_left_out(
    tmp_path: Path, header: list[str], drop: tuple[str, ...]
) -> None:
    extra = [[row[HEADER.index(name.strip())] for name in header] for row in ROWS]
    content = written([[*HEADER, *header], *map(list.__add__, ROWS, extra)])
    message = "columns are called '(age|city)' .*leave one out with --drop '(age|city)#[23]'"
    with pytest.raises(LogError, match=message):
        read(tmp_path, content)
    with pytest.raises(LogError, match=r"columns are called|say which one is meant"):
        read(tmp_path, content, mapping={"features.age": "age"})
    check(read(tmp_path, content, drop=drop))


def test_columns_of_one_name_can_be_features_of_other_names(tmp_path: Path) -> None:
    content = written([[*HEADER, "age"], *([*row, row[4]] for row in ROWS)])
    log = read(tmp_path, content, mapping={"features.again": "age#2"})
    assert predictions_of(log)[0]["features"] == {"age": 27.5, "city": "Łódź", "again": 27.5}


REFUSED: list[tuple[bytes, str]] = [
    (b"", "is empty; a header with the names of the columns is needed"),
    (b"\n \n", "is empty; a header"),
    (b"\xef\xbb\xbf", "is empty; a header"),
    (packed(b""), "is empty; a header"),
    (
        PLAIN.replace("Łódź", "München").encode("latin-1"),
        "not UTF-8 .byte 0xfc.; .*iconv -f WINDOWS-1252 -t UTF-8 .*table.csv > .*table-utf8.csv",
    ),
    (PLAIN.encode("utf-16-le"), "as UTF-16 without a mark .* iconv -f UTF-16LE -t UTF-8"),
    (PLAIN.encode("utf-16-be"), "as UTF-16 without a mark .* iconv -f UTF-16BE -t UTF-8"),
    (PLAIN.encode("utf-16")[:-1], "is no UTF-16.*damaged or cut off"),
    (
        PLAIN.encode() + b"d,2026-01-05T03:00:00Z,0.5,1\n",
        r"row 3 \(line 5\) has 4 values, the "
        r"header has 8; .* sed 5d ",
    ),
    (PLAIN.encode() + b"d,2026-01-05T03:00:00Z,0.5,1,2,3,m,1,9,9\n", r"row 3 \(line 5\) has 10 "),
    (
        b"# exported\n" + PLAIN.encode(),
        r"row 0 \(line 2\) has 8 values, the header has one; "
        r"if line 1 is no header, take it out: sed 1d",
    ),
    (
        PLAIN.encode() + b'd,2026-01-05T03:00:00Z,0.5,1,2,"x,m,1\ne,2026,1,1,1,1,m,1\n',
        r"row 3 \(line 5\) is no CSV: a quote \(\"\) opens in it, or in a later row, and is never",
    ),
    (
        PLAIN.encode() + b'd,2026-01-05T03:00:00Z,0.5,1,2,"x"y,m,1\n',
        r"row 3 \(line 5\) is no CSV: a quote .* is not doubled; write \"\" for it",
    ),
    (PLAIN.encode() + b'd,2026-01-05T03:00:00Z,0.5,1,2,"a \\"b\\"",m,1\n', "is not doubled"),
    (b"PK\x03\x04" + bytes(40), "a zip archive or an Excel workbook.*save the sheet as CSV"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Excel workbook"),
    (b"BZh91AY&SY", "compressed by bzip2, .*bunzip2 --keep .*table.csv"),
    (b"\xfd7zXZ\x00\x00", "compressed by xz, .*unxz --keep"),
    (b"ARROW1\0\0", "an Arrow file.*write it as Parquet"),
    (b"Obj\x01\x02", "an Avro file"),
    (packed(PLAIN.encode())[:-12], "its gzip data are damaged or cut off"),
    (packed(PLAIN.encode())[:40] + b"junk" * 20, "its gzip data are damaged"),
    (b'{"prediction_id": "a"}\n', "holds JSON, not CSV; name it predictions.jsonl"),
    (b"<html><table>", "holds HTML or XML"),
    (b"a\n1\n", r"no column for model_name; .* \(columns: a\)"),
    (
        PLAIN.partition("\n")[2].encode(),
        "no column for .*'2026-01-05T00:00:00Z' is a time: if the first line has values, put one "
        "with the names of the columns in front",
    ),
]


@pytest.mark.parametrize(("content", "message"), REFUSED)
def test_a_file_that_cannot_be_read_is_refused_with_the_cause_and_a_way_out(
    tmp_path: Path, content: bytes, message: str
) -> None:
    with pytest.raises(LogError, match=message):
        read(tmp_path, content)
    assert not (tmp_path / "log").exists()


def test_cut_off_zstd_is_refused(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    data = pyarrow.Codec("zstd").compress(PLAIN.encode(), asbytes=True)
    with pytest.raises(LogError, match="its zstd data are damaged or cut off"):
        read(tmp_path, data[:-6], "table.csv.zst")


def test_compressed_parquet_is_refused_with_the_command_that_unpacks_it(tmp_path: Path) -> None:
    with pytest.raises(LogError, match=r"unpack it: gzip -dc .*/table.parquet"):
        read(tmp_path, packed(b"PAR1" + bytes(20)), "table.parquet.gz")


@pytest.mark.parametrize(
    ("content", "pattern"),
    [
        (PLAIN.replace("Łódź", "München").encode("cp1252"), r"convert it: (.*)$"),
        (PLAIN.encode("utf-16-le"), r"convert it: (.*)$"),
        (PLAIN.encode() + b"d,2026\n", r"take the row out: (sed \d+d \S+)"),
        (b"# exported\n" + PLAIN.encode(), r"take it out: (sed \d+d \S+)"),
    ],
)
def test_the_way_out_of_a_message_works(tmp_path: Path, content: bytes, pattern: str) -> None:
    with pytest.raises(LogError) as refused:
        read(tmp_path, content)
    found = re.search(pattern, str(refused.value), re.MULTILINE)
    assert found is not None
    command = found[1]
    if shutil.which(command.split()[0]) is None:
        pytest.skip(f"{command.split()[0]} is not installed")
    target = command.rpartition("> ")[2] if ">" in command else str(tmp_path / "mended.csv")
    if ">" not in command:
        command += f" > {target}"
    subprocess.run(["sh", "-c", command], check=True)
    convert(Path(target), tmp_path / "log")
    assert [row["prediction_id"] for row in predictions_of(tmp_path / "log")] == ["a", "b", "c"]


def test_a_fault_far_behind_the_head_names_its_line(tmp_path: Path) -> None:
    row = ",".join(["a", "2026-01-05T00:00:00Z", "0.5", "1", "3", '"x\ny"', "m", "1"]) + "\n"
    content = ",".join(HEADER) + "\n" + row * 20_000
    with pytest.raises(LogError, match=r"row 20000 \(line 40002\) has 2 values"):
        read(tmp_path, content + "z,1\n")
    with pytest.raises(LogError, match=r"something after line \d+ is not UTF-8"):
        read(tmp_path, content.encode() + row.encode().replace(b"x", b"\xfc"))
    check_count = read(tmp_path, content)
    assert len(predictions_of(check_count)) == 20_000


def test_what_is_unusual_about_a_table_is_noted(tmp_path: Path) -> None:
    log = read(tmp_path, "sep=;\n" + written([HEADER, *ROWS], delimiter=";") + ";;;;;;;\n")
    assert notes_of(log) == [
        'table.csv was read as separated by semicolon (see "Tables" in docs/inputs.md)',
        'table.csv: 1 rows without any value were left out (see "Tables" in docs/inputs.md)',
    ]
