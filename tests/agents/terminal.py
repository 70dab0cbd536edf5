"""Run the command with a terminal as its standard output."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def printed_on_a_terminal(arguments: list[str], environment: dict[str, str]) -> str:
    """The output of the command on a terminal, 200 columns wide unless COLUMNS is set."""
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
        except OSError:  # Linux: the other end is closed
            break
        if not part:
            break
        printed += part
    os.close(reader)
    process.wait(timeout=60)
    return printed.decode()
