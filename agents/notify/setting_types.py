"""Types of a channel's settings that are read from references: `{ env = "NAME" }` or
`{ file = "/path" }`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from driftline.agents.notify.web_address import WebAddress
from driftline.agents.secret import SecretError, SecretText, secret_text
from driftline.schemas.config_values import InvalidValue
from driftline.schemas.secrets import read_secret

__all__ = ["SecretAddress", "SecretText", "WebAddress", "setting_reader"]


class SecretAddress(WebAddress):
    """A URL that is a secret as a whole, so that the file may only refer to it."""

    __slots__ = ()


def setting_reader(environment: Mapping[str, str]) -> Callable[[type, Any], Any]:
    """What converts values of the file to these types, as `dec_hook` of msgspec.

    Parameters
    ----------
    environment
        Where the variables are that the file names.

    Examples
    --------
    >>> read = setting_reader({"KEY": "hunter2"})
    >>> read(SecretText, {"env": "KEY"}), read(WebAddress, "https://host/path")
    (SecretText(***), WebAddress(https://host/...))
    >>> read(SecretText, {"env": "PASSWORD"})
    Traceback (most recent call last):
    ...
    ValueError: the environment variable PASSWORD is not set; set it, or name another one
    """

    def read(kind: type, value: Any) -> Any:
        if kind not in (SecretText, WebAddress, SecretAddress):
            raise NotImplementedError(f"{kind} is not a type of settings")
        if kind is WebAddress and isinstance(value, str):
            return WebAddress(value)
        try:
            return kind(secret_text(read_secret(value), environment))
        except InvalidValue as error:
            raise ValueError(f'"{error.where.lstrip(".")}" {error.message}') from error
        except SecretError as error:
            raise ValueError(str(error)) from error

    return read
