"""The result of a campaign, as a table and as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from tests.chaos.campaign import RoundReport

SHOWN = 20  # complaints per round
HEAD = ("fault", "times", "lost", "twice", "not recovered", "recovery p50", "max")


def rows(reports: Sequence[RoundReport]) -> list[tuple[str, ...]]:
    """One row for each kind of fault and round, with the miscounts of the round; then a total."""
    lines = []
    for report in reports:
        kinds = sorted({fault_result.kind for fault_result in report.fault_results})
        for kind in kinds:
            label = (
                kind
                if len(reports) == 1 or report.name != "all together"
                else f"{kind} (among others)"
            )
            lines.append(
                _row(label, [h.recovery for h in report.fault_results if h.kind == kind], [report])
            )
    recoveries = [
        fault_result.recovery for report in reports for fault_result in report.fault_results
    ]
    return [*lines, _row("all", recoveries, reports)]


def _row(
    label: str, recoveries: list[float | None], reports: Sequence[RoundReport]
) -> tuple[str, ...]:
    known = [seconds for seconds in recoveries if seconds is not None]
    shown = (f"{median(known):.1f} s", f"{max(known):.1f} s") if known else ("-", "-")
    lost, twice = (
        sum(
            getattr(verdict, name)
            for report in reports
            for verdict in (report.verdict, *report.beside)
        )
        for name in ("lost", "twice")
    )
    return (
        label,
        str(len(recoveries)),
        str(lost),
        str(twice),
        str(len(recoveries) - len(known)),
        *shown,
    )


def text(reports: Sequence[RoundReport]) -> str:
    """The table, and all complaints below it."""
    lines = [HEAD, *rows(reports)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEAD))]
    table = []
    for line in lines:
        first, *others = [cell.rjust(width) for cell, width in zip(line, widths, strict=True)]
        table.append("  ".join([first.strip().ljust(widths[0]), *others]))
    return "\n".join([*table, "", *map(round_text, reports)])


def round_text(report: RoundReport) -> str:
    """Numbers and complaints of a round, as text."""
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
        "unrequested exits": len(report.unrequested_exits),
    }
    if verdict.lost_rows:
        counts |= {
            "lost records": verdict.lost_rows,
            "figures with losses": verdict.marked,
            "of them others than without the loss": verdict.announced,
        }
    if report.beside:
        counts["figures of second programs"] = sum(other.figures for other in report.beside)
    counts |= {f"labelled in windows at {rung}": n for rung, n in verdict.labelled.items()}
    numbers = ", ".join(f"{n:,} {name}" for name, n in counts.items())
    faults = report.complaints + [
        fault for other in (verdict, *report.beside) for fault in other.faults
    ]
    lines = [
        f"{report.name}: {'correct' if report.is_correct else 'WRONG'}; {numbers}; "
        f"{report.seconds:.0f} s"
    ]
    lines += [f"    {fault}" for fault in faults[:SHOWN]]
    return "\n".join(
        [*lines, *([f"    and {len(faults) - SHOWN} more"] if len(faults) > SHOWN else [])]
    )


def write(path: Path, reports: Sequence[RoundReport], settings: dict[str, Any]) -> None:
    """Write the table and all results as JSON."""
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


def _round(report: RoundReport) -> dict[str, Any]:
    named = {
        "fault_results": [h._asdict() for h in report.fault_results],
        "unrequested_exits": [e._asdict() for e in report.unrequested_exits],
    }
    return {**asdict(report), **named, "is_correct": report.is_correct}
