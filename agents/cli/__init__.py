"""The command `driftline`.

One file a verb; what a verb does is said there, what it computes comes from the stages. Only click
is imported before a verb runs, so that `driftline --help` answers at once.

Exit codes: 0 done, 1 done and problems found, 2 wrong call, configuration or input, 130
interrupted.
"""

from __future__ import annotations


def main() -> None:
    """Entry point of the console script."""
    from driftline.agents.cli.program import driftline

    driftline(prog_name="driftline")
