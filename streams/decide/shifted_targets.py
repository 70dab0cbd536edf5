"""Targets of drift that have shifted, as parts of an alert."""

from __future__ import annotations

from collections.abc import Sequence

from driftline.streams.decide.judgement import DriftWindow, Part, Shift
from driftline.streams.decide.wording import share

LEVELS = ("none", "mild", "moderate", "severe")
_ROWS = {"missing": "missing", "kind": "of another kind", "unseen": "never seen before"}


def judged_shifts(window: DriftWindow, targets: Sequence[str]) -> list[Shift]:
    """Results with a verdict; of all targets if none are named."""
    return [
        shift
        for shift in window.shifts
        if shift.level in LEVELS and (not targets or shift.target in targets)
    ]


def rank_of(shift: Shift) -> int:
    """0 for the level "none" to 3 for "severe"."""
    return LEVELS.index(shift.level)


def parts_of(shifts: Sequence[Shift]) -> dict[str, Part]:
    """By target with its worst level and the shares that moved; by falling level, then by name."""
    return {
        target: Part(rank_of(of_target[0]), _text(target, of_target))
        for target, of_target in by_target(shifts).items()
    }


def by_target(shifts: Sequence[Shift]) -> dict[str, list[Shift]]:
    """The results of each target, the worst first; targets by falling level, then by name."""
    of_target: dict[str, list[Shift]] = {}
    for shift in sorted(shifts, key=lambda shift: (-rank_of(shift), shift.target)):
        of_target.setdefault(shift.target, []).append(shift)
    return of_target


def _text(target: str, shifts: Sequence[Shift]) -> str:
    shares = " and ".join(
        f"{share(shift.share)} {_ROWS[shift.method]} instead of {share(shift.reference_share)}"
        for shift in shifts
        if shift.share is not None and shift.reference_share is not None
    )
    text = f"{target.removeprefix('feature:')} {shifts[0].level}"
    return f"{text}: {shares}" if shares else text
