"""The maturity ladder of a counted model cannot change."""

from __future__ import annotations

import pytest

from driftline.agents.kafka.changelog.state_format import StateFormatError
from driftline.agents.kafka.stages.maturity_ladders import MaturityLadders
from driftline.agents.state.dict_state import MemoryState
from driftline.schemas.config import parse_config

KEY = b"ladders"


def ladders(state: MemoryState, toml: str = "") -> MaturityLadders:
    return MaturityLadders(parse_config(toml), state, KEY)


@pytest.mark.parametrize(
    ("before", "after", "ladder_text"),
    [
        (
            "",
            '[models.churn]\nmaturity = ["2h"]',
            "1h and 6h and 1d and 3d and 7d and 30d; the configuration now has 2h and 30d",
        ),
        (
            '[models.churn]\nmaturity = ["2h"]',
            "",
            "2h and 30d; the configuration now has 1h and 6h and 1d and 3d and 7d and 30d",
        ),
        (
            "",
            '[models.churn]\nlabel_horizon = "14d"',
            "7d and 30d; the configuration now has 1h and 6h and 1d and 3d and 7d and 14d",
        ),
    ],
)
def test_another_ladder_for_a_counted_model_is_refused_with_both_ladders(
    before: str, after: str, ladder_text: str
) -> None:
    state = MemoryState()
    ladders(state, before).note(["churn", "fraud"])
    with pytest.raises(
        StateFormatError,
        match=(
            f'model "churn" was counted at .*{ladder_text}. Restore its maturity and '
            "label_horizon, or"
        ),
    ):
        ladders(state, after)


def test_the_same_ladder_in_another_notation_is_accepted() -> None:
    state = MemoryState()
    ladders(state, '[models.churn]\nmaturity = ["60m", "1d"]').note(["churn"])
    ladders(state, '[models.churn]\nmaturity = ["1h", "24h"]')


def test_a_new_model_may_have_its_own_ladder() -> None:
    state = MemoryState()
    ladders(state).note(["churn"])
    added = ladders(state, '[models.fraud]\nmaturity = ["2h"]')
    added.note(["churn", "fraud"])
    with pytest.raises(StateFormatError, match='model "fraud" was counted at maturity 2h and 30d'):
        ladders(state)


def test_a_ladder_is_written_once() -> None:
    state = MemoryState()
    held = ladders(state)
    held.note(["churn"])
    written = state.values.pop(KEY)
    held.note(["churn"])
    assert (KEY in state.values, written != b"") == (False, True)
