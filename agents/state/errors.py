"""Error of the state database."""

from __future__ import annotations


class StateError(Exception):
    """The state database cannot be opened, read or written; the message says what to do."""
