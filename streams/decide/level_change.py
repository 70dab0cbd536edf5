"""What a command may set of an alert rule."""

from __future__ import annotations

import msgspec

from driftline.streams.decide.judgement import Severity


class LevelChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The parameters of the command `set_rule_level`; what it leaves out stays as it is.

    Parameters
    ----------
    rule
        Name of a rule, or of a metric: then the threshold rule on it, which is created if there is
        none.
    below, above
        The level. For a rule with a level for each severity: that of `severity`, by default the
        mildest one.
    clear
        Value at which the alert resolves.
    severity, window, for_
        As in the table of a rule.
    reset
        Take back what commands have set: what the configuration says applies again.
    """

    rule: str
    below: float | None = None
    above: float | None = None
    clear: float | None = None
    severity: Severity | None = None
    window: str | None = None
    for_: int | str | None = msgspec.field(default=None, name="for")
    reset: bool = False

    @property
    def sets(self) -> bool:
        """Whether it names anything to set."""
        return any(
            value is not None
            for value in (
                self.below,
                self.above,
                self.clear,
                self.severity,
                self.window,
                self.for_,
            )
        )
