"""Channel: e-mail over SMTP."""

from __future__ import annotations

import html
import re
import smtplib
import socket
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Literal

from driftline.agents.notify.channel import NetworkChannel, NotSent
from driftline.agents.notify.setting_types import SecretText
from driftline.agents.notify.targets import (
    SEND_SECONDS,
    closed_after,
    connect,
    reason_of,
    trusted,
)
from driftline.agents.notify.texts import one_line, plain_key, text_of, title_of
from driftline.schemas.notifications import Notification

PORTS = {"starttls": 587, "tls": 465, "none": 25}
READ_SECONDS = 15.0
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*", re.ASCII)


class EmailChannel(
    NetworkChannel,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="email",
    rename={"from_": "from"},
):
    """Sends plain text and the same as HTML.

    `Message-ID` follows from the id of the notification, so a mailbox can tell a second attempt,
    and the messages about one group of alerts are one thread.

    Parameters
    ----------
    host, port
        Of the SMTP server; the port by default 587, 465 or 25, as `security` needs it.
    security
        "starttls": an ordinary connection that must turn to TLS; "tls": TLS from the start; "none":
        no encryption, and no login.
    from_, to
        `from` and `to`: addresses without names.
    user, password
        The login, if the server wants one.
    """

    host: str
    from_: str
    to: tuple[str, ...]
    port: int | None = None
    security: Literal["starttls", "tls", "none"] = "starttls"
    user: str | None = None
    password: SecretText | None = None

    def __post_init__(self) -> None:
        for address in (self.from_, *self.to):
            if not _ADDRESS.fullmatch(address) or len(address) > 254:
                raise ValueError(f'"{one_line(address, 100)}" is not an address such as "a@b.org"')
        if not self.to:
            raise ValueError('"to" is empty; at least one address is needed')
        if (self.user is None) != (self.password is None):
            raise ValueError('needs both "user" and "password", or neither')
        if self.user is not None and self.security == "none":
            raise ValueError('"password" would be sent in plain text; use another "security"')
        if self.port is not None and not 0 < self.port < 65_536:
            raise ValueError('"port" has to be from 1 to 65535')

    def send(self, notification: Notification, /) -> None:
        """Hand it to the server once."""
        port = self.port or PORTS[self.security]
        place = f"{self.host}:{port}"
        client = _Client(self.host, self._connected(port))
        try:
            with closed_after(lambda: client.sock, SEND_SECONDS):
                client.greet()
                self._log_in(client)
                refused = client.send_message(self.message(notification), self.from_, self.to)
                if refused:
                    raise smtplib.SMTPRecipientsRefused(refused)
        except smtplib.SMTPRecipientsRefused as error:
            raise self._refused(place, error.recipients) from None
        except smtplib.SMTPResponseException as error:
            raise NotSent(
                f"{place}: the server answers {error.smtp_code} to {_step(error)}",
                is_permanent=500 <= error.smtp_code < 600,
            ) from None
        except smtplib.SMTPNotSupportedError:
            raise NotSent(
                f"{place}: the server does not offer what is needed: "
                + ("STARTTLS" if self.security == "starttls" else "a login"),
                is_permanent=True,
            ) from None
        except (OSError, smtplib.SMTPException) as error:
            raise NotSent(f"{place}: {reason_of(error)}") from None
        finally:
            client.close()

    def message(self, notification: Notification) -> EmailMessage:
        """The message; `SMTP` refuses a header with a line feed, and none has one."""
        domain = self.from_.rpartition("@")[2]
        title, text = title_of(notification), text_of(notification)
        mark = "resolved" if notification.kind == "resolved" else notification.severity
        message = EmailMessage(policy=SMTP)
        message["Subject"] = f"[{mark}] {title}"
        message["From"] = self.from_
        message["To"] = ", ".join(self.to)
        planned = datetime.fromtimestamp(notification.planned_at_ms / 1000, UTC)
        message["Date"] = format_datetime(planned)
        message["Message-ID"] = f"<{plain_key(notification.notification_id)}@{domain}>"
        if notification.group_key:
            message["References"] = f"<group.{plain_key(notification.group_key)}@{domain}>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(f"{title}\n\n{text}\n")
        message.add_alternative(
            f"<h3>{html.escape(title)}</h3>\n<pre>{html.escape(text)}</pre>\n", subtype="html"
        )
        return message

    def _connected(self, port: int) -> socket.socket:
        def open_(address: str, seconds: float) -> socket.socket:
            plain = socket.create_connection((address, port), timeout=seconds)
            if self.security != "tls":
                return plain
            try:
                return trusted(self.ca_file).wrap_socket(plain, server_hostname=self.host)
            except BaseException:
                plain.close()
                raise

        return connect(self.host, port, open_, allow_private=self.allow_private)

    def _log_in(self, client: _Client) -> None:
        client.ehlo_or_helo_if_needed()
        if self.security == "starttls":
            client.starttls(context=trusted(self.ca_file))
        if self.user is not None and self.password is not None:
            client.login(self.user, self.password.reveal())

    def _refused(self, place: str, refused: dict[str, tuple[int, bytes]]) -> NotSent:
        codes = [code for code, _ in refused.values()]
        return NotSent(
            f"{place}: the server refuses {len(refused)} of {len(self.to)} addresses of to: "
            + ", ".join(f"{address} ({code})" for address, (code, _) in refused.items()),
            is_permanent=all(500 <= code < 600 for code in codes),
        )


class _Client(smtplib.SMTP):
    """Speaks over a connection that was made to an address that was checked.

    Parameters
    ----------
    host
        What `starttls` verifies the certificate against.
    """

    def __init__(self, host: str, connected: socket.socket) -> None:
        super().__init__(local_hostname=socket.gethostname())
        self._host = host
        connected.settimeout(READ_SECONDS)
        self.sock = connected

    def greet(self) -> None:
        """Wait for the greeting."""
        code, text = self.getreply()
        if code != 220:
            raise smtplib.SMTPConnectError(code, text)


def _step(error: smtplib.SMTPResponseException) -> str:
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return "the login"
    if isinstance(error, smtplib.SMTPSenderRefused):
        return "the sender"
    return "the message" if isinstance(error, smtplib.SMTPDataError) else "the connection"
