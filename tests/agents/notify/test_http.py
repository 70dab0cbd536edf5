"""Posting to a receiver over HTTP: what counts as taken, for how long one waits, what is shown."""

from __future__ import annotations

import time
from email.utils import formatdate
from pathlib import Path

import pytest

from driftline.agents.notify import http_post
from driftline.agents.notify.channel import NotSent
from driftline.agents.notify.http_post import post_json
from driftline.agents.notify.web_address import WebAddress
from tests.agents.notify.receivers import certificates, http_receiver

SECRET_PATH = "/services/T000/hunter2?token=geheim"


def post(url: str, **options) -> None:
    post_json(WebAddress(url), b"{}", **{"allow_private": True, **options})


def failure(url: str, **options) -> NotSent:
    with pytest.raises(NotSent) as failed:
        post(url, **options)
    assert "hunter2" not in str(failed.value)
    assert "geheim" not in str(failed.value)
    return failed.value


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_any_status_of_success_counts_as_taken(status):
    with http_receiver(status) as receiver:
        post(receiver.url(SECRET_PATH))
    (request,) = receiver.requests
    assert request.path == SECRET_PATH
    assert request.headers["content-type"] == "application/json"
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"


@pytest.mark.parametrize(
    ("status", "is_permanent"),
    [
        *((status, True) for status in (400, 401, 403, 404, 410, 413, 422)),
        *((status, False) for status in (408, 425, 429, 500, 502, 503, 504)),
    ],
)
def test_a_status_says_whether_trying_again_is_of_use(status, is_permanent):
    with http_receiver(status) as receiver:
        failed = failure(receiver.url(SECRET_PATH))
    assert failed.is_permanent == is_permanent
    assert f"HTTP {status}" in str(failed)
    assert f"http://127.0.0.1:{receiver.port}" in str(failed)


@pytest.mark.parametrize("status", [429, 503])
def test_receiver_that_asks_to_wait_is_heard(status):
    with http_receiver((status, {"Retry-After": "37"}, b"")) as receiver:
        failed = failure(receiver.url())
    assert failed.retry_after_s == 37.0


def test_receiver_that_asks_to_wait_until_a_time_is_heard():
    until = formatdate(time.time() + 600, usegmt=True)
    with http_receiver((503, {"Retry-After": until}, b"")) as receiver:
        failed = failure(receiver.url())
    assert failed.retry_after_s == pytest.approx(600, abs=10)


def test_waiting_longer_than_a_day_or_for_nonsense_is_not_asked_for():
    assert http_post.retry_after_seconds("9" * 400, 0.0) == 86_400.0
    assert http_post.retry_after_seconds("-5", 0.0) is None
    assert http_post.retry_after_seconds("Thu, 01 Jan 1970 00:00:00 GMT", 50.0) == 0.0


def test_redirect_is_not_followed():
    with http_receiver() as target:
        with http_receiver((302, {"Location": target.url("/inner")}, b"")) as receiver:
            failed = failure(receiver.url(SECRET_PATH))
        assert target.requests == []
    assert failed.is_permanent
    assert "redirect" in str(failed)


def test_what_a_receiver_says_is_shown_without_the_secrets_that_it_repeats():
    said = b"no hook hunter2 here, token=geheim, key s3cret\x1b[31m\nsecond line" + b"x" * 10_000
    with http_receiver((404, {}, said)) as receiver:
        failed = failure(receiver.url(SECRET_PATH), secrets=["s3cret"])
    assert "no hook *** here" in str(failed)
    assert "s3cret" not in str(failed)
    assert str(failed).isprintable()
    assert len(str(failed)) < 300


def test_response_without_end_is_read_up_to_a_limit():
    written = []

    def flood(handler):
        handler.send_response(200)
        handler.end_headers()
        try:
            for _ in range(20_000):
                handler.wfile.write(b"x" * 65_536)
                written.append(65_536)
        except OSError:
            pass

    with http_receiver(flood) as receiver:
        post(receiver.url())
    # What fits into the buffers of the sockets, not the 1.3 GB.
    assert sum(written) < 100 * 2**20


def test_receiver_that_answers_byte_by_byte_holds_a_sender_for_a_limited_time(monkeypatch):
    monkeypatch.setattr(http_post, "SEND_SECONDS", 0.5)

    def drip(handler):
        try:
            for byte in b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 500:
                handler.wfile.write(bytes([byte]))
                handler.wfile.flush()
                time.sleep(0.05)
        except OSError:
            pass

    with http_receiver(drip) as receiver:
        begin = time.monotonic()
        failed = failure(receiver.url(SECRET_PATH))
        assert time.monotonic() - begin < 10  # 26 s without the limit
    assert not failed.is_permanent


def test_receiver_that_is_silent_is_given_up(monkeypatch):
    monkeypatch.setattr(http_post, "READ_SECONDS", 0.2)
    with http_receiver(lambda handler: time.sleep(1)) as receiver:
        failed = failure(receiver.url(SECRET_PATH))
    assert "no answer in time" in str(failed)
    assert not failed.is_permanent


def test_receiver_that_speaks_no_http_is_an_error_to_try_again():
    def nonsense(handler):
        handler.wfile.write(b"\x00\x01\x02 hunter2\r\n\r\n")

    with http_receiver(nonsense) as receiver:
        assert not failure(receiver.url(SECRET_PATH)).is_permanent


def test_receiver_that_is_away_is_an_error_to_try_again():
    with http_receiver() as receiver:
        url = receiver.url(SECRET_PATH)
    failed = failure(url)
    assert not failed.is_permanent
    assert "cannot be reached" in str(failed)


def test_certificate_of_an_authority_that_is_not_trusted_is_refused(tmp_path: Path):
    made = certificates(tmp_path)
    with http_receiver(tls=made.issue("127.0.0.1")) as receiver:
        failed = failure(receiver.url(SECRET_PATH, scheme="https"))
        assert receiver.requests == []
        assert "certificate is not trusted" in str(failed)
        post(receiver.url(SECRET_PATH, scheme="https"), ca_file=str(made.ca))
    assert len(receiver.requests) == 1


def test_name_is_verified_and_sent_though_the_connection_is_to_an_address(tmp_path: Path):
    made = certificates(tmp_path)
    with http_receiver(tls=made.issue("localhost")) as receiver:
        post(receiver.url(host="localhost", scheme="https"), ca_file=str(made.ca))
        assert receiver.server_names == ["localhost"]
        assert receiver.requests[0].headers["host"] == f"localhost:{receiver.port}"
        failed = failure(receiver.url(scheme="https"), ca_file=str(made.ca))
    assert "certificate is not trusted" in str(failed)
    assert len(receiver.requests) == 1


def test_proxy_of_the_environment_is_not_used(monkeypatch):
    with http_receiver() as proxy, http_receiver() as receiver:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url())
        post(receiver.url())
        assert (len(receiver.requests), len(proxy.requests)) == (1, 0)
