"""Types of a channel's settings that are read from references: `{ env = "NAME" }` or
`{ file = "/path" }`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from driftline.agents.notify.web_address import WebAddress
from driftline.agents.secret import SecretError, SecretText
from driftline.schemas.config_values import InvalidValue
from driftline.schemas.secrets import Secret, read_secret

__all__ = ["SecretAddress", "SecretText", "WebAddress", "setting_reader"]


class SecretAddress(WebAddress):
    """A URL that is a secret as a whole, so that the file may only refer to it."""

    __slots__ = ()


def setting_reader(text_of: Callable[[Secret], str]) -> Callable[[type, Any], Any]:
    """What converts values of the file to these types, as `dec_hook` of msgspec.

    Parameters
    ----------
    text_of
        Gives the text that a reference stands for; raises SecretError if it cannot be read.

    Examples
    --------
    >>> read = setting_reader(lambda reference: "https://host/hunter2")
    >>> read(SecretText, {"env": "KEY"}), read(WebAddress, "https://host/path")
    (SecretText(***), WebAddress(https://host/...))
    """

    def read(kind: type, value: Any) -> Any:
        if kind not in (SecretText, WebAddress, SecretAddress):
            raise NotImplementedError(f"{kind} is not a type of settings")
        if kind is WebAddress and isinstance(value, str):
            return WebAddress(value)
        try:
            return kind(text_of(read_secret(value)))
        except InvalidValue as error:
            raise ValueError(f'"{error.where.lstrip(".")}" {error.message}') from error
        except SecretError as error:
            raise ValueError(str(error)) from error

    return read
