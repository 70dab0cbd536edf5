"""Drawn tables, and slow and obvious code for what has to become of them.

A draw is a table as its author means it: for each column what it is, and for each row its value or
none. `csv_of` writes it in a drawn dialect; `expected` says by the documented rules what the events
are, without any code of the product.
"""

from __future__ import annotations

import csv
import gzip
import io
import random
from dataclasses import dataclass
from typing import Any

START = 1_767_571_200_000  # 2026-01-05T00:00:00Z
FIELDS = {"prediction_id", "timestamp", "model_name", "model_version", "y_true"}
MISSING = ["", "NaN", "NA", "null", "None", " ", "nan"]
WORDS = ["pro", "free", "Łódź", 'say "hi"', "a,b", "x;y", "two\nlines", "tab\there", " lead", "'q'"]
CODES = ["02139", "94105", "E11.9", "1.10", "1e5x", "007", "10001", "1.1.1"]
LABELS = ["yes", "no", "1.1", "1.10", "007", "1", "0", "true"]


@dataclass
class Drawn:
    """A table of N rows.

    `columns` holds the texts of each column as written, without quotes; `kinds` what its author
    means by it; `meant` the meant values, None where one is missing.
    """

    n: int
    columns: dict[str, list[str]]
    kinds: dict[str, str]
    meant: dict[str, list[Any]]
    decimal: str


def draw(seed: int) -> tuple[Drawn, random.Random]:
    """A table, and the source of the draws that follow."""
    rng = random.Random(seed)
    n = rng.choice([1, 2, 3, 10, 40])
    decimal = rng.choice([".", ".", ","])
    drawn = Drawn(n, {}, {}, {}, decimal)
    ids = rng.sample(range(10**6), n)
    width = rng.choice([0, 8])
    _add(drawn, "prediction_id", "text", [f"{number:0{width}d}" for number in ids])
    _times(drawn, rng)
    _add(drawn, "model_name", "text", [rng.choice(["m", "Modèle 7"])] * n)
    _add(drawn, "model_version", "text", [rng.choice(["1", "1.10", "2026-01"])] * n)
    _numbers(drawn, rng, "score", [rng.choice([0.0, 1.0, rng.random()]) for _ in range(n)], 0.0)
    labels = rng.sample(LABELS, 3)
    _add(drawn, "y_true", "label", [rng.choice([*labels, None]) for _ in range(n)], rng)
    for number in range(rng.randrange(6)):
        name = rng.choice(["age", "Größe", "a b", "x.y", "threshold level"]) + str(number)
        kind = rng.choice(["number", "number", "word", "code", "boolean", "empty", "near"])
        absent = rng.choice([0.0, 0.3])
        if kind == "number":
            draws = [
                rng.choice([rng.randrange(-50, 9_999), rng.gauss(0, 1e3), rng.random() / 1e9])
                for _ in range(n)
            ]
            _numbers(drawn, rng, name, draws, absent)
        elif kind == "near":  # numbers but for one value
            texts = [str(rng.randrange(1, 99_999)) for _ in range(n)]
            texts[rng.randrange(n)] = rng.choice(["02139", "x", "1.2.3", "0x1"])
            _add(drawn, name, "text", texts)
        elif kind == "boolean":
            spelled = rng.choice([("true", "false"), ("True", "False"), ("TRUE", "false")])
            _some(drawn, rng, name, "boolean", [rng.choice(spelled) for _ in range(n)], absent)
        elif kind == "empty":
            _add(drawn, name, "text", [None] * n, rng)
        else:
            pool = WORDS if kind == "word" else CODES
            _some(drawn, rng, name, "text", [rng.choice(pool) for _ in range(n)], absent)
    return drawn, rng


def _add(
    drawn: Drawn,
    name: str,
    kind: str,
    texts: list[str | None],
    rng: random.Random | None = None,
) -> None:
    drawn.kinds[name] = kind
    drawn.meant[name] = texts
    drawn.columns[name] = [
        (rng.choice(MISSING) if rng else "") if text is None else text for text in texts
    ]


def _some(
    drawn: Drawn, rng: random.Random, name: str, kind: str, texts: list[str], absent: float
) -> None:
    _add(drawn, name, kind, [None if rng.random() < absent else text for text in texts], rng)


def _numbers(
    drawn: Drawn, rng: random.Random, name: str, draws: list[float], absent: float
) -> None:
    _some(drawn, rng, name, "number", [_spelled(rng, value) for value in draws], absent)
    drawn.columns[name] = [
        text if meant is None else text.replace(".", drawn.decimal)
        for text, meant in zip(drawn.columns[name], drawn.meant[name], strict=True)
    ]


def _spelled(rng: random.Random, value: float) -> str:
    return rng.choice([repr(value), f"{value:.4f}", f"{value:g}", repr(value)])


def _times(drawn: Drawn, rng: random.Random) -> None:
    form = rng.randrange(5)
    texts, times = [], []
    for row in range(drawn.n):
        ms = START + row * 60_000 + (row * 7) % 1_000
        hour, rest = divmod((ms - START), 3_600_000)
        minute, rest = divmod(rest, 60_000)
        second, milli = divmod(rest, 1_000)
        clock = f"{hour:02d}:{minute:02d}:{second:02d}.{milli:03d}"
        texts.append(
            [
                f"2026-01-05T{clock}Z",
                f"2026-01-05 {clock}",
                f"2026-01-05T{clock}999+00:00",
                f"2026-01-05 {hour + 2:02d}{clock[2:]}+02:00",
                str(ms),
            ][form]
        )
        times.append(ms)
    _add(drawn, "timestamp", "time", list(texts))
    drawn.meant["timestamp"] = times


def csv_of(drawn: Drawn, rng: random.Random) -> tuple[bytes, list[str]]:
    """The file, and the columns that have no heading."""
    separator = rng.choice([",", ";", "\t", "|"])
    blank_lead = [" ", ""] if rng.random() < 0.5 else ["", " "]
    header = [rng.choice(blank_lead) + name + rng.choice(blank_lead) for name in drawn.columns]
    rows = [list(row) for row in zip(*drawn.columns.values(), strict=True)]
    unnamed = []
    if rng.random() < 0.3:
        header.insert(0, rng.choice(["", "Unnamed: 0"]))
        rows = [[str(number), *row] for number, row in enumerate(rows)]
        unnamed = [header[0] or "#1"]
    # Without quotes around all values, a header in single quotes would look like another dialect.
    quoting = rng.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
    quote = rng.choice(['"', '"', "'"]) if quoting == csv.QUOTE_ALL else '"'
    text = io.StringIO(newline="")
    if rng.random() < 0.2:
        text.write(f"sep={separator}\n")
    csv.writer(
        text,
        delimiter=separator,
        quotechar=quote,
        quoting=quoting,
        lineterminator=rng.choice(["\n", "\r\n"]),
    ).writerows([header, *rows])
    written = text.getvalue() + rng.choice(["", "\n", "\r\n"])
    data = written.encode(rng.choice(["utf-8", "utf-8", "utf-8-sig", "utf-16"]))
    return (gzip.compress(data) if rng.random() < 0.2 else data), unnamed


def expected(drawn: Drawn) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
    """Predictions in the order of the rows, and truths by id."""
    kinds = {name: _kind_of(drawn, name) for name in drawn.columns}
    predictions: list[dict[str, Any]] = []
    truths: dict[str, dict[str, Any]] = {}
    for row in range(drawn.n):
        event: dict[str, Any] = {}
        features: dict[str, Any] = {}
        for name in drawn.columns:
            meant = drawn.meant[name][row]
            if name == "timestamp" or name in ("prediction_id", "model_name", "model_version"):
                event[name] = meant
            elif name == "score":
                if meant is not None:
                    event["score"] = float(meant)
            elif name != "y_true":
                written = meant and drawn.columns[name][row]
                kind = kinds[name]
                features[name] = written if kind == "as written" else _value(meant, kind)
        if features:
            event["features"] = features
        predictions.append(event)
        label = drawn.meant["y_true"][row]
        if label is not None:
            truths[event["prediction_id"]] = {
                "prediction_id": event["prediction_id"],
                "label": label,
                "timestamp": event["timestamp"],
            }
    return predictions, truths


def _kind_of(drawn: Drawn, name: str) -> str:
    """Kind of a column by the documented rules, from its meant texts."""
    texts = [text for text in drawn.meant[name] if text is not None]
    if drawn.kinds[name] == "text":
        if texts and all(_is_number(text) for text in texts):
            return "number"
        if texts and all(text.strip().lower() in ("true", "false") for text in texts):
            return "boolean"
    if drawn.kinds[name] == "number" and _is_unclear(drawn, name):
        return "as written"
    return drawn.kinds[name]


def _is_unclear(drawn: Drawn, name: str) -> bool:
    """Whether the commas of a column could be those of thousands, and no other column of numbers
    tells: one does if it has a comma that cannot be, and none has a point.
    """
    if drawn.decimal == "." or not _commas(drawn, name) or _is_clear(drawn, name):
        return False
    others = [other for other in drawn.columns if drawn.kinds[other] in ("number", "text")]
    others = [other for other in others if other not in FIELDS]
    return not any(_is_clear(drawn, other) for other in [*others, "score"]) or any(
        _has_points(drawn, other) for other in others
    )


def _commas(drawn: Drawn, name: str) -> list[str]:
    if drawn.kinds[name] != "number":
        return []
    return [text.split("e")[0] for text in drawn.columns[name] if "," in text]


def _is_clear(drawn: Drawn, name: str) -> bool:
    for text in _commas(drawn, name):
        whole, decimals = text.lstrip("-").split(",")
        if whole == "0" or len(whole) > 3 or len(decimals) != 3:
            return True
    return False


def _has_points(drawn: Drawn, name: str) -> bool:
    """Whether a column is written as numbers, some with a point."""
    texts = [text for text in drawn.columns[name] if text not in MISSING]
    return all(map(_is_number, texts)) and any("." in text for text in texts)


def _is_number(text: str) -> bool:
    digits = text.strip().lstrip("+-")
    try:
        float(text)
    except ValueError:
        return False
    return not (len(digits) > 1 and digits[0] == "0" and digits[1].isdigit())


def _value(meant: str | None, kind: str) -> Any:
    if meant is None:
        return None
    if kind == "number":
        return float(meant)
    if kind == "boolean":
        return meant.lower() == "true"
    return meant
