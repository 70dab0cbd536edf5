"""Invalid events of each kind: a clear reason in the dead-letter file, no watermark moves, no other
row is lost.
"""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tests.simulation import runs

GOOD = {
    "prediction_id": "good",
    "model_name": "m",
    "model_version": "1",
    "timestamp": "2024-03-01T10:00:00Z",
    "prediction": "yes",
}
# Would close every window of March 1 if it were valid.
AHEAD = {**GOOD, "prediction_id": "bad", "timestamp": "2024-03-03T00:00:00Z", "score": 0.5}
TOML = """
[defaults]
windows = ["1h"]
maturity = ["1h"]
label_horizon = "1d"
correction_horizon = "1h"
park = "1d"
"""


def changed(**fields: Any) -> bytes:
    return json.dumps({**AHEAD, **fields}).encode()


def without(name: str) -> bytes:
    return json.dumps({key: value for key, value in AHEAD.items() if key != name}).encode()


WRONG = {
    "not JSON": (b"what is this", "not_json", ""),
    "cut off": (changed()[:-2], "not_json", ""),
    "no object": (b"[1, 2]", "wrong_type", ""),
    "missing field": (without("model_name"), "missing_field", "model_name"),
    "wrong type": (changed(model_version=1.4), "wrong_type", "model_version"),
    "NaN": (changed(score=float("nan")), "not_finite", "score"),
    "score above 1": (changed(score=1.7), "out_of_range", "1.7"),
    "30 years ahead": (changed(timestamp="2054-03-01T00:00:00Z"), "too_far_ahead", "2054"),
    "no time": (changed(timestamp="tomorrow"), "wrong_type", "timestamp"),
    "2 MiB long": (changed(note="x" * (2 << 20)), "too_large", ""),
    "Latin-1": (
        json.dumps({**AHEAD, "note": "é"}, ensure_ascii=False).encode("latin-1"),
        "encoding",
        "",
    ),
    "UTF-16": (json.dumps(AHEAD).encode("utf-16-le"), "encoding", ""),
    "blanks": (b" \t", "empty", ""),
    "Schema Registry": (b"\0\0\0\0\x11\x02a\x0echurn\xff", "schema_registry", "schema 17"),
    "Avro": (b"Obj\x01\x04\x14avro.codec\x08null\xff", "avro", "container file"),
    "gzip": (gzip.compress(b"{}", mtime=0), "compressed", "gzip"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_invalid_event_becomes_a_dead_letter_with_bytes_and_reason_and_changes_no_figure(
    tmp_path: Path, kind: str
) -> None:
    raw, reason, named = WRONG[kind]
    # One minute behind the good event, so within its grace; late if the invalid event between them
    # moved the watermark.
    other = {**GOOD, "prediction_id": "other", "timestamp": "2024-03-01T09:59:00Z"}
    truths = [
        {"prediction_id": name, "label": "yes", "timestamp": "2024-03-01T10:30:00Z"}
        for name in ("good", "other")
    ]
    out = replayed(tmp_path, [json.dumps(GOOD).encode(), raw, json.dumps(other).encode()], truths)
    letters = [
        json.loads(line)
        for line in (out / "predictions.dlq.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert [
        (letter["dlq_topic"], letter["dlq_offset"], letter["dlq_reason"]) for letter in letters
    ] == [("predictions", 1, reason)]
    assert "predictions" in letters[0]["dlq_error"]
    assert named in letters[0]["dlq_error"]
    kept = (
        base64.b64decode(letters[0]["value_base64"])
        if "value_base64" in letters[0]
        else letters[0]["value"].encode()
    )
    assert kept == raw
    assert figures(out) == figures(
        replayed(
            tmp_path / "without", [json.dumps(GOOD).encode(), json.dumps(other).encode()], truths
        )
    )
    traffic = [figure["n_predictions"] for figure in figures(out) if figure["lane"] == "traffic"]
    assert sum(traffic) == 2


def replayed(folder: Path, predictions: list[bytes], truths: list[dict[str, Any]]) -> Path:
    log = folder / "log"
    log.mkdir(parents=True)
    (log / "predictions.jsonl").write_bytes(b"".join(line + b"\n" for line in predictions))
    (log / "ground-truth.jsonl").write_text(
        "".join(json.dumps(truth) + "\n" for truth in truths), encoding="utf-8"
    )
    (log / "driftline.toml").write_text(TOML, encoding="utf-8")
    runs.run(log, folder / "out", partitions=1, batch=10_000)
    return folder / "out"


def figures(out: Path) -> list[dict[str, Any]]:
    records = [
        json.loads(line)
        for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    return [figure for figure in records if figure["kind"] == "tumbling"]
