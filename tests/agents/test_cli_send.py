"""Wrong calls of `driftline send`: none of them reaches a broker.

What it sends is `tests/kafka/test_tail.py`.
"""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from driftline.agents.cli.program import driftline

MODEL = ("--model", "churn", "--version", "1")
WRONG = {
    ("prediction", *MODEL): (
        'driftline: predictions@0: none of the fields "prediction", "score" and "scores" has a '
        "value; not sent\n"
    ),
    ("prediction", *MODEL, "--score", "1.7"): "1.7",
    ("prediction", "--model", "churn", "--score", "0.5"): '"model_version"',
    ("prediction", *MODEL, "--score", "0.5", "--time", "noon"): "noon",
    ("prediction", *MODEL, "--score", "0.5", "--time", "2999-01-01T00:00:00Z"): "2999",
    ("prediction", *MODEL, "--feature", "tenure"): "--feature tenure: write NAME=VALUE",
    ("prediction", *MODEL, "--segment", "=a"): "--segment =a: write NAME=VALUE",
    ("prediction", *MODEL, "--score", "high"): "'high' is not a valid float",
    ("label", "--label", "yes"): '"prediction_id"',
    ("label", "--id", "a1"): "label",
}


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_an_event_that_a_worker_would_reject_is_refused(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(driftline, ["send", *words, "--broker", "127.0.0.1:1"])
    assert result.exit_code == 2, result.output
    assert WRONG[words] in result.output
    assert "127.0.0.1" not in result.output
