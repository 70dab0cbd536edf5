"""The command `driftline`.

One file per verb: its options, its help and its output; the work is done elsewhere. Only click is
imported before a verb runs, so that `driftline --help` is fast.

Exit codes: 0 success, 1 success with problems found, 2 wrong call, configuration or input,
130 interrupted.
"""

from __future__ import annotations


def main() -> None:
    """Run the console script."""
    from driftline.agents.cli.program import driftline

    driftline(prog_name="driftline")
