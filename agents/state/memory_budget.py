"""How the states of one process share its memory.

Half of the memory is for what has not been spilled, half for values at hand of what has. A state
may take more than its even share while others leave room, so small states make place for large
ones.
"""

from __future__ import annotations

from driftline.agents.state.overlay import Overlay


class Budget:
    """Memory of several overlays.

    Parameters
    ----------
    memory_bytes
        For all of them.
    least
        How many to expect; the even share is that of so many, or of as many as there are.
    """

    def __init__(self, memory_bytes: int, least: int = 1) -> None:
        self._half_bytes = memory_bytes // 2
        self._least = max(least, 1)
        self._overlays: list[Overlay] = []

    def add(self, overlay: Overlay) -> None:
        """Let an overlay share the memory."""
        self._overlays.append(overlay)

    def remove(self, overlay: Overlay) -> None:
        """Take back what an overlay had."""
        self._overlays.remove(overlay)

    def must_spill(self, overlay: Overlay) -> bool:
        """Tell whether the overlay takes more than its share of memory that is needed."""
        share = self._share_bytes()
        if (
            overlay.grown_bytes <= share
            or sum(other.grown_bytes for other in self._overlays) <= self._half_bytes
        ):
            return False
        # What was deleted and overwritten has been counted too; counting anew only here keeps its
        # cost small.
        return overlay.counted() > share // 2

    def must_drop_cache(self, overlay: Overlay) -> bool:
        """The same for the values at hand."""
        return (
            overlay.cache_bytes > self._share_bytes()
            and sum(other.cache_bytes for other in self._overlays) > self._half_bytes
        )

    def _share_bytes(self) -> int:
        return self._half_bytes // max(self._least, len(self._overlays))
