"""docs/api.md has the routes, parameters and answers of the code."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from driftline.agents.serve.field_texts import field_texts, summary
from driftline.agents.serve.reference import rewritten
from driftline.agents.serve.route_table import ROUTES
from tests.agents.serve.serving import Api

DOCUMENT = Path(__file__).resolve().parents[3] / "docs/api.md"


def test_the_reference_is_what_the_types_say() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert text == rewritten(text), "run: python -m driftline.agents.serve.reference docs/api.md"
    for route in ROUTES:
        assert f"\n### `/api{route.path}`\n" in text


def test_all_parameters_are_explained() -> None:
    for route in ROUTES:
        assert summary(route.answer)
        assert field_texts(route.query).keys() >= set(route.query.__struct_fields__)
        assert {field.name for field in msgspec.structs.fields(route.query)} >= {"format"}


def test_each_type_that_the_reference_names_has_a_heading() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    headings = set(re.findall(r"^### `(\w+)`$", text, re.MULTILINE))
    rows = re.findall(r"^\| `[\w]+` \| ([^|]*) \|", text.partition("\n## Types\n")[2], re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([A-Z]\w+)`", row)}
    assert len(named) > 30
    assert named <= headings


def test_the_examples_of_the_document_are_answered(api: Api) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    examples = re.findall(r"curl 'http://127\.0\.0\.1:8321(/[^?']+)\??([^']*)'", text)
    assert len(examples) == 3
    for path, query in examples:
        assert api.ask(path, text=query).status == 200
