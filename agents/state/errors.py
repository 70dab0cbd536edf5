"""What goes wrong with the database of a state."""

from __future__ import annotations


class StateError(Exception):
    """The state database cannot be opened, read or written; the message says what to do."""
