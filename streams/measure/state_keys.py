"""Key prefixes in the state of stage 2.

A key is one prefix and big-endian numbers of 8 bytes, so that the keys of one kind sort by model
and then by time, and a span of time is one range of keys. Keys of a window or a reference end
with its name. Most keys hold merge runs: `counts/merge_runs.py` appends the number of the run.
"""

from __future__ import annotations

from typing import Final

# Of the task.
FRONTIER: Final = b"t"  # -> watermarks and edges processed
LOSSES: Final = b"x"  # -> spans of lost rows
MODEL_NAMES: Final = b"M"  # chunk -> names of the models by number

# Of a model: prefix, number of the model, and the parts before "->" in the comment.
FACTS: Final = b"m"  # -> panes, versions and label set of the model
SERIES_NAMES: Final = b"s"  # chunk -> (version, segment) by series number
REGISTRY_REVISION: Final = b"v"  # -> registry revision in force
REGISTERED_NAMES: Final = b"w"  # chunk -> names of registered versions by number
REGISTERED: Final = b"e"  # number of a registered version -> its registry entry
LABELS: Final = b"l"  # chunk -> label text by label code
DAYS_SINCE_DEPLOYMENT: Final = b"d"  # -> sum of the days that are final
NEWEST_OUTCOMES: Final = b"n"  # -> newest outcomes of each series as of the last record
NEW_OUTCOMES: Final = b"r"  # start of a bucket -> outcomes since then
FEATURES: Final = b"f"  # start of a grain -> feature summaries
COMPLETENESS: Final = b"q"  # day, name of a window -> sums of that day
PROFILE: Final = b"g"  # name of a reference -> its profile

# Of a lane: prefix, number of the lane, number of the model, start of a bucket.
PANES: Final = b"c"  # -> counts of the panes in the bucket


def state_key(prefix: bytes, *numbers: int) -> bytes:
    """The key of some numbers below a prefix; keys sort as their numbers do.

    Examples
    --------
    >>> state_key(PANES, 0, 258).hex()
    '6300000000000000000000000000000102'
    """
    return prefix + b"".join(number.to_bytes(8, "big") for number in numbers)
