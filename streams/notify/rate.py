"""How many messages a channel gets: a bucket of half the limit that fills up evenly.

The other half comes one by one over the span. So what is above the limit waits for a part of the
span only, and still no span has more messages than the limit.
"""

from __future__ import annotations

from driftline.schemas.notification_settings import RateLimit


def burst(limit: RateLimit) -> int:
    """Most messages at one time, at least 1."""
    return max(1, limit.messages // 2)


def gap_ms(limit: RateLimit) -> int:
    """Time in which the bucket gains one message.

    Examples
    --------
    >>> limit = RateLimit(messages=20, span_ms=3_600_000)
    >>> burst(limit), gap_ms(limit)
    (10, 327273)
    """
    return -(-limit.span_ms // (limit.messages - burst(limit) + 1))


def room(limit: RateLimit, full_ms: int, now_ms: int) -> int:
    """Number of messages that may be sent at a time.

    Parameters
    ----------
    full_ms
        When the bucket is full again if nothing more is sent.
    """
    missing = -(-max(0, full_ms - now_ms) // gap_ms(limit))
    return burst(limit) - missing


def spend(limit: RateLimit, full_ms: int, now_ms: int) -> int:
    """`full_ms` after one more message.

    Examples
    --------
    >>> limit, full_ms = RateLimit(messages=3, span_ms=60_000), 0
    >>> room(limit, full_ms, 0), gap_ms(limit)
    (1, 20000)
    >>> full_ms = spend(limit, full_ms, 0)
    >>> room(limit, full_ms, 19_999), room(limit, full_ms, 20_000)
    (0, 1)
    """
    return max(full_ms, now_ms) + gap_ms(limit)


def room_ms(limit: RateLimit, full_ms: int) -> int:
    """From when on there is room for a message."""
    return full_ms - (burst(limit) - 1) * gap_ms(limit)
