"""Channel: an incoming webhook of Slack, or of a chat that takes the same messages (Mattermost,
Rocket.Chat, Discord with `/slack` at the end of its URL).
"""

from __future__ import annotations

from typing import Any

import msgspec

from driftline.agents.notify.channel import NetworkChannel
from driftline.agents.notify.http_post import idempotency, post_json
from driftline.agents.notify.setting_types import SecretAddress
from driftline.agents.notify.texts import cut, text_of, title_of
from driftline.schemas.notifications import Notification

# Limits of Slack; escaping makes a character up to five.
HEADER_CHARACTERS = 150
SECTION_CHARACTERS = 3_000


class SlackChannel(
    NetworkChannel,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="slack",
):
    """Posts title and text as blocks of plain text, and once more as `text` for notifications and
    for chats that know no blocks.

    Nothing in them is markup: the three characters that Slack reads as such are escaped, blocks are
    `plain_text`, and `text` is a code block, in which no chat resolves mentions or links.

    Parameters
    ----------
    url
        Of the incoming webhook; it is the secret.

    References
    ----------
    https://docs.slack.dev/messaging/formatting-message-text/#escaping
    """

    url: SecretAddress

    def send(self, notification: Notification, /) -> None:
        """Post it once."""
        post_json(
            self.url,
            msgspec.json.encode(message(notification)),
            allow_private=self.allow_private,
            ca_file=self.ca_file,
            headers=idempotency(notification),
        )


def message(notification: Notification) -> dict[str, Any]:
    """The message as Slack takes it."""
    title, text = title_of(notification), text_of(notification)
    mark = "resolved" if notification.kind == "resolved" else notification.severity
    blocks = [{"type": "header", "text": _plain(f"[{mark}] {title}", HEADER_CHARACTERS)}]
    if text:
        blocks.append({"type": "section", "text": _plain(text, SECTION_CHARACTERS)})
    whole = escaped(f"[{mark}] {title}\n{text}".strip(), SECTION_CHARACTERS)
    return {"text": "```\n" + whole.replace("`", "'") + "\n```", "blocks": blocks}


def escaped(text: str, limit: int) -> str:
    """A text with Slack's three characters escaped, cut so that it has at most `limit` characters.

    Examples
    --------
    >>> escaped("<!channel> a & b", 100)
    '&lt;!channel&gt; a &amp; b'
    >>> escaped("a & b", 5)
    'a …'
    """
    whole = _escape(text)
    kept = len(text)
    while len(whole) > limit:
        # An escape must not be cut in two, so the text is cut and escaped anew.
        kept = min(kept - 1, kept - (len(whole) - limit) // 5)
        whole = _escape(cut(text, kept))
    return whole


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _plain(text: str, limit: int) -> dict[str, Any]:
    return {"type": "plain_text", "text": escaped(text, limit), "emoji": False}
