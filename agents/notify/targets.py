"""Connects to the target of a channel, which must not be an address of the own network.

A channel's settings name a host, and whoever controls its name decides where it leads: to a
database, to a cloud's metadata service. The name is resolved once, each address is checked, and the
connection is made to the address that was checked, so that a name which changes its mind in between
(DNS rebinding) leads nowhere else.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from driftline.agents.notify.channel import NotSent
from driftline.agents.notify.texts import one_line

Connection = TypeVar("Connection")

CONNECT_SECONDS = 10.0
SEND_SECONDS = 20.0
"""How long a connection may last in all, however slowly the other side speaks."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Addresses that carry an IPv4 address, which a gateway connects to: NAT64 (RFC 6052), and the
# IPv4-compatible ones (RFC 4291), whose prefix has all other bits zero.
_CARRIERS = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("::/96"))


def connect(
    host: str, port: int, open_: Callable[[str, float], Connection], *, allow_private: bool
) -> Connection:
    """A connection to the first address of the host that answers.

    Parameters
    ----------
    open_
        Connects to an address within so many seconds, or raises OSError.

    Raises
    ------
    NotSent
        If the name leads to an address that is refused (permanent), to none, or to none that
        answers.
    """
    deadline = time.monotonic() + CONNECT_SECONDS
    reason = "no answer in time"
    for address in resolve(host, port, allow_private=allow_private):
        left = deadline - time.monotonic()
        if left <= 0:
            break
        try:
            return open_(address, left)
        except OSError as error:
            reason = reason_of(error)
    raise NotSent(f"{host}:{port}: cannot be reached: {reason}")


def reason_of(error: BaseException) -> str:
    """Why a connection failed, without what was sent over it."""
    for cause in (error, *error.args, error.__context__):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {cause.verify_message}"
        if isinstance(cause, TimeoutError):
            return "no answer in time"
        if isinstance(cause, ssl.SSLError):
            return f"TLS failed: {cause.reason}"
        if isinstance(cause, OSError) and cause.strerror:
            return one_line(cause.strerror)
    return type(error).__name__


def trusted(ca_file: str | None) -> ssl.SSLContext:
    """Verification of certificates and host names, by the machine's authorities or those of a file.

    Raises
    ------
    NotSent
        If the file cannot be used.
    """
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise NotSent(f"{ca_file}: cannot be used: {error.strerror or 'no certificate'}") from error


def resolve(host: str, port: int, *, allow_private: bool) -> list[str]:
    """The addresses of a host, in the order in which to try them.

    Raises
    ------
    NotSent
        If there are none, or if one of them is not public and `allow_private` is false: a name with
        both kinds is either a mistake or an attempt.

    Examples
    --------
    >>> resolve("127.0.0.1", 80, allow_private=True)
    ['127.0.0.1']
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "not a name of a host"
        raise NotSent(f"{host}: its address cannot be looked up: {reason}") from error
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    for address in addresses:
        kind = not_public(address)
        if kind and not allow_private:
            raise NotSent(
                f"{host}: has the address {address}, which is {kind}; if that is meant, set"
                " allow_private = true for this channel",
                is_permanent=True,
            )
    return addresses


def not_public(address: str) -> str | None:
    """What an address is if not one of the public internet, else None.

    Of an address that carries an IPv4 address (mapped, 6to4, NAT64) both count.

    Examples
    --------
    >>> [not_public(each) for each in ("93.184.216.34", "::ffff:10.0.0.1", "fe80::1%eth0")]
    [None, 'private', 'link-local']
    """
    parsed = ipaddress.ip_address(address)
    carried = None if parsed.version == 4 else _carried(parsed)
    if carried is not None:
        # The carrier's own range says nothing: all of ::/8 counts as reserved.
        return _kind(carried)
    return _kind(parsed)


def _carried(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if int(address) > 1 and any(address in network for network in _CARRIERS):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def _kind(address: Address) -> str | None:
    """The first word that applies."""
    if isinstance(address, ipaddress.IPv6Address) and address.is_site_local:
        return "site-local"
    for kind in ("unspecified", "loopback", "link_local", "multicast"):
        if getattr(address, f"is_{kind}"):
            return kind.replace("_", "-")
    if not address.is_global and not address.is_reserved:
        return "private"
    return "reserved" if address.is_reserved else None


@contextmanager
def closed_after(current: Callable[[], socket.socket | None], seconds: float) -> Iterator[None]:
    """Shut a connection down after a time, which ends a read that waits for it.

    Parameters
    ----------
    current
        The socket at that time: a connection that turns to TLS gets another one.

    Timeouts of sockets are per read: a receiver that sends one byte at a time would hold a sender
    for as long as it likes.
    """

    def shut_down() -> None:
        connection = current()
        if connection is not None:
            with suppress(OSError):
                # Not the method of `SSLSocket`, which forgets that the connection was encrypted.
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    timer = threading.Timer(seconds, shut_down)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
