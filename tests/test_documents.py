"""What the documents name exists, and the glossary speaks of what the code has."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from driftline.schemas.config import parse_config
from driftline.schemas.reports import SUBJECTS
from driftline.streams.decide import build_rules
from driftline.streams.decide.rule_builder import OWN_DEFAULT_RULES, rule_plugins
from driftline.streams.lanes import LANE_NAMES
from driftline.streams.pipeline import STAGES

ROOT = Path(__file__).resolve().parents[1]
TRACKED = subprocess.run(
    ["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True
).stdout.split("\n")
DOCUMENTS = [ROOT / name for name in TRACKED if name]
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
FOLDERS = "schemas|streams|agents|tests|docs|deploy|examples|driftline"
# Names of files that a reader is told to write.
TO_WRITE = re.compile(r"NAME|npv\.py|detectors/|notify/|serve/|client/|backup/")
WORDS = (
    "prediction",
    "ground truth",
    "lane",
    "pane",
    "window",
    "rung",
    "maturity",
    "frontier",
    "watermark",
    "grace",
    "partial",
    "segment",
    "series",
    "reference",
    "baseline",
    "provisional",
    "final",
)


def paths(text: str) -> list[str]:
    """The files and folders of this repository that a document names in code style."""
    named = re.findall(rf"`((?:{FOLDERS})/[\w./*-]*)`", text)
    return [path for path in named if not TO_WRITE.search(path)]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_files_and_folders_that_a_document_names_exist(document: Path) -> None:
    missing = [
        path for path in paths(document.read_text(encoding="utf-8")) if not list(ROOT.glob(path))
    ]
    assert not missing


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_within_the_repository_lead_to_files(document: Path) -> None:
    links = re.findall(r"\]\((?!\w+:|#)([^)#\s]+)", document.read_text(encoding="utf-8"))
    missing = [link for link in links if not (document.parent / link).exists()]
    assert not missing


def test_the_tour_and_the_life_of_a_record_name_many_files() -> None:
    sections = dict(
        re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", ARCHITECTURE, re.MULTILINE | re.DOTALL)
    )
    assert len(paths(sections["A tour"])) >= 10
    assert len(paths(sections["The life of one record"])) >= 20


def test_a_missing_file_in_a_document_is_noticed() -> None:
    assert paths("see `streams/nowhere.py` and `streams/`") == ["streams/nowhere.py", "streams/"]
    assert not list(ROOT.glob("streams/nowhere.py"))


@pytest.mark.parametrize("word", WORDS)
def test_the_glossary_explains_the_word(word: str) -> None:
    assert re.search(rf"^\| {word}\b", ARCHITECTURE, re.MULTILINE)


def test_the_glossary_has_the_lanes_and_the_picture_has_the_stages_of_the_code() -> None:
    (lanes,) = re.findall(r"^\| lane \| (.*)$", ARCHITECTURE, re.MULTILINE)
    assert re.findall(r"\*(\w+)\*", lanes) == list(LANE_NAMES)
    picture = ARCHITECTURE.split("```")[1]
    assert re.findall(r"^ (\d) (\w+)", picture, re.MULTILINE) == [
        (str(number), stage.name) for number, stage in enumerate(STAGES, 1)
    ]


def test_the_page_of_rules_lists_every_type_and_its_examples_are_accepted() -> None:
    text = (ROOT / "docs/rules.md").read_text(encoding="utf-8")
    types = re.findall(r"^\| `(\w+)` \| .* \| (on|off) \|$", text, re.MULTILINE)
    defaults = {rule.kind for rules in OWN_DEFAULT_RULES.values() for rule in rules}
    assert dict(types) == {kind: "on" if kind in defaults else "off" for kind in rule_plugins()}
    examples = re.findall(r"^```toml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    windows = '[defaults]\nwindows = ["1m", "10m", "1h", "1d", "7d/1d"]\n'
    config = parse_config("\n".join([windows, *examples]))
    written = [len(config.for_rules(name).rules) for name in ("churn", *SUBJECTS)]
    assert sum(written) == len(examples)
    for name, n in zip(("churn", *SUBJECTS), written, strict=True):
        model = config.for_rules(name)
        assert len(build_rules(model)) == n + len(OWN_DEFAULT_RULES[model.subject])
