"""`performance errors`, on records that are written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from driftline.agents.cli.performance_errors import segment_errors
from driftline.schemas.results import WindowFigures, encode
from tests.agents.test_cli_over_time import document, figures, refusal, text


def of_matrix(segment: str, matrix: list[list[int]], **more: Any) -> WindowFigures:
    return figures(0, 0.5, segment=segment, labels=["a", "b", "\x1b[0m"], matrix=matrix, **more)


WHOLE = of_matrix("all", [[500, 40, 10], [30, 300, 0], [0, 20, 100]])


def folder(tmp_path: Path, *records: WindowFigures) -> Path:
    out = tmp_path / "out"
    out.mkdir()
    (out / "run.json").write_text(json.dumps({}), encoding="utf-8")
    (out / "metrics.jsonl").write_bytes(b"".join(encode(each) + b"\n" for each in records))
    return out


def errors(out: Path, *options: str) -> str:
    return " ".join(text(out, "performance", "errors", *options).split())


def test_the_difference_is_that_of_two_proportions() -> None:
    """56 of 70 and 48 of 80: Newcombe (1998), Statistics in Medicine 17, 873-890, method 10."""
    found = segment_errors("s", [[14, 56], [0, 0]], [[14 + 32, 56 + 48], [0, 0]])
    assert (found.n, found.wrong, found.share) == (70, 56, 0.8)
    assert found.difference == pytest.approx(0.2)
    assert found.difference_low == pytest.approx(0.0524, abs=5e-5)
    assert found.difference_high == pytest.approx(0.3339, abs=5e-5)


def test_the_interval_is_that_of_wilson() -> None:
    """81 of 263: Newcombe (1998), Statistics in Medicine 17, 857-872, method 3."""
    found = segment_errors("s", [[182, 81], [0, 0]], [[182, 81], [0, 0]])
    assert (found.low, found.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    # It has all rows: there is nothing to compare it with.
    assert found.difference is None


def test_segments_are_ordered_by_the_lower_end_of_the_interval(tmp_path: Path) -> None:
    """Half of 100 rows are wrong: at least 40 %. Of 1,000 rows 46 % are: at least 43 %."""
    out = folder(
        tmp_path,
        figures(0, 0.5, labels=["a", "b"], matrix=[[2_000, 900], [0, 0]]),
        *(
            figures(0, 0.5, segment=segment, labels=["a", "b"], matrix=[[right, wrong], [0, 0]])
            for segment, right, wrong in (
                ("x=few", 50, 50),
                ("x=many", 540, 460),
                ("x=good", 900, 100),
                ("x=tiny", 0, 99),
            )
        ),
        # Another window, another rung, another version.
        figures(1, 0.5, segment="x=later", labels=["a", "b"], matrix=[[0, 900], [0, 0]]),
        figures(0, 0.5, segment="x=r", maturity="1h", labels=["a", "b"], matrix=[[0, 900], [0, 0]]),
        figures(0, 0.5, segment="x=v", version="2", labels=["a", "b"], matrix=[[0, 900], [0, 0]]),
    )
    (found,) = document(out, "performance", "errors")
    names = [each["segment"] for each in found["segments"]]
    assert names == ["x=many", "x=few", "x=good"]
    assert found["too_small"] == 1
    shown = errors(out)
    assert "900 of 2,900 predictions were wrong (31.0 %)" in shown
    assert "x=many 1,000 460 46.0 % 42.9 % to 49.1 % +22.8 points" in shown
    assert "1 segment has fewer than 100 labelled rows" in shown
    (found,) = document(out, "performance", "errors", "--min-rows", "99", "--top", "1")
    assert [each["segment"] for each in found["segments"]] == ["x=tiny"]


def test_confusions_are_counted_by_pair(tmp_path: Path) -> None:
    out = folder(tmp_path, WHOLE)
    (found,) = document(out, "performance", "errors")
    pairs = [(each["actual"], each["predicted"], each["n"]) for each in found["confusions"]]
    assert pairs == [("a", "b", 40), ("b", "a", 30), ("\x1b[0m", "b", 20), ("a", "\x1b[0m", 10)]
    shown = errors(out, "--top", "3")
    assert "100 of 1,000 predictions were wrong (10.0 %)" in shown
    assert "no segment has 100 labelled rows" in shown
    assert '"a" "b" 40 40.0 % 7.3 %' in shown  # 40 of 550
    assert '"\\u001b[0m" "b" 20 20.0 % 16.7 %' in shown  # 20 of 120
    assert "10.0 % 1.8 %" not in shown


def test_windows_without_errors_or_without_labels_say_so(tmp_path: Path) -> None:
    right = [[5, 0, 0], [0, 5, 0], [0, 0, 5]]
    out = folder(
        tmp_path,
        of_matrix("all", right),
        figures(0, None, version="2", n=0),
    )
    shown = errors(out)
    assert "no prediction was wrong" in shown
    assert "churn 2, 1h from 2026-03-01 00:00, maturity 2h: no labelled row yet" in shown
    assert "no complete window in" in errors(out, "--model", "other")
    assert document(out, "performance", "errors", "--model", "other") == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--window", "3h"), "there is no window 3h; there are 1h"),
        (("--min-rows", "0"), "0 is not in the range"),
        (("--from", "2026-03-09T00:00:00Z"), "no window of 1h starts at 2026-03-09T00:00:00Z"),
    ],
)
def test_wrong_calls_say_what_there_is(
    tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    assert words in refusal(folder(tmp_path, WHOLE), "performance", "errors", *options)
