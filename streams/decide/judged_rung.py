"""Which rung of the ladder is worth judging: the first at which, by experience, nearly all labels
are known.

Judged earlier, a figure is biased by which labels come first; judged later, it is stale. The choice
is made once experience covers every lower rung, and then kept; it moves only upwards, when labels
have become slower.
"""

from __future__ import annotations

import msgspec

from driftline.schemas.settings import ModelConfig

ENOUGH = 0.95
TOO_LITTLE = 0.90


class Maturity(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known about one window's rungs.

    Parameters
    ----------
    completeness
        Newest completeness by rung.
    chosen
        The rung that rules and tuner read; None until one qualifies.
    """

    completeness: dict[str, float] = {}
    chosen: str | None = None

    def after(self, rung: str, completeness: float | None, ladder: tuple[str, ...]) -> Maturity:
        """With one more experience.

        Parameters
        ----------
        ladder
            The window's rungs, lowest first.

        Examples
        --------
        >>> maturity, ladder = Maturity(), ("1h", "1d", "30d")
        >>> for rung, completeness in [("1h", None), ("30d", 1.0), ("1h", 0.4), ("1d", 0.97), ("1d", 0.93), ("1d", 0.8)]:
        ...     maturity = maturity.after(rung, completeness, ladder)
        ...     print(maturity.chosen, end=" ")
        None None None 1d 1d 30d
        """
        if completeness is None or self.completeness.get(rung) == completeness:
            return self
        known = {**self.completeness, rung: completeness}
        if self.chosen is None:
            return Maturity(known, _first(known, ladder))
        if known.get(self.chosen, 1.0) < TOO_LITTLE:
            above = ladder[ladder.index(self.chosen) + 1 :]
            return Maturity(
                known, next((rung for rung in above if known.get(rung, 0.0) >= ENOUGH), self.chosen)
            )
        return Maturity(known, self.chosen)


def ladder_of(config: ModelConfig, window: str) -> tuple[str, ...]:
    """Names of the rungs at which a window is announced; the whole ladder for one that is no
    configured window.
    """
    found = next((w for w in config.windows if w.name == window), None)
    rungs = range(len(config.maturity)) if found is None else config.rungs_for(found)
    return tuple(config.maturity[i].name for i in rungs)


def _first(known: dict[str, float], ladder: tuple[str, ...]) -> str | None:
    for rung in ladder:
        if rung not in known:
            return None
        if known[rung] >= ENOUGH:
            return rung
    return None
