"""Which addresses a channel may connect to, and that it connects to the one that was checked."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from driftline.agents.notify.channel import NotSent
from driftline.agents.notify.targets import not_public, resolve
from driftline.agents.notify.web_address import WebAddress
from tests.agents.notify.examples import channel, notification
from tests.agents.notify.receivers import http_receiver, smtp_receiver

# Of each kind: IPv4, IPv6, and IPv4 inside IPv6 (mapped, 6to4, NAT64, compatible).
REFUSED = """
127.0.0.1 127.8.9.1 ::1 ::ffff:127.0.0.1 2002:7f00:1:: 64:ff9b::7f00:1 ::127.0.0.1
10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 100.64.0.1 fc00::1 fd12:3456::1 ::ffff:192.168.1.1
2002:a00:1:: 64:ff9b::a00:1
169.254.169.254 fe80::1 fe80::1%eth0 ::ffff:169.254.169.254 64:ff9b::a9fe:a9fe fec0::1
224.0.0.1 239.255.255.255 ff02::1 ff0e::1 ::ffff:224.0.0.1
0.0.0.0 0.1.2.3 :: 240.0.0.1 255.255.255.255 ::ffff:255.255.255.255 192.0.2.1 198.18.0.1
203.0.113.7 2001:db8::1 100::1 4000::1 64:ff9b:1::a00:1
""".split()
ALLOWED = """
8.8.8.8 93.184.216.34 172.15.255.255 172.32.0.1 192.167.1.1 11.0.0.1 128.0.0.1 223.255.255.254
2606:4700:4700::1111 2a00:1450:4001:82a::200e ::ffff:8.8.8.8 64:ff9b::808:808 2002:808:808::
""".split()


@pytest.mark.parametrize("address", REFUSED)
def test_address_that_is_not_of_the_public_internet_is_refused(address):
    assert not_public(address)


@pytest.mark.parametrize("address", ALLOWED)
def test_public_address_is_allowed(address):
    assert not_public(address) is None


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1", "0x7f000001", "2130706433", "0", "localhost", "::1"]
)
def test_host_is_refused_however_it_is_written(host):
    with pytest.raises(NotSent) as refused:
        resolve(host, 80, allow_private=False)
    assert refused.value.is_permanent
    assert "allow_private = true" in str(refused.value)


def test_name_with_a_public_and_a_private_address_is_refused(monkeypatch):
    answers(monkeypatch, [["93.184.216.34", "10.0.0.1"]])
    with pytest.raises(NotSent, match=r"10\.0\.0\.1, which is private"):
        resolve("two.example.com", 80, allow_private=False)


def test_name_is_looked_up_once_so_that_it_cannot_change_after_the_check(monkeypatch):
    """The name server says a public address first and loopback afterwards."""
    with http_receiver() as receiver:
        asked = answers(monkeypatch, [["192.88.99.7"], ["127.0.0.1"], ["127.0.0.1"]])
        connected: list[tuple[str, int]] = []

        def connect(address, *_, **__):
            connected.append(address)
            raise OSError(111, "Connection refused")

        monkeypatch.setattr("urllib3.util.connection.create_connection", connect)
        monkeypatch.setattr("driftline.agents.notify.targets.not_public", lambda _: None)
        url = receiver.url(host="rebinding.example.com")
        with pytest.raises(NotSent, match="cannot be reached"):
            channel("webhook", url=url, allow_private=False).send(notification())
        assert connected == [("192.88.99.7", receiver.port)]
        assert asked == ["rebinding.example.com"]
        assert receiver.requests == []


@pytest.mark.parametrize("type_", ["webhook", "alertmanager", "slack", "pagerduty"])
def test_no_channel_posts_to_loopback_unless_it_is_allowed(type_):
    with http_receiver() as receiver:
        environment = {"URL": receiver.url(), "KEY": "k" * 32}
        table: dict[str, Any] = {"url": {"env": "URL"}}
        if type_ == "pagerduty":
            table["routing_key"] = {"env": "KEY"}
        with pytest.raises(NotSent, match="which is loopback") as refused:
            channel(type_, environment, allow_private=False, **table).send(notification())
        assert refused.value.is_permanent
        assert receiver.requests == []
        channel(type_, environment, **table).send(notification())
        assert len(receiver.requests) == 1


def test_no_mail_goes_to_loopback_unless_it_is_allowed():
    with smtp_receiver() as receiver:
        table = {
            "host": "localhost",
            "port": receiver.port,
            "security": "none",
            "from_": "driftline@example.com",
            "to": ["ops@example.com"],
        }
        with pytest.raises(NotSent, match="which is loopback"):
            channel("email", allow_private=False, **table).send(notification())
        assert receiver.mails == []
        channel("email", **table).send(notification())
        assert len(receiver.mails) == 1


@pytest.mark.parametrize(
    "text",
    [
        "ftp://host/x",
        "host/x",
        "https://",
        "https://user:hunter2@host/x",
        "https://host:hunter2/x",
        "https://host:99999/x",
        "https://host/a b",
        "https://host/\r\nX-Header: hunter2",
        "https://[::1/x",
        "javascript:alert(1)",
    ],
)
def test_text_that_is_no_url_of_a_receiver_is_refused_and_not_repeated(text):
    with pytest.raises(ValueError) as refused:
        WebAddress(text)
    assert "hunter2" not in str(refused.value)
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


@pytest.mark.parametrize(
    ("text", "host", "port", "target", "authority"),
    [
        ("https://Host.example.com", "host.example.com", 443, "/", "host.example.com"),
        ("http://[::1]:9093/am?x=1", "::1", 9093, "/am?x=1", "[::1]:9093"),
        ("https://host/ä/%41", "host", 443, "/%C3%A4/%41", "host"),
        ("https://bücher.example/", "xn--bcher-kva.example", 443, "/", "xn--bcher-kva.example"),
    ],
)
def test_parts_of_a_url(text, host, port, target, authority):
    address = WebAddress(text)
    assert (address.host, address.port, address.target) == (host, port, target)
    assert address.authority == authority


def answers(monkeypatch, turns: list[list[str]]) -> list[str]:
    """Let a name server answer with these addresses in turn; returns the names it was asked for."""
    asked: list[str] = []

    def look_up(host, port, *_, **__):
        asked.append(host)
        return [
            (
                socket.AF_INET,
                socket.SOCK_STREAM,
                6,
                "",
                (address, port),
            )
            for address in turns.pop(0)
        ]

    monkeypatch.setattr("driftline.agents.notify.targets.socket.getaddrinfo", look_up)
    return asked
