"""Messages about inputs name sections of `docs/inputs.md` that are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import get_args

import pytest

from driftline.agents.input_rules import PAGE, Section
from driftline.agents.recorded.tables.table_error import TableError
from driftline.agents.uncounted_rows import JOIN_REASONS, KEY_REASONS, Uncounted
from driftline.schemas.rejects import Reason
from driftline.streams.join.uncounted_rows import Reason as JoinReason

ROOT = Path(__file__).parents[2]
PACKAGES = ("agents", "schemas", "streams")
HEADINGS = re.findall(r"^##+ (.+)$", (ROOT / PAGE).read_text(), re.MULTILINE)
SOURCES = {
    path: ast.parse(path.read_text())
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}
FAULTS_ON_THE_WAY = ("checksum", "lost")
REASONS = {
    *get_args(Reason),
    *get_args(JoinReason),
    *KEY_REASONS,
    *(reason for reasons in JOIN_REASONS.values() for reason in reasons),
    "left_out_feature",
    "unwatched_feature",
    "scores_not_one",
}


def test_every_section_is_a_heading_of_the_page_and_a_message_names_it() -> None:
    sections = set(get_args(Section))
    assert sections <= set(HEADINGS)
    of_reasons = {_row(reason).section for reason in REASONS}
    in_calls = {name for tree in SOURCES.values() for name in _named_in_calls(tree)}
    assert of_reasons | in_calls == sections | {None}


@pytest.mark.parametrize("reason", sorted(REASONS - {*FAULTS_ON_THE_WAY}))
def test_what_is_said_about_a_row_that_does_not_count_names_its_section(reason: str) -> None:
    row = _row(reason)
    assert row.remedy.endswith(f' (see "{row.section}" in docs/inputs.md)')


@pytest.mark.parametrize("reason", FAULTS_ON_THE_WAY)
def test_a_fault_of_the_broker_is_no_matter_of_these_rules(reason: str) -> None:
    assert _row(reason).section is None
    assert PAGE not in _row(reason).remedy


def test_an_error_of_a_table_names_its_section() -> None:
    # In a line of its own: many of these messages end with a command.
    assert str(TableError("t.csv: is empty")) == 't.csv: is empty\n(see "Tables" in docs/inputs.md)'


def test_the_page_is_named_in_one_form_only() -> None:
    # Only `input_rules.py` makes the words; a text of another file would be a second form.
    naming = {path for path, tree in SOURCES.items() if any(PAGE in text for text in _texts(tree))}
    assert naming == {ROOT / "agents" / "input_rules.py"}


def test_readme_links_the_page_by_its_title() -> None:
    title = (ROOT / PAGE).read_text().splitlines()[0].removeprefix("# ")
    assert title == "What Driftline makes of your data"
    assert f"[{title}]({PAGE})" in (ROOT / "README.md").read_text()


def _row(reason: str) -> Uncounted:
    return Uncounted(topic="predictions", reason=reason, rows=1, example="predictions@0")


def _named_in_calls(tree: ast.Module) -> list[str]:
    """Sections that calls of `see` and `with_rules` name."""
    return [
        text.value
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id in ("see", "with_rules")
        for text in call.args[call.func.id == "with_rules" :]
        if isinstance(text, ast.Constant)
    ]


def _texts(tree: ast.Module) -> list[str]:
    """Texts of a file but its docstrings."""
    docstrings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docstrings
    ]
