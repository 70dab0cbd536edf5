"""The rung of the maturity ladder that is judged: the first with nearly complete labels.

At a lower rung a figure is biased, because some labels come sooner than others; at a higher rung it
is late. The rung is chosen once the completeness of it and of every lower rung is known. After that
it only moves up, when labels become slower.
"""

from __future__ import annotations

import msgspec

from driftline.schemas.settings import ModelConfig

ENOUGH = 0.95
TOO_LITTLE = 0.90


class JudgedRung(msgspec.Struct, frozen=True, omit_defaults=True):
    """Completeness of one window's rungs and the rung that is judged.

    Parameters
    ----------
    completeness
        Latest completeness by rung.
    chosen
        The rung that rules and tuner read; None until one is complete enough.
    """

    completeness: dict[str, float] = {}
    chosen: str | None = None

    def after(self, rung: str, completeness: float | None, ladder: tuple[str, ...]) -> JudgedRung:
        """The state after one more figure.

        Parameters
        ----------
        ladder
            The window's rungs, lowest first.

        Examples
        --------
        >>> judged, ladder = JudgedRung(), ("1h", "1d", "30d")
        >>> figures = [("30d", 1.0), ("1h", 0.4), ("1d", 0.97), ("1d", 0.93), ("1d", 0.8)]
        >>> for rung, completeness in figures:
        ...     judged = judged.after(rung, completeness, ladder)
        ...     print(judged.chosen, end=" ")
        None None 1d 1d 30d
        """
        if completeness is None or self.completeness.get(rung) == completeness:
            return self
        known = {**self.completeness, rung: completeness}
        if self.chosen is None:
            return JudgedRung(known, _first(known, ladder))
        if known.get(self.chosen, 1.0) < TOO_LITTLE:
            above = ladder[ladder.index(self.chosen) + 1 :]
            return JudgedRung(
                known, next((rung for rung in above if known.get(rung, 0.0) >= ENOUGH), self.chosen)
            )
        return JudgedRung(known, self.chosen)


def ladder_of(config: ModelConfig, window: str) -> tuple[str, ...]:
    """Names of the rungs at which a window is announced; the whole ladder for a window that is not
    configured.
    """
    configured = next((w for w in config.windows if w.name == window), None)
    rungs = range(len(config.maturity)) if configured is None else config.rungs_for(configured)
    return tuple(config.maturity[i].name for i in rungs)


def _first(known: dict[str, float], ladder: tuple[str, ...]) -> str | None:
    for rung in ladder:
        if rung not in known:
            return None
        if known[rung] >= ENOUGH:
            return rung
    return None
