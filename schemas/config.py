"""Reads and checks `driftline.toml`.

Every key is checked; messages name the file and the key's path in it. The settings themselves are
`settings.py`. The parameters of rules, tuners, policies and responses are checked in `streams`,
which knows their types.
"""

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from math import gcd
from pathlib import Path
from typing import Any

import msgspec

from driftline.schemas.config_values import (
    InvalidValue,
    check_duration,
    check_keys,
    describe,
    integer_between,
    one_of,
    read_duration,
    read_flag,
    read_list,
    read_number,
    read_share,
    read_string,
    read_table,
    read_values,
    toml_key,
)
from driftline.schemas.errors import DriftlineError
from driftline.schemas.kafka_settings import KAFKA_KEYS, KafkaSettings
from driftline.schemas.labels import MOST_LABELS, label_text
from driftline.schemas.notification_settings import read_notifications
from driftline.schemas.redis_settings import REDIS_KEYS, RedisSettings, check_redis
from driftline.schemas.settings import (
    LANES,
    Config,
    ModelConfig,
    ReferenceSpan,
    Rung,
    Window,
    parse_rung,
    parse_window,
)
from driftline.schemas.times import DAY_MS, HOUR_MS, MINUTE_MS, format_duration, parse_time

__all__ = [
    "MODEL_KEYS",
    "STREAM_KEYS",
    "ConfigError",
    "build_config",
    "load_config",
    "parse_config",
]


MAX_RUNGS = 16
MAX_LAST_N = 10_000
MAX_FALSE_ALARMS = 1_000
_STREAM_WIDE = (
    "applies to the whole stream, because all models share its partitions and watermarks; "
    "write it under [run] or [defaults]"
)


class ConfigError(DriftlineError, ValueError):
    """An invalid configuration.

    Attributes
    ----------
    where
        Path of the key, such as "models.churn.rules[0].below"; empty for the file as a whole.
    """

    def __init__(self, path: str | None, where: str, message: str) -> None:
        self.where = where
        super().__init__(
            ": ".join(part for part in (path or "configuration", where, message) if part)
        )


def load_config(path: str | Path | None) -> Config:
    """Settings from a file; the defaults if `path` is None.

    Raises
    ------
    ConfigError
        If the file cannot be read, or a key or value in it is invalid.
    """
    if path is None:
        return Config()
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(str(path), "", f"cannot be read: {reason}") from error
    return parse_config(text, str(path))


def parse_config(text: str, path: str | None = None) -> Config:
    """Settings from a TOML text; `path` is used in messages only.

    Raises
    ------
    ConfigError
        As `load_config`.

    Examples
    --------
    >>> config = parse_config('[models.churn]\\nlabel_horizon = "14d"')
    >>> config.for_model("churn").maturity[-1].name, config.for_model("other").maturity[-1].name
    ('14d', '30d')
    """
    try:
        file = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(path, "", f"is not TOML: {error}") from error
    return build_config(file, path)


def build_config(tables: Mapping[str, Any], path: str | None = None) -> Config:
    """Settings from the tables of a configuration file as nested dictionaries.

    Raises
    ------
    ConfigError
        If a key or value is invalid.

    Examples
    --------
    >>> build_config({"defaults": {"label_horizon": "14d"}}).defaults.maturity[-1].name
    '14d'
    """
    try:
        return _build_config(dict(tables), path)
    except InvalidValue as error:
        raise ConfigError(path, error.where, error.message) from error


def _build_config(file: dict[str, Any], path: str | None) -> Config:
    names = ("defaults", "run", "models", "kafka", "notifications", "redis")
    check_keys(file, names, "")
    tables = {name: read_table(file.get(name, {}), name) for name in names}
    check_keys(tables["defaults"], (*MODEL_KEYS, *STREAM_KEYS), "defaults.")
    of_models = dict.fromkeys(MODEL_KEYS, "is a setting of models; write it under [defaults]")
    check_keys(tables["run"], tuple(STREAM_KEYS), "run.", elsewhere=of_models)
    stream: dict[str, Any] = {}
    for name in ("defaults", "run"):
        for key in tables[name].keys() & stream.keys():
            raise InvalidValue(
                f"run.{key}", f"is also set by defaults.{key}; remove one of the two"
            )
        stream |= read_values(tables[name], STREAM_KEYS, name)

    defaults = _build_model(tables["defaults"], "defaults", ModelConfig())
    models: dict[str, ModelConfig] = {}
    for name, value in tables["models"].items():
        where = f"models.{toml_key(name)}"
        table = read_table(value, where)
        check_keys(
            table,
            tuple(MODEL_KEYS),
            f"{where}.",
            elsewhere=dict.fromkeys(STREAM_KEYS, _STREAM_WIDE),
        )
        models[name] = _build_model(table, where, defaults)

    all_settings = (defaults, *models.values())
    horizon_ms = max(model.label_horizon_ms for model in all_settings)
    if stream.setdefault("park_ms", max(30 * DAY_MS, horizon_ms)) < horizon_ms:
        where = "run.park" if "park" in tables["run"] else "defaults.park"
        raise InvalidValue(
            where,
            f"is shorter than the longest label horizon ({format_duration(horizon_ms)}); "
            "truths that arrive early would be lost",
        )
    check_keys(tables["kafka"], tuple(KAFKA_KEYS), "kafka.")
    check_keys(tables["redis"], tuple(REDIS_KEYS), "redis.")
    return Config(
        kafka=KafkaSettings(**read_values(tables["kafka"], KAFKA_KEYS, "kafka")),
        notifications=read_notifications(tables["notifications"]),
        redis=check_redis(RedisSettings(**read_values(tables["redis"], REDIS_KEYS, "redis"))),
        defaults=defaults,
        models=models,
        pane_ms=_choose_pane_ms(window for model in all_settings for window in model.windows),
        segments=tuple(sorted({segment for model in all_settings for segment in model.segments})),
        path=path,
        **stream,
    )


def _choose_pane_ms(windows: Iterable[Window]) -> int:
    minutes = (
        gcd(*(ms for window in windows for ms in (window.size_ms, window.step_ms))) // MINUTE_MS
    )
    return MINUTE_MS * max(
        divisor for divisor in range(1, HOUR_MS // MINUTE_MS + 1) if minutes % divisor == 0
    )


def _build_model(table: dict[str, Any], where: str, base: ModelConfig) -> ModelConfig:
    """`base` with the values of `table`; checks the keys that depend on each other."""
    values = read_values(table, MODEL_KEYS, where)
    for key in ("rules", "tuner", "policy", "responses"):
        if key in values:
            values[f"{key}_path"] = f"{where}.{key}"
    model = msgspec.structs.replace(base, **values)
    model = msgspec.structs.replace(
        model, maturity=_build_ladder(model, base, where, written="maturity" in table)
    )
    for i, dimension in enumerate(model.feature_segments):
        if dimension not in model.segments:
            key = (
                f"{where}.feature_segments[{i}]"
                if "feature_segments" in table
                else f"{where}.segments"
            )
            raise InvalidValue(
                key,
                f"{dimension!r} is a feature segment but not one of the segments "
                f"{list(model.segments)}",
            )
    if model.labels is not None and model.positive_label not in (None, *model.labels):
        key = "positive_label" if "positive_label" in table else "labels"
        raise InvalidValue(
            f"{where}.{key}",
            f"the positive label {model.positive_label!r} is not one of the labels "
            f"{list(model.labels)}",
        )
    names = [window.name for window in model.windows]
    if "detection_window" in table:
        if model.detection_window not in names:
            raise InvalidValue(
                f"{where}.detection_window",
                f"{model.detection_window!r} is not one of the windows {names}",
            )
    elif model.detection_window not in names:
        preferred = ModelConfig().detection_window
        largest = max(model.windows, key=lambda window: window.size_ms).name
        model = msgspec.structs.replace(
            model, detection_window=preferred if preferred in names else largest
        )
    return model


def _build_ladder(
    model: ModelConfig, base: ModelConfig, where: str, *, written: bool
) -> tuple[Rung, ...]:
    """The rungs below the label horizon, then the horizon.

    Inherited rungs beyond a shorter horizon are dropped.
    """
    horizon_ms = model.label_horizon_ms
    if written and model.maturity[-1].ms > horizon_ms:
        index = next(i for i, rung in enumerate(model.maturity) if rung.ms > horizon_ms)
        name = model.maturity[index].name
        raise InvalidValue(
            f"{where}.maturity[{index}]",
            f"rung {name} lies beyond the label horizon {format_duration(horizon_ms)}",
        )
    end_ms = horizon_ms if written else min(horizon_ms, base.label_horizon_ms)
    return (
        *(rung for rung in model.maturity if rung.ms < end_ms),
        Rung(format_duration(horizon_ms), horizon_ms),
    )


def _read_window(value: Any) -> Window:
    window = parse_window(read_string(value))
    check_duration(value, window.size_ms)
    return window


def _read_horizon(value: Any) -> int:
    ms = read_duration(value)
    if ms < MINUTE_MS:
        raise ValueError(f"is {value!r}, less than one minute")
    return ms


def _read_windows(value: Any) -> tuple[Window, ...]:
    return read_list(value, _read_window, least=1)


def _read_rungs(value: Any) -> tuple[Rung, ...]:
    rungs = read_list(value, lambda element: parse_rung(read_string(element)), least=1)
    for i in range(1, len(rungs)):
        if rungs[i].ms <= rungs[i - 1].ms:
            raise InvalidValue(
                f"[{i}]", f"rung {value[i]!r} is not longer than {value[i - 1]!r} before it"
            )
    if len(rungs) > MAX_RUNGS:
        raise ValueError(f"has {len(rungs)} rungs, more than {MAX_RUNGS}")
    return rungs


def _read_dimension(value: Any) -> str:
    name = read_string(value)
    if not name or "=" in name or name == "all":
        raise ValueError(
            f'{name!r} cannot name a segment dimension: not empty, without "=", and not "all"'
        )
    return name


def _read_name(value: Any) -> str:
    if not read_string(value):
        raise ValueError("must not be empty")
    return str(value)


def _read_label(value: Any) -> str:
    if not isinstance(value, str | int | float):
        raise ValueError(f"is {describe(value)}, not a label (string, integer, boolean or number)")
    label = label_text(value)
    if not label.strip():
        raise ValueError(f"is {describe(value)}, which stands for no label")
    return label


def _read_labels(value: Any) -> tuple[str, ...]:
    labels = read_list(value, _read_label, least=2)
    if len(labels) > MOST_LABELS:
        raise ValueError(f"has {len(labels)} labels; at most {MOST_LABELS} are possible")
    return labels


def _read_reference(value: Any) -> ReferenceSpan:
    if isinstance(value, str):
        return ReferenceSpan(span_ms=_read_horizon(value))
    if not isinstance(value, dict):
        raise ValueError(
            f'is {describe(value)}, neither a span such as "30d" nor a table with from and to'
        )
    check_keys(value, ("from", "to"), ".")
    edges: list[int] = []
    for key in ("from", "to"):
        if key not in value:
            raise ValueError(f'needs "{key}"')
        edge = value[key]
        try:
            edges.append(
                parse_time(edge.isoformat() if isinstance(edge, datetime) else read_string(edge))
            )
        except ValueError as error:
            raise InvalidValue(f".{key}", str(error)) from error
    if edges[0] >= edges[1]:
        raise ValueError('"from" is not before "to"')
    return ReferenceSpan(from_ms=edges[0], to_ms=edges[1])


def _read_rules(value: Any) -> tuple[dict[str, Any], ...]:
    if not isinstance(value, list):
        raise ValueError(f"is {describe(value)}, not a list of tables ([[...rules]])")
    names: list[str] = []
    for i, rule in enumerate(value):
        read_table(rule, f"[{i}]")
        for key in ("type", "name"):
            if not isinstance(rule.get(key), str) or not rule[key]:
                raise InvalidValue(
                    f"[{i}].{key}",
                    "is needed, a string"
                    if key not in rule
                    else f"is {describe(rule[key])}, not a name",
                )
        if rule["name"] in names:
            raise InvalidValue(
                f"[{i}].name",
                f"{rule['name']!r} is already the name of rule [{names.index(rule['name'])}]",
            )
        names.append(rule["name"])
    return tuple(value)


def _read_responses(value: Any) -> tuple[dict[str, Any], ...]:
    if not isinstance(value, list):
        raise ValueError(f"is {describe(value)}, not a list of tables ([[...responses]])")
    return tuple(read_table(table, f"[{i}]") for i, table in enumerate(value))


def _read_lanes(value: Any) -> tuple[str, ...]:
    chosen = read_list(value, one_of(*LANES), least=1)
    return tuple(lane for lane in LANES if lane in chosen)


def _read_prefix(value: Any) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{0,100}", read_string(value)):
        raise ValueError(
            f"is {value!r}; use letters, digits, '.', '_' and '-', at most 100 of them"
        )
    return str(value)


def _read_budget(value: Any) -> float:
    number = read_number(value)
    if not 0.0 < number <= MAX_FALSE_ALARMS:
        raise ValueError(f"is {describe(value)}, needed more than 0 and at most {MAX_FALSE_ALARMS}")
    return number


MODEL_KEYS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "windows": ("windows", _read_windows),
    "maturity": ("maturity", _read_rungs),
    "label_horizon": ("label_horizon_ms", _read_horizon),
    "correction_horizon": ("correction_horizon_ms", read_duration),
    "segments": ("segments", lambda value: read_list(value, _read_dimension)),
    "feature_segments": ("feature_segments", lambda value: read_list(value, _read_dimension)),
    "labels": ("labels", _read_labels),
    "positive_label": ("positive_label", _read_label),
    "threshold": ("threshold", read_share),
    "last_n": ("last_n", lambda value: read_list(value, integer_between(1, MAX_LAST_N))),
    "metrics": ("metrics", lambda value: read_list(value, _read_name)),
    "since_deployment": ("since_deployment", read_flag),
    "reference": ("reference", _read_reference),
    "detection_window": ("detection_window", lambda value: parse_window(read_string(value)).name),
    "rules": ("rules", _read_rules),
    "default_rules": ("default_rules", read_flag),
    "false_alarms_per_year": ("false_alarms_per_year", _read_budget),
    "tuner": ("tuner", lambda value: read_table(value, "")),
    "policy": ("policy", lambda value: read_table(value, "")),
    "responses": ("responses", _read_responses),
}
"""Keys of [defaults] and of a model's table: key -> attribute of `ModelConfig`, reader."""

STREAM_KEYS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "prediction_grace": ("prediction_grace_ms", read_duration),
    "truth_grace": ("truth_grace_ms", read_duration),
    "max_ahead": ("max_ahead_ms", read_duration),
    "park": ("park_ms", read_duration),
    "clock": ("clock", one_of("wall", "data")),
    "topic_prefix": ("topic_prefix", _read_prefix),
    "outcomes": ("outcomes", read_flag),
    "missing_labels": ("missing_labels", lambda value: read_list(value, read_string)),
    "lanes": ("lanes", _read_lanes),
}
"""Keys of [run] and [defaults]: key -> attribute of `Config`, reader."""
