"""Channel: standard error, for a person who watches the program."""

from __future__ import annotations

from driftline.agents.notify.channel import ChannelPlugin
from driftline.agents.notify.texts import text_of, title_of
from driftline.agents.terminal import console
from driftline.schemas.notifications import Notification

STYLES = {"info": "cyan", "warning": "yellow", "error": "red", "critical": "bold red"}


class ConsoleChannel(
    ChannelPlugin,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="console",
):
    """The title in the colour of the severity, and the text below it, on standard error."""

    def send(self, notification: Notification, /) -> None:
        """Print both."""
        from rich.text import Text

        resolved = notification.kind == "resolved"
        printer = console(stderr=True)
        # A `Text` holds no markup, so a name in brackets stays one.
        printer.print(
            Text(
                f"{notification.kind}: {title_of(notification)}",
                style="green" if resolved else STYLES[notification.severity],
            )
        )
        if text := text_of(notification):
            printer.print(Text(text))
