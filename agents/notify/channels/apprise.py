"""Channel: the services that the library apprise knows."""

from __future__ import annotations

import importlib.util
import logging

from driftline.agents.notify.channel import ChannelPlugin, NotSent
from driftline.agents.notify.setting_types import SecretText
from driftline.agents.notify.texts import text_of, title_of
from driftline.schemas.notifications import Notification

TYPES = {"info": "info", "warning": "warning", "error": "failure", "critical": "failure"}


class AppriseChannel(
    ChannelPlugin,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="apprise",
):
    """Sends through apprise, an extra: `pip install "driftline[notify]"`.

    Apprise looks up and connects by itself, follows redirects, and some of its services write files
    or run programs. So nothing can be refused by address, and the channel works only with
    `allow_private = true`: without it the setting would promise what nobody keeps. Nor is there an
    idempotency key, or a reason for a failure: apprise answers yes or no, and its log may hold what
    is secret. `apprise -vv URL` on the command line shows more.

    Parameters
    ----------
    url
        One URL as apprise reads it; it holds the secrets, so it is one.
    allow_private
        Has to be true.
    """

    url: SecretText
    allow_private: bool = False

    def __post_init__(self) -> None:
        if not self.allow_private:
            raise ValueError(
                "apprise connects by itself, so its targets cannot be checked; set "
                "allow_private = true if you trust the URL"
            )
        if importlib.util.find_spec("apprise") is None:
            raise ValueError('needs the library apprise: pip install "driftline[notify]"')
        import apprise

        logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
        if not apprise.Apprise().add(self.url.reveal()):
            raise ValueError('"url" is not a URL that apprise knows')

    def send(self, notification: Notification, /) -> None:
        """Hand it to apprise once."""
        import apprise

        service = apprise.Apprise()
        service.add(self.url.reveal())
        resolved = notification.kind == "resolved"
        try:
            taken = service.notify(
                title=title_of(notification),
                # Some services take no message without a body.
                body=text_of(notification) or title_of(notification) or notification.kind,
                body_format=apprise.NotifyFormat.TEXT,
                notify_type="success" if resolved else TYPES[notification.severity],
            )
        except Exception as error:
            # Whatever a service of apprise raises, its message may hold the URL.
            raise NotSent(f"apprise: {type(error).__name__}") from None
        if not taken:
            raise NotSent("apprise: the service did not take it; apprise gives no reason")
