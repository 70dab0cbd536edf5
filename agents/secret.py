"""Secrets that the configuration refers to: read from the environment or a file, shown nowhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from driftline.schemas.errors import DriftlineError
from driftline.schemas.secrets import Secret


class SecretError(DriftlineError):
    """A secret cannot be read; the message names its source and what to do."""


class SecretText:
    """A secret that has been read. It has no text but the one that `reveal` gives.

    Examples
    --------
    >>> password = SecretText("hunter2")
    >>> f"{password} {password!r}", password.reveal()
    ('*** SecretText(***)', 'hunter2')
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The secret itself."""
        return self._text

    def __str__(self) -> str:
        return "***"

    def __repr__(self) -> str:
        return "SecretText(***)"


def secret_text(secret: Secret, environment: Mapping[str, str]) -> str:
    """The text that a reference stands for; of a file without the line feed at its end.

    Raises
    ------
    SecretError
        If the variable is not set, the file cannot be read, or either is empty.

    Examples
    --------
    >>> secret_text(Secret(env="PASSWORD"), {"PASSWORD": "hunter2"})
    'hunter2'
    """
    if secret.env is not None:
        value = environment.get(secret.env)
        if not value:
            raise SecretError(
                f"the environment variable {secret.env} is not set; set it, or name another one"
            )
        return value
    assert secret.file is not None  # the settings require one of the two
    try:
        value = Path(secret.file).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SecretError(
            f"{secret.file} cannot be read: {getattr(error, 'strerror', None) or 'no text'}"
        ) from error
    if not value:
        raise SecretError(f"{secret.file} is empty; it must hold the secret and nothing else")
    return value
