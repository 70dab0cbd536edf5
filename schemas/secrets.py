"""References to secrets, which never stand in the configuration themselves.

Whoever needs a secret reads it at the edge, when it connects.
"""

from typing import Any

from msgspec import Struct

from driftline.schemas.config_values import InvalidValue, check_keys, describe

__all__ = ["Secret", "read_secret"]

_KEYS = ("env", "file")


class Secret(Struct, frozen=True, kw_only=True):
    """Reference to a secret: an environment variable, or a file that holds nothing else."""

    env: str | None = None
    file: str | None = None


def read_secret(value: Any) -> Secret:
    """The reference that a value of the configuration is.

    Raises
    ------
    ValueError, InvalidValue
        If it is no reference; see `config_values`.

    Examples
    --------
    >>> read_secret({"env": "PAGER_KEY"}).env
    'PAGER_KEY'
    """
    if isinstance(value, str):
        raise ValueError(
            "is a secret in plain text, which must not be in this file; "
            'write { env = "NAME" } or { file = "/path" }'
        )
    if not isinstance(value, dict):
        raise ValueError(
            'is not a reference to a secret; write { env = "NAME" } or { file = "/path" }'
        )
    check_keys(value, _KEYS, ".")
    if len(value) != 1:
        raise ValueError('needs one of "env" and "file"')
    ((key, name),) = value.items()
    if not isinstance(name, str) or not name:
        raise InvalidValue(f".{key}", f"is {describe(name)}, not a name")
    return Secret(**value)
