"""The base of Driftline's exceptions."""

__all__ = ["DriftlineError"]


class DriftlineError(Exception):
    """Driftline cannot do what was asked; the message says what is wrong, where, and what to do."""
