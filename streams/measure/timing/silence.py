"""Which empty windows of a silent version are announced.

All of them at first, then fewer as the silence grows: an alert on silence reads them, and is late
by a 24th of the silence at most.
"""

from __future__ import annotations

from typing import Final

ALL_UPTO: Final = 48
"""Steps of silence after which every second empty window is announced; after twice as many every
fourth, and so on.
"""


def is_announced(silence_ms: int, step_ms: int) -> bool:
    """Whether an empty window is announced.

    Parameters
    ----------
    silence_ms
        From the last traffic to the end of the window.
    step_ms
        From the end of a window to that of the next one.

    Examples
    --------
    >>> steps = (46, 47, 48, 49, 50, 94, 95, 96, 98, 100)
    >>> [each for each in steps if is_announced(each * 60, 60)]
    [46, 47, 48, 50, 94, 96, 100]
    """
    steps = max(silence_ms, 0) // step_ms
    return steps % _every(steps) == 0


def next_announced_ms(last_ms: int, step_ms: int, after_ms: int) -> int:
    """End of the first window after `after_ms` that is announced if it is empty.

    Parameters
    ----------
    last_ms
        End of the last traffic.

    Examples
    --------
    >>> next_announced_ms(0, 60, 48 * 60), next_announced_ms(0, 60, 96 * 60 + 1)
    (3000, 6000)
    """
    end_ms = (after_ms // step_ms + 1) * step_ms
    steps = max(end_ms - last_ms, 0) // step_ms
    every = _every(steps)
    return end_ms + (-steps % every) * step_ms


def _every(steps: int) -> int:
    """Of so many steps of silence, one in how many is announced: a power of two."""
    return 1 << (steps // ALL_UPTO).bit_length()
