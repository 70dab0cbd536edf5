"""A task refuses settings that its counts do not fit, and takes over the others."""

from __future__ import annotations

import pytest

from driftline.agents.kafka.changelog.state_format import StateFormatError
from driftline.agents.kafka.stages.recorded_settings import RecordedSettings
from driftline.agents.state.dict_state import MemoryState
from driftline.schemas.config import parse_config
from driftline.schemas.setting_changes import KAFKA, MODEL, REDIS, RUN
from tests.setting_values import CHANGES, document

KEY = b"k"
EFFECTS = {
    f"{table}.{key}": effect
    for table, effects in (
        ("run", RUN),
        ("models.churn", MODEL),
        ("kafka", KAFKA),
        ("redis", REDIS),
    )
    for key, effect in effects.items()
}
OTHERS = [path for path, effect in EFFECTS.items() if effect not in ("refused", "decides")]


def counted(toml: str, *models: str) -> MemoryState:
    """State of a task that counted models."""
    state = MemoryState()
    RecordedSettings(parse_config(toml), state, KEY).note(models)
    return state


@pytest.mark.parametrize("path", [path for path in EFFECTS if EFFECTS[path] == "refused"])
def test_a_setting_that_counts_depend_on_is_refused_with_both_values(path: str) -> None:
    state = counted(document(), "churn")
    with pytest.raises(StateFormatError) as refused:
        RecordedSettings(parse_config(document(CHANGES[path])), state, KEY)
    message = str(refused.value)
    assert message.startswith("the state was counted with other settings: ")
    assert f"{path} was " in message
    assert "Restore them, or give the program another kafka.app" in message
    assert not RecordedSettings(parse_config(document()), state, KEY).is_new


@pytest.mark.parametrize("path", [path for path in EFFECTS if EFFECTS[path] == "decides"])
def test_rules_tuner_and_policy_are_taken_over_for_each_counted_model(path: str) -> None:
    state = counted(document(), "fraud", "churn")
    changed = RecordedSettings(parse_config(document(CHANGES[path])), state, KEY)
    key = path.rpartition(".")[2]
    ((model, (before, now)),) = changed.decisions.items()
    assert model == "churn"
    assert [name for name in now if before[name] != now[name]] == [key]
    assert changed.is_due
    changed.note([])
    assert not RecordedSettings(parse_config(document(CHANGES[path])), state, KEY).is_new


@pytest.mark.parametrize("path", OTHERS)
def test_other_settings_are_taken_over_at_the_start(path: str) -> None:
    state = counted(document(), "churn")
    changed = RecordedSettings(parse_config(document(CHANGES[path])), state, KEY)
    assert changed.decisions == {}
    # Of [kafka] only the numbers of partitions are recorded.
    in_run = path.startswith("run.")
    assert [change.path for change in changed.changes] == ([path] if in_run else [])
    assert changed.is_due == in_run


def test_many_refused_settings_are_cut_short() -> None:
    state = counted("", "churn")
    other = (
        '[defaults]\nwindows = ["2h"]\nmaturity = ["2h"]\nthreshold = 0.1\nlast_n = [5]\n'
        'positive_label = "a"\ncorrection_horizon = "1d"\nsince_deployment = false'
    )
    with pytest.raises(StateFormatError, match=r"defaults\.windows was .*; and 3 more\. Restore"):
        RecordedSettings(parse_config(other), state, KEY)


def test_a_model_is_bound_once_it_is_counted() -> None:
    state = counted("", "churn")
    added = '[models.fraud]\npositive_label = "x"'
    RecordedSettings(parse_config(added), state, KEY).note(["churn", "fraud"])
    with pytest.raises(StateFormatError, match=r'models.fraud.positive_label was "x", is now not'):
        RecordedSettings(parse_config(""), state, KEY)


def test_the_same_settings_in_another_notation_are_the_same() -> None:
    state = counted('[models.churn]\nmaturity = ["60m", "1d"]', "churn")
    same = RecordedSettings(
        parse_config('[models.churn]\nmaturity = ["1h", "24h"]\n[models.x]'), state, KEY
    )
    assert not same.is_new


def test_settings_and_names_are_written_once() -> None:
    state = MemoryState()
    recorded = RecordedSettings(parse_config(""), state, KEY)
    assert (recorded.is_new, recorded.is_due) == (True, False)
    recorded.note(["churn"])
    assert set(state.values) == {KEY + b"settings", KEY + b"models"}
    state.values.clear()
    recorded.note(["churn"])
    assert state.values == {}
