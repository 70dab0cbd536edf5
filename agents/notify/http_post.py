"""Posts JSON to a receiver over HTTP: to an address that was checked, once, in a limited time.

Redirects are not followed, proxies of the environment are not used (they would connect to addresses
that nobody checked), and a response is read up to a limit.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from types import ModuleType
from typing import TYPE_CHECKING
from urllib.parse import unquote

from driftline.agents.notify.channel import NotSent
from driftline.agents.notify.targets import (
    SEND_SECONDS,
    closed_after,
    connect,
    reason_of,
    trusted,
)
from driftline.agents.notify.texts import one_line, plain_key
from driftline.agents.notify.web_address import WebAddress
from driftline.schemas.notifications import Notification

if TYPE_CHECKING:
    from urllib3.connection import HTTPConnection

RESPONSE_BYTES = 4_096
SHOWN_CHARACTERS = 200
READ_SECONDS = 15.0
LONGEST_RETRY_SECONDS = 86_400.0
# The only ones of 4xx after which the same request may succeed later.
TEMPORARY = (408, 425, 429)
_IMPORT = threading.Lock()


def post_json(
    address: WebAddress,
    body: bytes,
    *,
    allow_private: bool,
    ca_file: str | None = None,
    headers: Mapping[str, str] | None = None,
    secrets: Sequence[str] = (),
) -> None:
    """Post a JSON document; it is taken if the status is 2xx.

    Parameters
    ----------
    ca_file
        Certificates of authorities to trust; by default those of the machine.
    secrets
        Texts that are left out of messages, besides path and query of the address.

    Raises
    ------
    NotSent
        In every other case, with what the receiver said about a status of 4xx.
    """
    sent = {
        "Host": address.authority,
        "Content-Type": "application/json",
        "User-Agent": "driftline",
        "Connection": "close",
        **(headers or {}),
    }
    status, retry_after, text = _exchange(address, body, sent, allow_private, ca_file)
    if 200 <= status < 300:
        return
    message = f"{address.origin}: HTTP {status}"
    if 300 <= status < 400:
        raise NotSent(
            f"{message}, a redirect, which is not followed; name the address that it leads to",
            is_permanent=True,
        )
    is_permanent = 400 <= status < 500 and status not in TEMPORARY
    if is_permanent and (said := _without(text, [address.target, *secrets])):
        message += f": {said}"
    raise NotSent(message, is_permanent=is_permanent, retry_after_s=retry_after)


def idempotency(notification: Notification) -> dict[str, str]:
    """The header by which a receiver knows a notification that it has taken already."""
    return {"Idempotency-Key": plain_key(notification.notification_id)}


def retry_after_seconds(header: str | None, now_s: float) -> float | None:
    """Seconds of a header `Retry-After`, a number or a date; at most a day, None if it is neither.

    Parameters
    ----------
    now_s
        Seconds since the epoch, for a date.

    Examples
    --------
    >>> retry_after_seconds("120", 0.0), retry_after_seconds("soon", 0.0)
    (120.0, None)
    >>> retry_after_seconds("Thu, 01 Jan 1970 00:01:00 GMT", 10.0)
    50.0
    """
    if header is None:
        return None
    header = header.strip()
    if header.isascii() and header.isdigit():
        return min(float(header[:10]), LONGEST_RETRY_SECONDS)
    try:
        date = parsedate_to_datetime(header)
    except ValueError:
        return None
    return min(max(date.timestamp() - now_s, 0.0), LONGEST_RETRY_SECONDS)


def _exchange(
    address: WebAddress,
    body: bytes,
    headers: Mapping[str, str],
    allow_private: bool,
    ca_file: str | None,
) -> tuple[int, float | None, str]:
    """Status, seconds to wait, and the beginning of the response."""
    library = _library()
    connection = _connect(address, allow_private, ca_file)
    try:
        with closed_after(lambda: connection.sock, SEND_SECONDS):
            connection.timeout = READ_SECONDS
            connection.request(
                "POST", address.target, body=body, headers=headers, preload_content=False
            )
            response = connection.getresponse()
            text = response.read(RESPONSE_BYTES, decode_content=False)
            response.close()
            wait = retry_after_seconds(response.headers.get("Retry-After"), time.time())
            return response.status, wait, text.decode("utf-8", "replace")
    except (OSError, HTTPException, library.exceptions.HTTPError) as error:
        raise NotSent(f"{address.origin}: {reason_of(error)}") from None
    finally:
        connection.close()


def _connect(address: WebAddress, allow_private: bool, ca_file: str | None) -> HTTPConnection:
    library = _library()

    def open_(ip: str, seconds: float) -> HTTPConnection:
        connection: HTTPConnection
        if address.scheme == "https":
            # The name goes into SNI and is what the certificate has to be for.
            connection = library.connection.HTTPSConnection(
                ip,
                address.port,
                timeout=seconds,
                ssl_context=trusted(ca_file),
                server_hostname=address.host,
            )
        else:
            connection = library.connection.HTTPConnection(ip, address.port, timeout=seconds)
        try:
            connection.connect()
        except library.exceptions.HTTPError as error:
            connection.close()
            raise ConnectionError(*error.args) from error
        return connection

    return connect(address.host, address.port, open_, allow_private=allow_private)


def _library() -> ModuleType:
    """urllib3, imported late: most of the program needs none."""
    # Of two threads that imported it at once, one got an ImportError and the other a KeyError.
    with _IMPORT:
        import urllib3.connection
        import urllib3.exceptions

    return urllib3


def _without(text: str, secrets: Sequence[str]) -> str:
    """What a receiver said, on one line, without what must not be shown."""
    parts = {part for secret in secrets for part in (secret, *re.split(r"[/?&=:\s]", secret))}
    # The longest first: one may be part of another. Shorter than four characters hides nothing.
    for part in sorted(parts, key=len, reverse=True):
        for written in {part, unquote(part)}:
            if len(written) >= 4:
                text = text.replace(written, "***")
    return one_line(text, SHOWN_CHARACTERS)
