"""Texts of a notification as every channel may show them: nothing in them is obeyed by a terminal.

Names come from the records of others, so they may hold anything. What a service would obey, such
as markup, its channel escapes.
"""

from __future__ import annotations

import hashlib
import re

from driftline.agents.terminal import inert
from driftline.schemas.notifications import Notification

TITLE_CHARACTERS = 200
TEXT_CHARACTERS = 4_000


def title_of(notification: Notification) -> str:
    """The title: one line of at most 200 characters."""
    return one_line(notification.title, TITLE_CHARACTERS)


def text_of(notification: Notification, limit: int = TEXT_CHARACTERS) -> str:
    """The text: lines of at most `limit` characters together."""
    return cut(inert(notification.text), limit)


def plain_key(key: str) -> str:
    """A key as it may stand in a header or an address: itself, or its SHA-256 if it is longer than
    64 characters or has others than letters, digits, "-", "_" and ".".

    Examples
    --------
    >>> plain_key("n-0001"), plain_key("n 1")[:8]
    ('n-0001', '94c3fa00')
    """
    if re.fullmatch(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", key, re.ASCII) and len(key) <= 64:
        return key
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def one_line(text: str, limit: int | None = None) -> str:
    r"""A text on one line, without what a terminal would obey.

    Examples
    --------
    >>> one_line("churn\n\x1b[31m  1.4")
    'churn \\x1b[31m 1.4'
    """
    line = " ".join(inert(text).split())
    return line if limit is None else cut(line, limit)


def cut(text: str, limit: int) -> str:
    """The beginning of a text; an ellipsis at its end says that there was more.

    Examples
    --------
    >>> cut("accuracy", 8), cut("accuracy", 5)
    ('accuracy', 'accu…')
    """
    return text if len(text) <= limit else text[: limit - 1] + "…"
