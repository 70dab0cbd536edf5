"""Error of the state database."""

from __future__ import annotations

from driftline.schemas.errors import DriftlineError


class StateError(DriftlineError):
    """The state database cannot be opened, read or written; the message says what to do."""
