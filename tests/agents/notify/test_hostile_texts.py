"""Whatever stands in a name or a text, no channel's receiver obeys it.

Records of others name models, versions, segments and people; one of them may be an attacker.
"""

from __future__ import annotations

import email
import email.policy
import html
import json
import logging
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from driftline.agents.notify.channels.slack import escaped
from driftline.schemas.notifications import Notification
from driftline.schemas.results import RegistryEvent
from tests.agents.notify.examples import alert, channel, notification
from tests.agents.notify.receivers import http_receiver, smtp_receiver

TEXTS = {
    "line feeds": "churn\r\n\r\nRESOLVED: all is well\n\u2028\u0085\x0b\x0c",
    "html": "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&amp;",
    "slack": "<!channel> <!here> <@U1> <https://evil.example|click> *b* _i_ `c` ```",
    "markdown": "[click](https://evil.example) ![x](https://evil.example) @all @everyone ```",
    "terminal": "\x1b[2J\x1b]0;owned\x07\x9b31m\x08\x7f [bold red]x[/] [link=https://e]y[/link]",
    "bidi": "\u202eevil\u2066\u2069\u200b\ufeff",
    "templates": "{{ .Labels }} ${jndi:ldap://x} %s %(x)s {0} {notification}",
    "long": "x" * 10_000,
    "escapes": "&" * 10_000,
    "null": "a\x00b",
    "empty": "",
}
CASES = pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
MARKS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def hostile(text: str, **changed: Any) -> Notification:
    """A notification with the text in every field that may hold one."""
    held = alert(
        fingerprint=text,
        alert_id=text,
        model_name=text,
        model_version=text,
        segment=text,
        rule=text,
        summary=text,
        runbook_url=text,
        details={text: text},
    )
    event = RegistryEvent(
        event="set",
        model_name=text,
        revision=1,
        command_id=text,
        at="2026-01-01T12:00:00Z",
        requested_by=text,
        reason=text,
    )
    return notification(
        **{
            "notification_id": text or "n",
            "channel": "ops",
            "title": text,
            "text": text,
            "group_key": text,
            "alerts": [held],
            "events": [event],
            **changed,
        }
    )


def posted(type_: str, text: str, **table: Any) -> tuple[dict[str, str], Any]:
    """Headers and document that a channel posts."""
    with http_receiver() as receiver:
        environment = {"URL": receiver.url(), "KEY": "k" * 32}
        made = channel(type_, environment, url={"env": "URL"}, **table)
        made.send(hostile(text))
    (request,) = receiver.requests
    return request.headers, json.loads(request.body)


@CASES
def test_log_has_one_line(text: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        channel("log").send(hostile(text))
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage().isprintable()
    assert len(record.getMessage()) < 15_000


@CASES
def test_console_shows_what_it_would_obey(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    channel("console").send(hostile(text))
    printed = capsys.readouterr().err
    assert not MARKS.search(printed)
    if "[bold red]" in text:
        assert printed.count("[bold red]x[/]") == 2  # in the title and in the text


@CASES
def test_webhook_posts_the_notification_unchanged(text: str) -> None:
    headers, document = posted("webhook", text, secret={"env": "KEY"})
    assert document["title"] == text
    assert document["alerts"][0]["model_name"] == text
    for value in headers.values():
        assert value.isprintable()


@CASES
def test_alertmanagers_format_has_printable_texts(text: str) -> None:
    _, document = posted("webhook", text, format="alertmanager")
    assert document["alerts"][0]["labels"]["model"].isprintable()
    assert not MARKS.search(json.dumps(document, ensure_ascii=False))


@CASES
def test_pagerduty_gets_printable_texts_within_its_limits(text: str) -> None:
    _, document = posted("pagerduty", text, routing_key={"env": "KEY"})
    assert not MARKS.search(json.dumps(document, ensure_ascii=False))
    assert len(document["dedup_key"]) <= 255
    assert len(document["payload"]["summary"]) <= 1024


@CASES
def test_slack_reads_no_markup_mention_or_link(text: str) -> None:
    _, document = posted("slack", text)
    fence, *inner, end = document["text"].split("\n")
    assert fence == end == "```"
    assert "`" not in "".join(inner)
    texts = [document["text"]]
    for block in document["blocks"]:
        assert block["text"]["type"] == "plain_text"
        texts.append(block["text"]["text"])
    for each in texts:
        assert not re.search(r"[<>]|&(?!amp;|lt;|gt;)", each)
        assert not MARKS.search(each)
    assert len(document["blocks"][0]["text"]["text"]) <= 150
    assert all(len(each) <= 3_010 for each in texts)


@pytest.mark.parametrize("limit", [1, 4, 5, 6, 149, 150])
def test_text_for_slack_is_cut_between_escapes(limit: int) -> None:
    for text in ("&" * 200, "<a>&" * 50, "x" * 200):
        cut = escaped(text, limit)
        assert len(cut) <= limit
        assert text.startswith(html.unescape(cut).rstrip("…"))
        assert limit - len(cut) < 5 or len(cut) <= 1


@CASES
def test_mail_has_its_headers_and_html_without_foreign_elements(text: str) -> None:
    with smtp_receiver() as receiver:
        channel(
            "email",
            host="localhost",
            port=receiver.port,
            security="none",
            from_="driftline@example.com",
            to=["ops@example.com"],
        ).send(hostile(text))
    (mail,) = receiver.mails
    message: Any = email.message_from_bytes(mail.content, policy=email.policy.default)
    assert mail.recipients == ["ops@example.com"]
    assert message.get_all("To") == ["ops@example.com"]
    assert message["Bcc"] is None
    assert re.fullmatch(r"<[A-Za-z0-9_-]+@example\.com>", str(message["Message-ID"]))
    assert len(str(message["Subject"])) <= 220
    plain = message.get_body(("plain",)).get_content()
    assert not MARKS.search(plain.replace("\r", ""))
    elements: list[tuple[str, list]] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, found: elements.append((tag, found))  # type: ignore
    parser.feed(message.get_body(("html",)).get_content())
    assert elements == [("h3", []), ("pre", [])]


@CASES
def test_apprise_gets_printable_texts(text: str) -> None:
    with http_receiver() as receiver:
        environment = {"URL": f"json://127.0.0.1:{receiver.port}"}
        channel("apprise", environment, url={"env": "URL"}).send(hostile(text))
    (request,) = receiver.requests
    document = json.loads(request.body)
    assert not MARKS.search(document["title"] + document["message"])
    assert document["type"] == "failure"
