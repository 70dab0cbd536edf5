"""The channel `email`, on a real SMTP server."""

from __future__ import annotations

import email
import email.policy
import socket
import threading
import time
from contextlib import suppress
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from driftline.agents.notify.channel import ChannelPlugin, NotSent
from driftline.agents.notify.channels import email as email_channel
from driftline.schemas.config import ConfigError
from tests.agents.notify.examples import channel, notification
from tests.agents.notify.receivers import Mail, certificates, free_port, smtp_receiver


def mailer(port_: int, environment: dict[str, str] | None = None, **table: Any) -> ChannelPlugin:
    defaults: dict[str, Any] = {
        "host": "localhost",
        "port": port_,
        "security": "none",
        "from_": "driftline@example.com",
        "to": ["ops@example.com", "ann@example.com"],
    }
    return channel("email", environment, **{**defaults, **table})


def parsed(mail: Mail) -> EmailMessage:
    message = email.message_from_bytes(mail.content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def test_message_has_text_html_and_an_id_that_follows_from_the_notification():
    with smtp_receiver() as receiver:
        mailer(receiver.port).send(notification())
        mailer(receiver.port).send(notification(attempts=1))
    first, second = map(parsed, receiver.mails)
    assert receiver.mails[0].sender == "driftline@example.com"
    assert receiver.mails[0].recipients == ["ops@example.com", "ann@example.com"]
    assert first["Subject"] == "[error] performance_drop of churn 1.4.2"
    assert first["Message-ID"] == second["Message-ID"] == "<n-0001@example.com>"
    assert first["References"] == "<group.group-1@example.com>"
    assert first["Date"] == "Thu, 01 Jan 2026 12:00:10 +0000"
    assert first["Auto-Submitted"] == "auto-generated"
    plain, html = first.get_body(("plain",)), first.get_body(("html",))
    assert plain is not None
    assert html is not None
    assert "recall 0.71" in plain.get_content()
    assert "<pre>recall 0.71" in html.get_content()


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_connection_is_encrypted_and_the_login_sent(security: str, tmp_path: Path):
    made = certificates(tmp_path)
    server = made.issue("localhost")
    with smtp_receiver(**{security: server}, login=("ann", "hunter2")) as receiver:
        sender = mailer(
            receiver.port,
            {"PASSWORD": "hunter2"},
            security=security,
            user="ann",
            password={"env": "PASSWORD"},
            ca_file=str(made.ca),
        )
        assert "hunter2" not in repr(sender)
        sender.send(notification())
        (mail,) = receiver.mails
    # With TLS from the start, aiosmtpd notes it for the connection only: it spoke TLS, or no word.
    assert mail.encrypted or security == "tls"
    assert mail.user == "ann"


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_certificate_that_is_not_trusted_gets_neither_login_nor_mail(security, tmp_path):
    made = certificates(tmp_path)
    for names, ca_file in ((("localhost",), None), (("other.example.com",), str(made.ca))):
        with smtp_receiver(**{security: made.issue(*names)}) as receiver:
            with pytest.raises(NotSent, match="certificate is not trusted"):
                mailer(receiver.port, security=security, ca_file=ca_file).send(notification())
            assert receiver.mails == []


def test_server_without_starttls_gets_no_mail():
    with smtp_receiver() as receiver:
        with pytest.raises(NotSent, match="STARTTLS") as refused:
            mailer(receiver.port, security="starttls").send(notification())
        assert receiver.mails == []
    assert refused.value.is_permanent


def test_wrong_password_is_permanent_and_not_shown(tmp_path: Path):
    made = certificates(tmp_path)
    with smtp_receiver(starttls=made.issue("localhost"), login=("ann", "right")) as receiver:
        sender = mailer(
            receiver.port,
            {"PASSWORD": "hunter2"},
            security="starttls",
            user="ann",
            password={"env": "PASSWORD"},
            ca_file=str(made.ca),
        )
        with pytest.raises(NotSent, match="535 to the login") as refused:
            sender.send(notification())
        assert receiver.mails == []
    assert refused.value.is_permanent
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(("answer", "is_permanent"), [("451 later", False), ("554 no", True)])
def test_answer_of_the_server_says_whether_trying_again_is_of_use(answer, is_permanent):
    with smtp_receiver() as receiver:
        receiver.answer = answer
        with pytest.raises(NotSent, match=f"{answer[:3]} to the message") as refused:
            mailer(receiver.port).send(notification())
    assert refused.value.is_permanent == is_permanent


@pytest.mark.parametrize(("answer", "is_permanent"), [("450 busy", False), ("550 none", True)])
def test_address_that_the_server_refuses_is_named(answer, is_permanent):
    with smtp_receiver() as receiver:
        receiver.refused = {"ann@example.com": answer}
        with pytest.raises(NotSent, match=r"refuses 1 of 2 .* ann@example\.com") as refused:
            mailer(receiver.port).send(notification())
        assert receiver.mails[0].recipients == ["ops@example.com"]
    assert refused.value.is_permanent == is_permanent


def test_server_that_is_away_is_an_error_to_try_again():
    with pytest.raises(NotSent, match="cannot be reached") as failed:
        mailer(free_port()).send(notification())
    assert not failed.value.is_permanent


def test_server_that_speaks_byte_by_byte_holds_a_sender_for_a_limited_time(monkeypatch):
    monkeypatch.setattr(email_channel, "SEND_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                for _ in range(400):
                    connection.sendall(b"2")
                    time.sleep(0.05)

        thread = threading.Thread(target=drip)
        thread.start()
        begin = time.monotonic()
        with pytest.raises(NotSent) as failed:
            mailer(server.getsockname()[1]).send(notification())
        assert time.monotonic() - begin < 10  # 20 s without the limit
        thread.join()
    assert not failed.value.is_permanent


@pytest.mark.parametrize(
    "changed",
    [
        {"title": "a\r\nBcc: all@example.com"},
        {"notification_id": "x>\r\nBcc: all@example.com"},
        {"group_key": "g\nBcc: all@example.com\n\nbody"},
        {"text": "\r\n.\r\nMAIL FROM:<x@example.com>\r\nRCPT TO:<all@example.com>\r\n"},
    ],
)
def test_text_with_line_feeds_adds_no_header_and_no_recipient(changed):
    with smtp_receiver() as receiver:
        mailer(receiver.port).send(notification(**changed))
    (mail,) = receiver.mails
    message = parsed(mail)
    assert mail.recipients == ["ops@example.com", "ann@example.com"]
    assert sorted(message.keys()) == [
        "Auto-Submitted",
        "Content-Type",
        "Date",
        "From",
        "MIME-Version",
        "Message-ID",
        "References",
        "Subject",
        "To",
        *["X-Peer"][: "X-Peer" in message],
    ]


@pytest.mark.parametrize(
    "table",
    [
        {"to": ["ops@example.com\nBcc: all@example.com"]},
        {"to": ["Ann <ann@example.com>"]},
        {"to": []},
        {"from_": "nobody"},
        {"user": "ann"},
        {"port": 0},
        {"user": "ann", "password": {"env": "PASSWORD"}, "security": "none"},
    ],
)
def test_settings_that_make_no_sense_are_refused_with_their_place(table):
    with pytest.raises(ConfigError, match=r"notifications\.channels\.ops"):
        mailer(25, {"PASSWORD": "hunter2"}, **table)
