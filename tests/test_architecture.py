"""The packages depend on each other in one direction, without circles, and `streams` is pure."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.architecture import check_source, check_tree, import_circles, modules

ROOT = Path(__file__).resolve().parents[1]

# package, rule that must speak up, and a line that breaks it
PLANTED = [
    ("schemas", "import", "import numpy"),
    ("schemas", "import", "from driftline.streams.hashing import hash64"),
    ("schemas", "import", "def f():\n    import driftline.agents.cli"),
    ("schemas", "call", "key = hash('churn')"),
    ("schemas", "import", "from schemas.times import parse_time"),
    ("streams", "import", "import driftline.agents"),
    ("streams", "import", "from driftline import agents"),
    ("streams", "import", "import driftline"),
    ("agents", "import", "import agents"),
    ("agents", "import", "from streams.stage import Record"),
    ("agents", "import", "from tests.conftest import settings"),
    ("streams", "import", "from driftline.agents.output_folder import read"),
    ("streams", "import", "import faust"),
    ("streams", "import", "import asyncio"),
    ("streams", "import", "import time"),
    ("streams", "import", "import os.path"),
    ("streams", "import", "from pathlib import Path"),
    ("streams", "import", "import io"),
    ("streams", "import", "import socket"),
    ("streams", "import", "import random"),
    ("streams", "import", "from uuid import uuid4"),
    ("streams", "import", "import secrets"),
    ("streams", "import", "import threading"),
    ("streams", "import", "import logging"),
    ("streams", "import", "def late():\n    import subprocess"),
    ("streams", "import", "if TYPE_CHECKING:\n    import pandas"),
    ("streams", "call", "bucket = hash(key) % 8"),
    ("streams", "call", "text = open('model.json').read()"),
    ("streams", "call", "print('joined')"),
    ("streams", "clock", "at = datetime.now(UTC)"),
    ("streams", "clock", "at = date.today()"),
    ("streams", "clock", "at = np.datetime64('now')"),
    ("streams", "file", "counts = np.load('counts.npy')"),
    ("streams", "file", "counts.tofile('counts')"),
    ("streams", "chance", "noise = np.random.normal(size=3)"),
    ("streams", "chance", "rng = np.random.default_rng()"),
    ("streams", "chance", "from numpy import random"),
    ("streams", "set", "for segment in {'all', 'plan'}:\n    pass"),
    ("streams", "set", "keys = [key for key in set(keys)]"),
    ("streams", "set", "for key in set(old) | set(new):\n    pass"),
    ("streams", "set", "for key in set(old).union(new):\n    pass"),
    ("streams", "set", "names = list({name for name in names})"),
    ("streams", "set", "text = ','.join(frozenset(names))"),
    ("streams", "set", "first = set(names).pop()"),
    ("streams", "set", "emit(*{1, 2})"),
    (
        "streams",
        "set",
        "def f(rows):\n    seen = set()\n    seen.add(1)\n    for row in seen:\n        pass",
    ),
    ("streams", "set", "def f(seen: set[str]):\n    both = seen | other\n    return tuple(both)"),
    (
        "streams",
        "set",
        "NAMES = frozenset({'a', 'b'})\ndef f():\n    return [name for name in NAMES]",
    ),
]

HARMLESS = [
    (
        "schemas",
        "import json\nimport msgspec\nfrom pathlib import Path\n"
        "from driftline.schemas.times import parse_time",
    ),
    (
        "streams",
        "import numpy as np\nimport xxhash\nfrom driftline.schemas.results import WindowFigures\n"
        "from driftline.streams.hashing import hash64",
    ),
    ("streams", "import importlib\nimport pkgutil\nfrom . import lanes"),
    ("streams", "from datetime import UTC, datetime\nat = datetime.fromtimestamp(0, UTC)"),
    ("streams", "rng = np.random.default_rng(seed)"),
    ("streams", "for key in sorted(set(old) | set(new)):\n    pass"),
    (
        "streams",
        "def f(values):\n    values = set(values)\n    values = sorted(values)\n"
        "    for value in values:\n        pass",
    ),
    ("streams", "def f(seen: set[str]):\n    return len(seen) + max(seen), 'a' in seen"),
    ("streams", "for key in {'a': 1}:\n    pass"),
    ("streams", "def hash(self):\n    return self.hash(1)"),
    (
        "agents",
        "import asyncio, os, random, time, socket\n"
        "for x in {1, 2}:\n    print(open('x'), hash('y'))",
    ),
]


def test_no_file_breaks_the_dependency_and_purity_rules():
    found = check_tree(ROOT)
    assert not found, "\n" + "\n".join(map(str, found))


def test_there_are_files_to_check():
    for package in ("schemas", "streams", "agents"):
        assert list((ROOT / package).rglob("*.py")), (
            f"no Python file in {package}/: the check above would pass on nothing"
        )


@pytest.mark.parametrize(("package", "rule", "source"), PLANTED)
def test_planted_violation_is_reported_with_file_line_and_rule(package, rule, source):
    found = check_source("\n\n" + source, package=package, file=f"{package}/planted.py")
    assert [violation.rule for violation in found] == [rule], found
    assert found[0].line >= 3
    assert str(found[0]).startswith(f"{package}/planted.py:{found[0].line}: {rule}: ")


@pytest.mark.parametrize(("package", "source"), HARMLESS)
def test_harmless_source_is_not_reported(package, source):
    assert check_source(source, package=package, file="harmless.py") == []


@pytest.mark.parametrize(
    ("folder", "source"),
    [
        ("agents/kafka", "import faust"),
        ("agents/kafka", "from mode.utils import logging"),
        ("agents/kafka", "def f():\n    from aiokafka import AIOKafkaConsumer"),
        ("agents/kafka", "from driftline.agents.inprocess.replay import replay"),
        ("agents/kafka", "from driftline.agents.worker import app"),
        ("agents/inprocess", "from driftline.agents.kafka.task.task import Task"),
        ("agents/recorded", "from driftline.agents.inprocess.replay import replay"),
        ("agents/state", "import driftline.agents.kafka"),
    ],
)
def test_a_folder_may_not_import_what_is_built_on_it(folder, source):
    found = check_source(source, package="agents", file=f"{folder}/planted.py")
    assert [violation.rule for violation in found] == ["import"], found
    assert check_source(source, package="agents", file="agents/cli/planted.py") == []


def test_no_folder_has_a_circle_of_imports():
    circles = import_circles(modules(ROOT))
    assert not circles, "\n" + "\n".join(circles)


def test_circles_of_files_and_of_folders_are_reported_with_an_import_for_each_arrow():
    sources = {
        "driftline.streams.__init__": "",
        "driftline.streams.stage": "from driftline.streams.join import entry",
        "driftline.streams.join.__init__": "",
        "driftline.streams.join.entry": "def late():\n    import driftline.streams.join.expiry",
        "driftline.streams.join.expiry": "from driftline.streams.join.entry import Entry",
        "driftline.streams.measure.__init__": "from driftline.streams.join.entry import Entry",
        "driftline.streams.join.index": "from driftline.streams import measure",
    }
    assert import_circles(sources) == [
        "driftline.streams: join, measure import each other: driftline.streams.join.index -> "
        "driftline.streams.measure.__init__; driftline.streams.measure.__init__ -> "
        "driftline.streams.join.entry",
        "driftline.streams.join: entry, expiry import each other: driftline.streams.join.entry -> "
        "driftline.streams.join.expiry; driftline.streams.join.expiry -> "
        "driftline.streams.join.entry",
    ]
    del sources["driftline.streams.join.index"], sources["driftline.streams.join.expiry"]
    assert import_circles(sources) == []
