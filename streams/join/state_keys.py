"""Keys of the state of stage 1: an entry has its prediction id as its key, everything else a key
that begins with NO_ID.
"""

from typing import Final

NO_ID: Final = b"\xff"  # a byte that no UTF-8 text has

# Names by number, in chunks.
LABELS: Final = NO_ID + b"dl"
SEGMENT_VALUES: Final = NO_ID + b"ds"
VERSIONS: Final = NO_ID + b"dv"
