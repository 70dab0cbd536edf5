"""The life cycle of alerts and what people do about them, by slow and obvious code that follows the
documented rules. It shares no code with `driftline.streams.decide`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

Told = tuple[str, str, str, str, list[str], str | None, int]
"""Version, rule, change, status, silences, who acknowledged, and time of a record."""


@dataclass
class Episode:
    """The open or last episode of an alert, and the breaches in a row that may begin another."""

    breaches: int = 0
    is_open: bool = False
    ended: int | None = None
    taken_by: str | None = None
    silences: list[str] = field(default_factory=list)


class SlowAlerts:
    """The alerts of one model for the segment "all"; times have any unit.

    Parameters
    ----------
    rules
        By name, breaches in a row until the alert fires, and time after an episode without another.
    now
        Time that the model has reached.
    """

    def __init__(
        self, versions: Sequence[str], rules: Mapping[str, tuple[int, int]], now: int
    ) -> None:
        self.now = now
        self.rules = rules
        self.alerts = {(version, rule): Episode() for version in versions for rule in rules}
        self.fired: list[tuple[str, str]] = []  # open alerts in the order in which they fired
        self.silences: dict[str, dict[str, Any]] = {}
        self.told: list[Told] = []

    def reach(self, now: int) -> None:
        """Go on to a later time: silences begin and end."""
        self.now = now
        self.look_at_silences()

    def judge(self, version: str, rule: str, *, is_bad: bool, is_good: bool) -> None:
        """Judge a window that ends now."""
        alert = self.alerts[version, rule]
        needed, cool_down = self.rules[rule]
        alert.breaches = alert.breaches + 1 if is_bad else 0
        cooled = alert.ended is None or self.now >= alert.ended + cool_down
        if not alert.is_open and alert.breaches >= needed and cooled:
            alert.is_open, alert.taken_by = True, None
            self.fired.append((version, rule))
            alert.silences = self.matching(version, rule)
            self.tell(version, rule, "firing")
        elif alert.is_open and is_good:
            alert.silences = self.matching(version, rule)
            self.end(version, rule, "resolved")

    def end(self, version: str, rule: str, change: str) -> None:
        """End an open episode."""
        alert = self.alerts[version, rule]
        alert.is_open, alert.ended, alert.breaches = False, self.now, 0
        self.fired.remove((version, rule))
        self.tell(version, rule, change)

    def acknowledge(self, version: str, rule: str, who: str) -> bool:
        """Whether it was open and nobody's."""
        alert = self.alerts.get((version, rule), Episode())
        if not alert.is_open or alert.taken_by is not None:
            return False
        alert.taken_by = who
        self.tell(version, rule, "acknowledged")
        return True

    def unacknowledge(self, version: str, rule: str) -> bool:
        """Whether it was open and somebody's."""
        alert = self.alerts.get((version, rule), Episode())
        if not alert.is_open or alert.taken_by is None:
            return False
        alert.taken_by = None
        self.tell(version, rule, "unacknowledged")
        return True

    def silence(self, name: str, *, rule: str, version: str, begin: int, end: int) -> bool:
        """Whether the name is free and the span neither empty nor over."""
        if name in self.silences or end <= max(begin, self.now):
            return False
        self.silences[name] = {"rule": rule, "version": version, "begin": begin, "end": end}
        self.look_at_silences()
        return True

    def unsilence(self, name: str) -> bool:
        """Whether there was one of that name."""
        if self.silences.pop(name, None) is None:
            return False
        self.look_at_silences()
        return True

    def look_at_silences(self) -> None:
        """Forget those that are over, and tell of open alerts what others match them now."""
        self.silences = {
            name: each for name, each in self.silences.items() if each["end"] > self.now
        }
        for version, rule in self.fired:
            alert, matching = self.alerts[version, rule], self.matching(version, rule)
            if matching != alert.silences:
                alert.silences = matching
                self.tell(version, rule, "silenced" if matching else "unsilenced")

    def matching(self, version: str, rule: str) -> list[str]:
        """Silences in force that match an alert."""
        return [
            name
            for name, each in self.silences.items()
            if each["begin"] <= self.now < each["end"]
            and fnmatchcase(rule, each["rule"])
            and fnmatchcase(version, each["version"])
        ]

    def tell(self, version: str, rule: str, change: str) -> None:
        """Add a record."""
        alert = self.alerts[version, rule]
        if not alert.is_open:
            status = "resolved"
        elif alert.silences:
            status = "silenced"
        else:
            status = "firing" if alert.taken_by is None else "acknowledged"
        self.told.append((version, rule, change, status, alert.silences, alert.taken_by, self.now))
