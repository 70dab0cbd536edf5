"""The output folder of the sample log, made once, and the lines of its files."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import driftline
from driftline.agents.read_model.intake import INDEXED
from driftline.agents.sample_log import write_sample


@functools.lru_cache(maxsize=1)
def sample_output() -> Path:
    """The folder; tests copy what they change."""
    folder = Path(tempfile.mkdtemp(prefix="driftline-sample-"))
    config, log = write_sample(folder)
    driftline.replay(log / "predictions.jsonl", log / "ground-truth.jsonl", config, folder / "out")
    return folder / "out"


def sample_lines() -> dict[str, list[bytes]]:
    """The lines of each topic of an index, without line feeds."""
    found = {}
    for topic in INDEXED:
        path = sample_output() / f"{topic}.jsonl"
        found[topic] = path.read_bytes().splitlines() if path.exists() else []
    return found
