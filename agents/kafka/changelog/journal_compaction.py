"""Compaction of a journal: live entries are written again, a slice per commit, and everything
before them is deleted.

Once the journal has grown to several times the live state, a sweep begins after a commit; `start`
is the offset after the last commit whose offset is known by then. Each commit from then on also
repeats a bounded number of entries with the values that they have at that commit: first the keys
that were in memory when the sweep began, then all keys of the database in order. The sweep is done
when the last key has been repeated; from the commit that records this on, a restore may begin at
`start`.

Proof that a restore from `start` into an empty state is exact. Take any key and its last change in
the whole journal up to a commit at or after the end of the sweep.

- The change is at or after `start`: a restore from there applies it, and no later one.
- The change is before `start` and deletes the key, alone or in a range: the key is absent. Nothing
  before `start` is read, and nothing after it puts the key, because that would be a later change; a
  repetition puts only existing keys.
- The change is before `start` and sets a value: the key existed when the sweep began, in memory or
  in the database, and did not change since. So the sweep reached it with that value and repeated it
  after `start`.

Within a commit the repeated values come last, and are the values after the whole commit. Entries
that change during a sweep need no special treatment: the change is after `start`, and a sweep that
meets a newer value repeats that one. `start` lies between two commits, and every commit has the
positions of all inputs. A sweep that a restart interrupts has no effect; the next one begins again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from driftline.agents.state.task_state import TaskState

# A smaller journal is not worth compacting: it is read in well under a second.
LEAST_LOG_BYTES: Final = 16 << 20
LIVE_BYTES_PER_SWEEP: Final = 3
LEAST_SLICE_BYTES: Final = 128 << 10
# A value may list the ids of a whole batch, so a few keys may be megabytes.
KEYS_PER_SLICE: Final = 32
SPILLED_BYTES_PER_SLICE: Final = 64 << 10


class Sweep:
    """One pass over all entries of a task.

    Parameters
    ----------
    states
        The state of each stage by name. None may be spilling while the sweep begins.
    start
        Offset after the last commit whose offset is known.
    log_bytes
        Size of the journal up to there.
    """

    def __init__(self, states: Mapping[str, TaskState], start: int, log_bytes: int) -> None:
        self.start = start
        self.before_bytes = log_bytes
        self.live_bytes = 0
        self.done = False
        held = {name: state.overlay.keys_in_memory() for name, state in states.items()}
        self._slices = self._repeat(states, held)

    def repeat(self, limit_bytes: int) -> int:
        """Repeat entries of about `limit_bytes` in the next commit, a few values more at most.

        Returns their size in bytes.
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
            # In slices instead of one iterator: an open RocksDB iterator retains everything that is
            # deleted meanwhile.
            while entries := state.spilled_slice(after, SPILLED_BYTES_PER_SLICE):
                yield state.overlay.repeat_spilled(entries)
                after = entries[-1][0] + b"\0"


def is_due(log_bytes: int, live_bytes: int) -> bool:
    """Whether a journal has grown enough for a sweep."""
    return log_bytes > max(LEAST_LOG_BYTES, LIVE_BYTES_PER_SWEEP * live_bytes)
