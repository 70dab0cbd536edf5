"""The result of a campaign: a table for people, JSON for everybody else."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from tests.chaos.campaign import Report

SHOWN = 20  # of what is wrong in a round
HEAD = ("fault", "times", "lost", "twice", "not recovered", "recovery p50", "max")


def rows(reports: Sequence[Report]) -> list[tuple[str, ...]]:
    """A row for each sort of fault in each round, with the miscounts of the round, and one for all."""
    found = []
    for report in reports:
        kinds = sorted({happening.kind for happening in report.happenings})
        for kind in kinds:
            label = (
                kind
                if len(reports) == 1 or report.name != "all together"
                else f"{kind} (among others)"
            )
            found.append(
                _row(label, [h.recovery for h in report.happenings if h.kind == kind], [report])
            )
    every = [happening.recovery for report in reports for happening in report.happenings]
    return [*found, _row("all", every, reports)]


def _row(label: str, recoveries: list[float | None], reports: Sequence[Report]) -> tuple[str, ...]:
    known = [seconds for seconds in recoveries if seconds is not None]
    shown = (f"{median(known):.1f} s", f"{max(known):.1f} s") if known else ("-", "-")
    lost, twice = (
        sum(getattr(report.verdict, name) for report in reports) for name in ("lost", "twice")
    )
    return (
        label,
        str(len(recoveries)),
        str(lost),
        str(twice),
        str(len(recoveries) - len(known)),
        *shown,
    )


def text(reports: Sequence[Report]) -> str:
    """The table, and below it everything that is wrong."""
    lines = [HEAD, *rows(reports)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEAD))]
    table = []
    for line in lines:
        first, *others = [cell.rjust(width) for cell, width in zip(line, widths, strict=True)]
        table.append("  ".join([first.strip().ljust(widths[0]), *others]))
    return "\n".join([*table, "", *map(said, reports)])


def said(report: Report) -> str:
    """What a round counted, and what is wrong."""
    verdict = report.verdict
    counts = {
        "predictions": report.predictions,
        "rows": verdict.rows,
        "pairs": verdict.pairs,
        "complete figures": verdict.figures,
        "provisional ones": verdict.provisional,
        "ticks": verdict.ticks,
        "dead letters": verdict.dead_letters,
        "alerts": verdict.alerts,
        "registry events": verdict.registry_events,
        "self-exits": len(report.self_exits),
    }
    told = ", ".join(f"{n:,} {name}" for name, n in counts.items())
    faults = report.complaints + verdict.faults
    lines = [
        f"{report.name}: {'right' if report.right else 'WRONG'}; {told}; {report.seconds:.0f} s"
    ]
    lines += [f"    {fault}" for fault in faults[:SHOWN]]
    return "\n".join(
        [*lines, *([f"    and {len(faults) - SHOWN} more"] if len(faults) > SHOWN else [])]
    )


def write(path: Path, reports: Sequence[Report], settings: dict[str, Any]) -> None:
    """The table and everything behind it as JSON."""
    content = {
        "settings": settings,
        "machine": {
            "system": platform.platform(),
            "cpus": os.cpu_count(),
            "load": os.getloadavg(),
            "python": platform.python_version(),
        },
        "table": [dict(zip(HEAD, row, strict=True)) for row in rows(reports)],
        "rounds": [_round(report) for report in reports],
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _round(report: Report) -> dict[str, Any]:
    named = {
        "happenings": [h._asdict() for h in report.happenings],
        "self_exits": [e._asdict() for e in report.self_exits],
    }
    return {**asdict(report), **named, "right": report.right}
