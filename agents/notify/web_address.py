"""The address that a channel posts to: read once, and shown without its path, which is a secret of
many services.
"""

from __future__ import annotations

from urllib.parse import quote, urlsplit

_PORTS = {"http": 80, "https": 443}
# Characters of a path or query that stay as they are; % because it may be encoded already.
_SAFE = "/?&=%:@!$'()*+,;~-._[]"


class WebAddress:
    """An http or https URL.

    Attributes
    ----------
    scheme, host, port
        The host without the brackets of an IPv6 address.
    target
        Path and query, as sent to the receiver.

    Raises
    ------
    ValueError
        If the text is not such a URL; the message does not repeat it.

    Examples
    --------
    >>> address = WebAddress("https://hooks.example.com/services/T0/B0/key")
    >>> address, address.target
    (WebAddress(https://hooks.example.com/...), '/services/T0/B0/key')
    """

    __slots__ = ("host", "port", "scheme", "target")

    def __init__(self, text: str) -> None:
        if not text.isprintable() or " " in text:
            raise ValueError("is not a URL: it has a space or a control character in it")
        try:
            parts = urlsplit(text)
            port, host = parts.port, parts.hostname
        except ValueError as error:
            raise ValueError("is not a URL: its host or port is not valid") from error
        if parts.scheme not in _PORTS or not host:
            raise ValueError('is not a URL such as "https://host/path"')
        if parts.username is not None or parts.password is not None:
            raise ValueError("must not have a user or password in it; a secret has its own key")
        try:
            self.host = host if host.isascii() else host.encode("idna").decode()
        except UnicodeError as error:
            raise ValueError("is not a URL: its host is not a name") from error
        self.scheme, self.port = parts.scheme, port or _PORTS[parts.scheme]
        path = quote(parts.path or "/", safe=_SAFE)
        self.target = path + (f"?{quote(parts.query, safe=_SAFE)}" if parts.query else "")

    def below(self, path: str) -> WebAddress:
        """The address of a path below this one; a query is left out.

        Examples
        --------
        >>> WebAddress("http://alerts:9093/am/").below("/api/v2/alerts").target
        '/am/api/v2/alerts'
        """
        return WebAddress(f"{self.origin}{self.target.partition('?')[0].rstrip('/')}{path}")

    @property
    def authority(self) -> str:
        """Host, and the port where it is not the usual one: the header `Host`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """What may be shown."""
        return f"{self.scheme}://{self.authority}"

    def __repr__(self) -> str:
        return f"WebAddress({self.origin}/...)"
