"""`driftline labels report` and `driftline quality report`, on records that are written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from driftline.schemas.results import WindowFigures
from tests.agents.test_cli_models import HOSTILE
from tests.agents.test_cli_over_time import document, drift, figures, refusal, run, text
from tests.agents.test_cli_status import folder


def labelled(hour: int, no: int, yes: int, **more: Any) -> WindowFigures:
    """A window of an hour with `no` and `yes` rows of each class."""
    fields = {
        "n": no + yes,
        "labels": ["no", "yes"],
        "matrix": [[no, 0], [2, yes - 2]],
        "metrics": {"f1": 0.5, "delay_p50": 3_600_000.0, "delay_p95": 7_200_000.0},
        "counts": {"joined": no + yes, "corrected": 3, "retracted": 1},
    }
    return figures(hour, 0.5, **fields | more)


def arrived(hour: int, counts: dict[str, int], **more: Any) -> WindowFigures:
    fields = {"lane": "arrivals", "maturity": None, "counts": counts, "metrics": {}, "ci": {}}
    return figures(hour, 0.5, **fields | more)


def traffic(hour: int, **more: Any) -> WindowFigures:
    return figures(hour, 0.5, lane="traffic", maturity=None, metrics={}, ci={}, **more)


NO_MODEL = {"model_name": "", "version": ""}


def out(tmp_path: Path, *more: Struct) -> Path:
    return folder(
        tmp_path,
        labelled(0, 600, 300),
        labelled(1, 500, 400, strays={"maybe": 7}),
        labelled(2, 100, 100, final=False),
        labelled(2, 1, 2, provisional=True, maturity="1h"),
        labelled(0, 9, 9, maturity="1h", final=False),
        labelled(0, 9, 9, segment="plan=pro"),
        labelled(0, 9, 9, hours=48),
        arrived(1, {"late_truths": 4, "expired": 5, "late_predictions": 40}),
        arrived(2, {"duplicate_truths": 6, "conflicting_predictions": 8}),
        arrived(1, {"late_truths": 100}, segment="plan=pro"),
        arrived(9, {"late_truths": 100}),
        arrived(1, {"unmatched": 11}, **NO_MODEL),
        traffic(0),
        traffic(1),
        traffic(2),
        *more,
    )


def test_labels_are_counted_by_the_windows_of_the_span(tmp_path: Path) -> None:
    found = document(out(tmp_path), "labels", "report")
    (churn,) = found["models"]
    assert found["unmatched_truths"] == 11
    assert (churn["window"], churn["maturity"]) == ("1h", "2h")
    assert (churn["n_predictions"], churn["n"]) == (3_600, 2_000)
    # Of 1,200 predictions in each window.
    assert churn["never_labelled"] == 300 + (300 - 7)
    assert churn["not_yet_labelled"] == 1_000
    assert (churn["corrected"], churn["retracted"]) == (9, 3)
    assert (churn["late_truths"], churn["duplicate_truths"]) == (4, 6)
    assert (churn["conflicting_predictions"], churn["strays"]) == (8, {"maybe": 7})
    assert [each["classes"] for each in churn["windows"]] == [
        {"no": 600, "yes": 300},
        {"no": 500, "yes": 400},
        {"no": 100, "yes": 100},
    ]


def test_the_report_of_labels_shows_the_mix_of_classes_over_time(tmp_path: Path) -> None:
    shown = text(out(tmp_path), "labels", "report")
    assert "2,000 of 3,600 predictions have a label at maturity 2h (55.6 %)" in shown
    assert 'label "maybe", which is none of the model\'s 7' in shown
    assert 'share of "no" █▃▁' in shown
    assert "2026-03-01 01:00 900 of 1,200" in shown
    assert "55.6 % 44.4 %" in shown
    assert "2026-03-01 02:00 * 200 of 1,200" in shown
    assert "truths that met no prediction, of any model: 11" in shown


def test_a_shorter_span_has_the_newest_windows(tmp_path: Path) -> None:
    found = document(out(tmp_path), "labels", "report", "--last", "1h")
    assert [each["n"] for each in found["models"]] == [200]
    assert found["models"][0]["late_truths"] == 0
    assert found["unmatched_truths"] == 0


def feature(name: str, method: str, level: str, **details: float) -> Struct:
    reason = "too few rows" if level == "insufficient_data" else ""
    return drift(1, f"feature:{name}", level, method=method, details=details, reason=reason)


def share(name: str, now: float, before: float = 0.0) -> dict[str, float]:
    return {f"{name}_share": now, f"reference_{name}_share": before}


FEATURES = [
    feature("plan", "missing", "severe", **share("missing", 0.3, 0.01)),
    feature("plan", "unseen", "none", **share("unseen", 0.001)),
    feature("age", "kind", "insufficient_data", **share("other_kind", 0.1)),
    feature("fee", "ks", "severe", **share("missing", 0.0)),
    drift(1, "score", "severe"),
]


def test_checks_of_data_fail_pass_or_are_not_possible(tmp_path: Path) -> None:
    place = out(tmp_path, *FEATURES)
    code, output = run(place, "quality", "report", "--json")
    (churn,) = json.loads(output)["models"]
    assert (code, churn["n_predictions"]) == (1, 3_600)
    verdicts = {
        (each["subject"], each["check"]): (each["outcome"], each["what"])
        for each in churn["checks"]
    }
    assert verdicts == {
        # 40 of 3,600 are more than 1 %, 8 are not.
        ("rows", "late_predictions"): ("failed", "40 late predictions (1.11%)"),
        ("rows", "dropped_predictions"): ("passed", "0 predictions too late to count (0.00%)"),
        ("rows", "conflicting_predictions"): (
            "passed",
            "8 predictions that repeat an id with other content (0.22%)",
        ),
        ("plan", "missing"): ("failed", "30.00%, in the reference 1.00% (severe)"),
        ("plan", "unseen"): ("passed", "0.10%, in the reference 0.00% (none)"),
        ("age", "kind"): ("not possible", "too few rows"),
        ("fee", "missing"): ("passed", "0.00%, in the reference 0.00%"),
    }


def test_the_report_of_data_names_what_failed_first(tmp_path: Path) -> None:
    place = out(tmp_path, *FEATURES)
    (place / "predictions.dlq.jsonl").write_bytes(b"{}\n{}\n")
    code, output = run(place, "quality", "report")
    shown = " ".join(output.split())
    assert code == 1
    assert "4 checks passed, 2 failed, 1 not possible" in shown
    assert shown.index("failed plan missing") < shown.index("not possible age kind too few rows")
    assert "passed" not in shown.partition("─")[2]
    assert "rejected rows, of any model: 2 of predictions" in shown
    assert "passed fee missing" in " ".join(run(place, "quality", "report", "--all")[1].split())


def test_good_data_end_with_code_zero(tmp_path: Path) -> None:
    shown = text(folder(tmp_path, traffic(0)), "quality", "report")
    assert "every check was passed" in shown
    assert "rejected rows, of any model: none" in shown


@pytest.mark.parametrize("verb", ["labels", "quality"])
def test_without_data_a_report_says_so(tmp_path: Path, verb: str) -> None:
    shown = text(folder(tmp_path), verb, "report")
    assert shown.startswith("no ")
    assert document(folder(tmp_path / "2"), verb, "report")["models"] == []


@pytest.mark.parametrize("verb", ["labels", "quality"])
def test_a_wrong_call_ends_with_two(tmp_path: Path, verb: str) -> None:
    assert "--last soon: " in refusal(folder(tmp_path), verb, "report", "--last", "soon")
    assert "there is no output folder" in refusal(tmp_path / "none", verb, "report")


def test_hostile_names_are_inert(tmp_path: Path) -> None:
    place = folder(
        tmp_path,
        labelled(0, 6, 3, labels=[HOSTILE, "yes"], strays={HOSTILE: 1}, model_name=HOSTILE),
        traffic(0, model_name=HOSTILE),
        drift(
            0,
            f"feature:{HOSTILE}",
            "severe",
            method="missing",
            model_name=HOSTILE,
            details=share("missing", 0.5),
        ),
    )
    for verb in ("labels", "quality"):
        _, output = run(place, verb, "report")
        assert "script" in output
        assert not {"\x1b", "\u202e"} & set(output)
