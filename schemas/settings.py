"""The settings of the stream as a whole and of each model.

Reading and checking `driftline.toml` is `config.py`. Rules, tuners, policies and responses stay
plain tables here; `streams` knows their types.
"""

from hashlib import sha256
from typing import Any, Literal

import msgspec
from msgspec import Struct

from driftline.schemas.kafka_settings import KafkaSettings
from driftline.schemas.labels import MISSING_LABELS
from driftline.schemas.notification_settings import NotificationSettings
from driftline.schemas.redis_settings import RedisSettings
from driftline.schemas.reports import SUBJECTS, Subject
from driftline.schemas.times import DAY_MS, HOUR_MS, MINUTE_MS, format_duration, parse_duration

__all__ = [
    "LANES",
    "Config",
    "ModelConfig",
    "ReferenceSpan",
    "Rung",
    "Window",
    "parse_rung",
    "parse_window",
]

LANES = ("traffic", "decisions", "arrivals")


class Window(Struct, frozen=True):
    """A tumbling window "1d" or a sliding one "7d/1d" (size/step); tumbling is step = size."""

    name: str
    size_ms: int
    step_ms: int
    kind: Literal["tumbling", "sliding"]


class Rung(Struct, frozen=True):
    """One delay of the maturity ladder: its figures use the truths that became known within `ms` of
    their prediction.
    """

    name: str
    ms: int


class ReferenceSpan(Struct, frozen=True):
    """The span of the stream from which a version's reference profile is built.

    Either the first `span_ms` of the version, or the fixed span from `from_ms` (included) to
    `to_ms` (excluded).
    """

    span_ms: int | None = None
    from_ms: int | None = None
    to_ms: int | None = None


def parse_window(text: str) -> Window:
    """The window that a text describes, under its canonical name.

    Raises
    ------
    ValueError
        If the text is neither a duration nor two with a slash, if the step is longer than the size,
        or if either is not a whole number of minutes.

    Examples
    --------
    >>> parse_window("24h").name, parse_window("7d/24h").kind
    ('1d', 'sliding')
    """
    size_text, slash, step_text = text.partition("/")
    size_ms = parse_duration(size_text)
    step_ms = parse_duration(step_text) if slash else size_ms
    for name, ms in (("size", size_ms), ("step", step_ms)):
        if ms == 0 or ms % MINUTE_MS:
            raise ValueError(f"the {name} of window {text!r} is not a whole number of minutes")
    if step_ms > size_ms:
        raise ValueError(f"window {text!r} would skip event time: the step is longer than the size")
    if step_ms == size_ms:
        return Window(format_duration(size_ms), size_ms, step_ms, "tumbling")
    return Window(
        f"{format_duration(size_ms)}/{format_duration(step_ms)}", size_ms, step_ms, "sliding"
    )


def parse_rung(text: str) -> Rung:
    """The rung that a duration describes, under its canonical name.

    Examples
    --------
    >>> parse_rung("24h")
    Rung(name='1d', ms=86400000)
    """
    ms = parse_duration(text)
    if ms == 0:
        raise ValueError(f"rung {text!r} must be longer than zero")
    return Rung(format_duration(ms), ms)


class ModelConfig(Struct, frozen=True, kw_only=True):
    """Settings of one model.

    Attributes
    ----------
    maturity
        The maturity ladder, increasing; the label horizon is the last rung.
    feature_segments
        Those of `segments` for which features are counted as well.
    labels
        The classes; any other label is a stray. None for those that the events show.
    positive_label
        None if the events or the labels themselves say which one it is.
    threshold
        Turns the score of a prediction without a threshold into a label.
    metrics
        Names of the metrics that are computed in addition to the counts; None for all.
    last_n
        Sizes of the windows over the newest outcomes.
    detection_window
        Name of the window in which drift is judged.
    rules, rules_path
        Tables as written, and their path in the file, for messages.
    default_rules
        Whether the built-in rules apply as well.
    false_alarms_per_year
        Budget of false alarms of all default rules together: episodes at warning or above without a
        change, in each version.
    tuner, tuner_path, policy, policy_path
        As `rules`: how changes are found, and which of them are applied automatically.
    responses, responses_path
        As `rules`: which actions alerts lead to by themselves.
    subject
        What the rules are about; it follows from the name.
    """

    windows: tuple[Window, ...] = tuple(parse_window(text) for text in ("1h", "1d", "7d/1d"))
    maturity: tuple[Rung, ...] = tuple(
        parse_rung(text) for text in ("1h", "6h", "1d", "3d", "7d", "30d")
    )
    label_horizon_ms: int = 30 * DAY_MS
    correction_horizon_ms: int = 7 * DAY_MS
    segments: tuple[str, ...] = ()
    feature_segments: tuple[str, ...] = ()
    labels: tuple[str, ...] | None = None
    positive_label: str | None = None
    threshold: float = 0.5
    last_n: tuple[int, ...] = (100, 1000)
    metrics: tuple[str, ...] | None = None
    since_deployment: bool = True
    reference: ReferenceSpan = ReferenceSpan(span_ms=30 * DAY_MS)
    detection_window: str = "7d/1d"
    rules: tuple[dict[str, Any], ...] = ()
    rules_path: str = "defaults.rules"
    default_rules: bool = True
    false_alarms_per_year: float = 1.0
    tuner: dict[str, Any] = {}
    tuner_path: str = "defaults.tuner"
    policy: dict[str, Any] = {}
    policy_path: str = "defaults.policy"
    responses: tuple[dict[str, Any], ...] = ()
    responses_path: str = "defaults.responses"
    subject: Subject = "model"

    def rungs_for(self, window: Window) -> tuple[int, ...]:
        """Indexes into `maturity` of the rungs at which a window is emitted; the last one is final.

        A window below one hour is final at the first rung of at least one hour, any other at the
        horizon.
        """
        if window.size_ms >= HOUR_MS:
            return tuple(range(len(self.maturity)))
        last = next(
            (i for i, rung in enumerate(self.maturity) if rung.ms >= HOUR_MS),
            len(self.maturity) - 1,
        )
        return tuple(range(last + 1))


class Config(Struct, frozen=True, kw_only=True):
    """All settings.

    Attributes
    ----------
    pane_ms
        Length of a pane: the largest divisor of the sizes and steps of all windows that is at most
        one hour.
    prediction_grace_ms, truth_grace_ms
        How far a row may be behind the watermark of its partition without being late.
    max_ahead_ms
        How far an event time may be ahead of the clock before the row is rejected.
    park_ms
        How long a truth waits for its prediction.
    missing_labels
        Texts that stand for no label.
    clock
        "wall", or "data" if recorded history is fed and the records define the time.
    segments
        All dimensions of all models, sorted.
    lanes
        Lanes that are computed, of traffic, decisions and arrivals.
    kafka
        The broker and how to use it; has no effect on results.
    notifications
        Who is told about alerts, when and how; has no effect on results.
    redis
        The mirror of what is in force; has no effect on results.
    path
        Path of the file, for messages; None without a file.
    """

    defaults: ModelConfig = ModelConfig()
    models: dict[str, ModelConfig] = {}
    pane_ms: int = HOUR_MS
    prediction_grace_ms: int = MINUTE_MS
    truth_grace_ms: int = 10 * MINUTE_MS
    max_ahead_ms: int = 5 * MINUTE_MS
    park_ms: int = 30 * DAY_MS
    clock: Literal["wall", "data"] = "wall"
    topic_prefix: str = ""
    outcomes: bool = False
    missing_labels: tuple[str, ...] = MISSING_LABELS
    segments: tuple[str, ...] = ()
    lanes: tuple[str, ...] = LANES
    kafka: KafkaSettings = KafkaSettings()
    notifications: NotificationSettings = NotificationSettings()
    redis: RedisSettings = RedisSettings()
    path: str | None = None

    @property
    def truth_repeat_ms(self) -> int:
        """How long after a truth is known the same truth for the same id is a duplicate, in ms.

        The same for all models: the model of a truth is not known before its prediction is.
        """
        return min(self.defaults.correction_horizon_ms, self.park_ms)

    def for_model(self, name: str) -> ModelConfig:
        """Settings of a model; the defaults for a model that the file does not name."""
        return self.models.get(name, self.defaults)

    def for_rules(self, name: str) -> ModelConfig:
        """Settings of a model, or of what stands in the place of one, for its rules."""
        config, subject = self.for_model(name), SUBJECTS.get(name)
        return config if subject is None else msgspec.structs.replace(config, subject=subject)

    def fingerprint(self) -> str:
        """SHA-256, in hexadecimal, of the settings that results depend on; equal for equivalent
        files, wherever they are stored.
        """
        settings = msgspec.structs.asdict(self) | {"path": None}
        for without_effect in ("kafka", "notifications", "redis"):
            del settings[without_effect]
        return sha256(_encoder.encode(msgspec.to_builtins(settings))).hexdigest()


_encoder = msgspec.json.Encoder(order="sorted")
