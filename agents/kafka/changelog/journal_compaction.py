"""Keeps a journal short: what lives is written anew, a slice in each commit, and everything before
is deleted.

Once the journal has grown to several times the live state, a sweep begins after a commit; `start`
is the offset after the last commit whose offset is known by then. Each commit from then on also
repeats a bounded number of entries with the values that they have at that commit: first the keys
that memory held when the sweep began, then all keys of the database in order. When the last key has
been repeated, the sweep is done; from the commit that says so on, a restore may begin at `start`.

Why a restore from `start` into an empty state is exact. Take any key and the last change of it up
to a commit at or after the end of the sweep, in the whole journal.

- The change lies at or after `start`: a restore from there applies it, and no later one.
- It lies before, and is a deletion, alone or of a range: the key is absent. Before `start` nothing is read, and after it nothing puts the
  key, for that would be a later change; a repetition puts only what exists.
- It lies before, and is a value: the key existed when the sweep began, in memory or in the database, and was not changed since. So the
  sweep came to it, found that value, and repeated it after `start`.

Within a commit the repeated values come last, and are those that the keys have after the whole
commit. Entries that change while a sweep runs need no care: their change lies after `start`, and a
sweep that finds a newer value repeats just that. Pieces and positions are of whole commits: `start`
lies between two, and every commit says all positions. A sweep that a restart interrupted has
repeated values for nothing; the next one begins anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from driftline.agents.state.task_state import TaskState

# Below this a journal is not worth cleaning: it is read in well under a second.
LEAST_LOG_BYTES: Final = 16 << 20
LIVE_BYTES_PER_SWEEP: Final = 3
LEAST_SLICE_BYTES: Final = 128 << 10
# A value may be a list of the ids of a whole batch, so few keys may be megabytes.
KEYS_PER_SLICE: Final = 32
SPILLED_BYTES_PER_SLICE: Final = 64 << 10


class Sweep:
    """One pass over all entries of a task.

    Parameters
    ----------
    states
        The state of each stage by name. None may be writing a spill while the sweep begins.
    start
        Offset after a commit that lies before the sweep; the last one whose offset is known.
    log_bytes
        Bytes of the journal up to there.
    """

    def __init__(self, states: Mapping[str, TaskState], start: int, log_bytes: int) -> None:
        self.start = start
        self.before_bytes = log_bytes
        self.live_bytes = 0
        self.done = False
        held = {name: state.overlay.keys_in_memory() for name, state in states.items()}
        self._slices = self._repeat(states, held)

    def repeat(self, limit_bytes: int) -> int:
        """Let the next commit repeat entries of about `limit_bytes`, at most by a few values more;
        gives their bytes.
        """
        repeated = 0
        while repeated < limit_bytes:
            size = next(self._slices, None)
            if size is None:
                self.done = True
                break
            repeated += size
            self.live_bytes += size
        return repeated

    def _repeat(
        self, states: Mapping[str, TaskState], held: dict[str, list[bytes]]
    ) -> Iterator[int]:
        for name, state in states.items():
            keys = held.pop(name)
            for first in range(0, len(keys), KEYS_PER_SLICE):
                yield state.overlay.repeat(keys[first : first + KEYS_PER_SLICE])
            after = b""
            # Sliced, not one iterator: a RocksDB iterator would hold on to everything that is
            # deleted meanwhile.
            while entries := state.spilled_slice(after, SPILLED_BYTES_PER_SLICE):
                yield state.overlay.repeat_spilled(entries)
                after = entries[-1][0] + b"\0"


def is_due(log_bytes: int, live_bytes: int) -> bool:
    """Tell whether a journal has grown enough for a sweep."""
    return log_bytes > max(LEAST_LOG_BYTES, LIVE_BYTES_PER_SWEEP * live_bytes)
