"""How the states of one process share its memory.

Half of the memory is for values that have not been spilled, half for cached values that have. A
state may take more than its even share while others leave memory unused, so that small states make
room for large ones.
"""

from __future__ import annotations

from driftline.agents.state.overlay import Overlay


class MemoryBudget:
    """Memory shared by several overlays.

    Parameters
    ----------
    memory_bytes
        Memory of all overlays together.
    expected
        Expected number of overlays: the even share is that of this many, or of the present number
        if that is larger.
    """

    def __init__(self, memory_bytes: int, expected: int = 1) -> None:
        self._half_bytes = memory_bytes // 2
        self._expected = max(expected, 1)
        self._overlays: list[Overlay] = []

    def add(self, overlay: Overlay) -> None:
        """Let an overlay share the memory."""
        self._overlays.append(overlay)

    def remove(self, overlay: Overlay) -> None:
        """Free the share of an overlay."""
        self._overlays.remove(overlay)

    def must_spill(self, overlay: Overlay) -> bool:
        """Whether the overlay's unspilled values exceed its share while memory is short."""
        share = self._share_bytes()
        if (
            overlay.grown_bytes <= share
            or sum(other.grown_bytes for other in self._overlays) <= self._half_bytes
        ):
            return False
        # `grown_bytes` includes deleted and overwritten values. Counting exactly costs more, so it
        # happens only here.
        return overlay.count_bytes() > share // 2

    def must_drop_cache(self, overlay: Overlay) -> bool:
        """Whether the overlay's cached values exceed its share while memory is short."""
        return (
            overlay.cache_bytes > self._share_bytes()
            and sum(other.cache_bytes for other in self._overlays) > self._half_bytes
        )

    def _share_bytes(self) -> int:
        return self._half_bytes // max(self._expected, len(self._overlays))
