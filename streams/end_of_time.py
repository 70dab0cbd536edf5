"""Event time after the last record at which nothing can change any more."""

from __future__ import annotations

from driftline.schemas.settings import Config


def end_of_time(config: Config, last_ms: int) -> int:
    """Event time at which every window that holds a row is final and every entry has expired.

    Parameters
    ----------
    last_ms
        Largest event time of the log, in ms.
    """
    models = (config.defaults, *config.models.values())
    horizon_ms = max(model.label_horizon_ms for model in models)
    window_ms = max(window.size_ms + window.step_ms for model in models for window in model.windows)
    corrections_ms = max(model.correction_horizon_ms for model in models)
    wait_ms = max(config.park_ms, horizon_ms + corrections_ms) + window_ms
    grace_ms = max(config.prediction_grace_ms, config.truth_grace_ms)
    return last_ms + wait_ms + grace_ms + 2 * config.pane_ms
