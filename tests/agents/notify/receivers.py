"""Real receivers on loopback: HTTP, SMTP, and certificates for both."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


@dataclass
class Request:
    """What came."""

    path: str
    headers: dict[str, str]
    body: bytes
    server_name: str | None = None


@dataclass
class HttpReceiver:
    """A receiver of HTTP that answers with what stands in `answers`, in turn, then with 200.

    An answer is a status, or a status, headers and a body, or a function that writes to the
    handler.
    """

    answers: list[Any] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    port: int = 0
    server_names: list[str | None] = field(default_factory=list)

    def url(self, path: str = "/", host: str = "127.0.0.1", scheme: str = "http") -> str:
        """The address of a path."""
        return f"{scheme}://{host}:{self.port}{path}"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Read one request, record it and answer."""
        length = int(handler.headers.get("Content-Length", 0))
        body = handler.rfile.read(length)
        headers = {name.lower(): value for name, value in handler.headers.items()}
        self.requests.append(Request(handler.path, headers, body))
        answer = self.answers.pop(0) if self.answers else 200
        if callable(answer):
            answer(handler)
            return
        status, more, text = answer if isinstance(answer, tuple) else (answer, {}, b"ok")
        handler.send_response(status)
        for name, value in more.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(text)))
        handler.end_headers()
        handler.wfile.write(text)


@contextmanager
def http_receiver(*answers: Any, tls: ssl.SSLContext | None = None) -> Iterator[HttpReceiver]:
    """A receiver for as long as the block lasts."""
    receiver = HttpReceiver(list(answers))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            receiver.answer(self)

        do_GET = do_POST

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        # A sender that does not trust the certificate breaks off; that is no fault of the server.
        def handle_error(self, *_: object) -> None:
            pass

        def get_request(self) -> tuple[socket.socket, Any]:
            plain, address = super().get_request()
            if tls is None:
                return plain, address
            try:
                return tls.wrap_socket(plain, server_side=True), address
            except OSError:
                plain.close()
                raise

    if tls is not None:
        tls.sni_callback = lambda _, name, __: receiver.server_names.append(name)
    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class Mail:
    """One message as an SMTP server got it."""

    sender: str
    recipients: list[str]
    content: bytes
    encrypted: bool
    user: str | None


@dataclass
class SmtpReceiver:
    """What an SMTP server got; `refused` are recipients that it does not take, with its answer."""

    mails: list[Mail] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    answer: str = "250 OK"
    port: int = 0

    async def handle_RCPT(
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, session: Any, envelope: Any) -> str:
        if self.answer.startswith("250"):
            login = session.auth_data
            self.mails.append(
                Mail(
                    envelope.mail_from,
                    list(envelope.rcpt_tos),
                    envelope.content,
                    session.ssl is not None,
                    login.login.decode() if isinstance(login, LoginPassword) else None,
                )
            )
        return self.answer


@contextmanager
def smtp_receiver(
    *,
    starttls: ssl.SSLContext | None = None,
    tls: ssl.SSLContext | None = None,
    login: tuple[str, str] | None = None,
) -> Iterator[SmtpReceiver]:
    """An SMTP server, with TLS or a login if given, for as long as the block lasts."""
    receiver = SmtpReceiver(port=free_port())

    def authenticate(_s: SMTP, _session: Any, _e: Any, _mechanism: str, data: Any) -> AuthResult:
        right = isinstance(data, LoginPassword) and login is not None
        right = right and (data.login.decode(), data.password.decode()) == login
        # Not handled: aiosmtpd sends the refusal.
        return AuthResult(success=right, handled=right, auth_data=data)

    options: dict[str, Any] = {}
    if starttls is not None:
        options |= {"tls_context": starttls, "require_starttls": True}
    if login is not None:
        options |= {
            "authenticator": authenticate,
            "auth_required": True,
            # With TLS from the start aiosmtpd sees no STARTTLS.
            "auth_require_tls": tls is None,
        }
    controller = Controller(
        receiver, hostname="127.0.0.1", port=receiver.port, ssl_context=tls, **options
    )
    controller.start()
    try:
        yield receiver
    finally:
        controller.stop()


def free_port() -> int:
    """A port of loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Certificates:
    """An authority of its own, in the file `ca`, and what servers use."""

    ca: Path
    issue: Callable[..., ssl.SSLContext]


def certificates(folder: Path) -> Certificates:
    """An authority that no machine trusts."""
    authority = trustme.CA()
    pem = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(pem))

    def issue(*names: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*names).configure_cert(context)
        return context

    return Certificates(pem, issue)
