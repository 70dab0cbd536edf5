"""Run the command with a terminal for its output, as a person does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def printed_on_a_terminal(arguments: list[str], environment: dict[str, str]) -> str:
    """What the command prints when its standard output is a terminal 200 columns wide."""
    reader, writer = os.openpty()
    variables = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"} | environment
    process = subprocess.Popen(
        [sys.executable, "-m", "driftline.agents.cli", *arguments],
        stdout=writer,
        stderr=writer,
        stdin=writer,
        env=variables,
    )
    os.close(writer)
    printed = b""
    while True:
        try:
            part = os.read(reader, 65_536)
        except OSError:  # how Linux says that the other end is closed
            break
        if not part:
            break
        printed += part
    os.close(reader)
    process.wait(timeout=60)
    return printed.decode()
