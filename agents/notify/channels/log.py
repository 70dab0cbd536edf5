"""Channel: the log of the program."""

from __future__ import annotations

import logging

from driftline.agents.notify.channel import ChannelPlugin
from driftline.agents.notify.texts import one_line, text_of, title_of
from driftline.schemas.notifications import Notification

LEVELS = {
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}


class LogChannel(
    ChannelPlugin,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="log",
):
    """One line in the log, logger `driftline.notify`, at the level of the severity."""

    def send(self, notification: Notification, /) -> None:
        """Write the line."""
        level = logging.INFO if notification.kind == "resolved" else LEVELS[notification.severity]
        text = one_line(text_of(notification))
        logging.getLogger("driftline.notify").log(
            level,
            "%s: %s%s (%s)",
            notification.kind,
            title_of(notification),
            f": {text}" if text else "",
            one_line(notification.notification_id),
        )
