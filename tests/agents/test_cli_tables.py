"""Tables at 80 and 100 columns: no line is longer, no word is broken, no value is missing."""

from __future__ import annotations

import re
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from driftline.agents.cli.program import driftline
from driftline.schemas.results import Alert, RegistryEntry, RegistryEvent, WindowFigures, encode
from driftline.schemas.times import EpochMs

MODEL, VERSION = "customer-churn-emea", "2026.11.1-rc3"
REFERENCE = "customer-churn-emea-2026.11.1-rc3-first-28-days"
SEGMENT = "plan=professional-yearly"
DAY = "2026-01-0{}T00:00:00Z"
METRICS = ("accuracy", "precision", "recall", "f1", "roc_auc")
REASON = "fewer than 30 labelled rows in this window"
SERIES = {"model_name": MODEL, "model_version": VERSION}
ALERT = SERIES | {
    "fingerprint": "ac49ad7f3ffe32d7",
    "alert_id": "ac49ad7f3ffe32d7-1767657600000",
    "group_id": "ac49ad7f3ffe32d7-1767657600000",
    "segment": SEGMENT,
    "rule": "precision_below_the_agreed_level",
    "severity": "critical",
    "starts_at_ms": EpochMs.of(DAY.format(6)),
    "metric": "precision",
    "window": "7d/1d",
    "maturity": "1d",
    "threshold": 0.7,
    "baseline": 0.75,
    "comparator": "<",
}

# (verb, columns left out at 80, columns left out at 100)
VERBS = [
    (
        "models list",
        ["Reference", "Revision", "Up to", "Threshold", "Not judged"],
        ["Reference", "Revision", "Up to"],
    ),
    ("performance summary", [], []),
    ("performance summary --segment plan=professional-yearly", [], []),
    ("performance summary --maturity all --metric f1", [], []),
    ("alerts list --all", [], []),
    ("alerts show ac49ad7f3ffe32d7-1767657600000", [], []),
    ("registry history", [], []),
    (
        "registry as-of 2026-01-09T00:00:00Z",
        ["Reference", "Registered", "Revision"],
        ["Reference"],
    ),
    ("doctor", [], []),
    ("topics list", ["Id", "Replicas"], ["Id"]),
]
# `performance summary` prints a sentence per window in place of these headings.
HEADINGS_OF_FIGURES = {"Model", "Window", "From", "Maturity", "Labelled"}


def figures(segment: str, **more) -> WindowFigures:
    fields = {
        "segment": segment,
        "lane": "decisions",
        "window": "7d/1d",
        "kind": "sliding",
        "window_start_ms": EpochMs.of(DAY.format(4)),
        "window_end_ms": EpochMs.of(DAY.format(5)),
        "maturity": "1d",
        "final": False,
        "provisional": False,
        "revision": 1,
        "registry_revision": 1,
        "n_predictions": 1_234_567,
        "n": 987_654,
        "label_coverage": 0.8,
        "completeness": None,
        "metrics": dict.fromkeys(METRICS, 0.81234),
        "ci": dict.fromkeys(METRICS, (0.78111, 0.84222)),
        "complete_at_ms": EpochMs.of(DAY.format(6)),
    }
    return WindowFigures(**SERIES | fields | more)


@pytest.fixture
def out(tmp_path, monkeypatch):
    """An output folder with long values, and a broker that lists topics."""
    (tmp_path / "run.json").write_text('{"config": "abc"}')
    facts = {"stage": "production", "threshold": 0.5, "reference_id": REFERENCE}
    write(
        tmp_path,
        "metrics",
        figures("all"),
        figures("all", lane="traffic", kind="tumbling", window="1d", maturity=None),
        figures(
            SEGMENT,
            metrics=dict.fromkeys(METRICS),
            ci={},
            null_reasons=dict.fromkeys(METRICS, REASON),
        ),
    )
    fell = "Precision fell to 0.612 [0.588, 0.636] over the 7 days to 2026-01-05."
    rose = "Precision is back at 0.733 [0.71, 0.756] over the 7 days to 2026-01-07."
    resolved = {
        "status": "resolved",
        "change": "resolved",
        "at_ms": EpochMs.of(DAY.format(8)),
        "ends_at_ms": EpochMs.of(DAY.format(8)),
    }
    write(
        tmp_path,
        "alerts",
        Alert(
            **ALERT,
            status="firing",
            change="firing",
            at_ms=EpochMs.of(DAY.format(6)),
            summary=fell,
            value=0.612,
            ci=(0.588, 0.636),
        ),
        Alert(**ALERT, **resolved, summary=rose, value=0.733, ci=(0.71, 0.756), n=123_456),
    )
    event = {"command_id": "c1", "at": DAY.format(1), "requested_by": "ada.lovelace@example.org"}
    write(
        tmp_path,
        "registry-events",
        RegistryEvent(**SERIES, **event, event="registered", revision=1, after={VERSION: facts}),
        RegistryEvent(
            **SERIES,
            **event,
            event="rejected",
            revision=1,
            error="revision 0 was expected, it is 1",
        ),
    )
    write(tmp_path, "registry", RegistryEntry(**SERIES, **facts, revision=1))

    @contextmanager
    def connected(*_):
        yield SimpleNamespace(name=lambda name: f"production.{name}", servers="broker:9092")

    config = {"cleanup.policy": "compact,delete", "retention.ms": "2592000000"}
    topic = SimpleNamespace(
        name="registry-commands",
        partitions=8,
        replicas=3,
        config=config,
        topic_id="qzqK7Qm2QxK6cJ7Yw1iBcA",
    )
    pytest.importorskip("confluent_kafka")
    monkeypatch.setattr("driftline.agents.cli.topics.open_connection", connected)
    monkeypatch.setattr(
        "driftline.agents.kafka.broker.topics.describe", lambda _: {topic.name: topic}
    )
    return tmp_path


def write(folder, topic, *records):
    with (folder / f"{topic}.jsonl").open("ab") as file:
        file.writelines(encode(record) + b"\n" for record in records)


def printed(out, verb: str, width: int, monkeypatch) -> str:
    monkeypatch.setenv("COLUMNS", str(width))
    place = [] if verb.startswith("topics") else ["--out", str(out)]
    result = CliRunner().invoke(driftline, [*verb.split(), *place])
    assert result.exit_code in (0, 1), result.output
    return result.stdout


def values(text: str) -> set[str]:
    """The words of a table or of paragraphs, without punctuation."""
    return {word.strip(":,()[]─") for word in text.split()} - {"-", ""}


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0].replace(" ", "-"))
def test_table_fits_the_width_and_loses_only_the_columns_that_it_names(
    out, monkeypatch, verb, width
):
    arguments, *by_width = verb
    left_out = by_width[0 if width == 80 else 1]
    narrow = printed(out, arguments, width, monkeypatch)
    assert max(map(len, narrow.splitlines())) <= width, narrow
    named = re.search(r"^left out: (.*); a wider terminal", narrow, re.MULTILINE)
    assert (named[1].split(", ") if named else []) == left_out

    wide = printed(out, arguments, 1_000, monkeypatch)
    lost = values(wide) - values(narrow)
    if left_out:
        lost -= values_of_columns(wide, left_out)
    assert lost <= HEADINGS_OF_FIGURES


def values_of_columns(table: str, names: list[str]) -> set[str]:
    """Headings and cells of a table with one row, whose cells are two spaces apart or more."""
    header, row = (
        re.split(r" {2,}", line.strip())
        for line in table.splitlines()
        if line.strip(" ─") and not line.startswith("left out")
    )
    cells = dict(zip(header, row, strict=True))
    return values(" ".join(f"{name} {cells[name]}" for name in names))


def test_output_to_a_pipe_has_one_line_per_row(out, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    result = CliRunner().invoke(driftline, ["alerts", "list", "--all", "--out", str(out)])
    (line,) = [line for line in result.stdout.splitlines() if ALERT["alert_id"] in line]
    assert "fell to 0.612" in line
    assert "back at 0.733" in line
