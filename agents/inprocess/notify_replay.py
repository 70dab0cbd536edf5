"""The notifications of `driftline replay --notify`: the channels, and what the summary says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from driftline.agents.inprocess.run_summary import ReplaySummary
from driftline.schemas.config import ConfigError
from driftline.schemas.settings import Config
from driftline.schemas.topics import NOTIFICATIONS

if TYPE_CHECKING:
    from driftline.agents.notify.channel import Channel


def channels_to_notify(config: Config) -> Mapping[str, Channel]:
    """The channels with their secrets, before a run begins.

    Raises
    ------
    ConfigError
        If there is none, or one cannot be built.
    """
    # Imported here: a run that sends nothing needs none of what channels connect with.
    from driftline.agents.notify.channel_builder import build_channels

    if not config.notifications.channels:
        raise ConfigError(
            config.path, "notifications.channels", "is needed: there is no channel to notify"
        )
    return build_channels(config.notifications, path=config.path)


def with_notifications(
    out: Path, config: Config, channels: Mapping[str, Channel], summary: ReplaySummary
) -> ReplaySummary:
    """Send the notifications of a finished run; gives its summary with their number, and a note for
    each channel that did not take all.
    """
    from driftline.agents.inprocess.notify_run import notify_run

    last = notify_run(out, config.notifications, channels)
    failed = Counter(each.channel for each in last if each.status == "failed")
    reasons = {each.channel: each.error for each in last if each.status == "failed"}
    sent = Counter(each.channel for each in last if each.status == "sent")
    return msgspec.structs.replace(
        summary,
        written=summary.written | {NOTIFICATIONS: len(last)},
        notes=[
            *summary.notes,
            *(
                f"channel {name} took {sent[name]} of {sent[name] + failed[name]} notifications; "
                f"the last error: {reasons[name]}"
                for name in sorted(failed)
            ),
        ],
    )
