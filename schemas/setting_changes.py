"""What each setting does when it is changed between two starts with state, and settings as they are
recorded.

One table for both drivers: `RUN`, `MODEL`, `KAFKA` and `REDIS` name the effect of every key of the
file. The table in `docs/operations.md` is `changes_table()`. Where settings are recorded and
compared is `driftline.agents.kafka.stages.recorded_settings` and
`driftline.agents.inprocess.run_identity`.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from driftline.schemas.config import MODEL_KEYS, STREAM_KEYS
from driftline.schemas.config_values import toml_key, toml_string
from driftline.schemas.kafka_settings import KAFKA_KEYS
from driftline.schemas.redis_settings import REDIS_KEYS
from driftline.schemas.settings import Config, ModelConfig, ReferenceSpan, Rung, Window
from driftline.schemas.times import format_duration, format_time

__all__ = [
    "DECISIONS",
    "DERIVED",
    "EFFECTS",
    "KAFKA",
    "MODEL",
    "NO_MODEL_KEYS",
    "REDIS",
    "RUN",
    "Change",
    "Effect",
    "changes_of",
    "changes_table",
    "decisions_of",
    "differences",
    "recorded_settings",
    "settings_toml",
    "value_text",
    "with_decisions",
]

Effect = Literal["refused", "decides", "start", "program", "new topics"]

EFFECTS: Final[dict[Effect, str]] = {
    "refused": "refused with exit code 78: the state was counted with it",
    "decides": "in force from the next pane of the model on; `registry-effects` records which one",
    "start": "in force from the start of the worker on",
    "program": "names another program: it starts anew, and the state of this one stays as it is",
    "new topics": "in force for topics that are created from then on",
}

RUN: Final[dict[str, Effect]] = {
    "prediction_grace": "refused",
    "truth_grace": "refused",
    "max_ahead": "start",
    "park": "refused",
    "clock": "start",
    "topic_prefix": "program",
    "outcomes": "refused",
    "missing_labels": "refused",
    "lanes": "refused",
}
"""Effect of each key of [run]."""

MODEL: Final[dict[str, Effect]] = {
    "windows": "refused",
    "maturity": "refused",
    "label_horizon": "refused",
    "correction_horizon": "refused",
    "segments": "refused",
    "feature_segments": "refused",
    "labels": "refused",
    "positive_label": "refused",
    "threshold": "refused",
    "last_n": "refused",
    "metrics": "refused",
    "since_deployment": "refused",
    "reference": "refused",
    "detection_window": "refused",
    "rules": "decides",
    "default_rules": "decides",
    "false_alarms_per_year": "decides",
    "tuner": "decides",
    "tuner.window": "refused",
    "policy": "decides",
    "responses": "decides",
}
"""Effect of each key of [defaults] and [models.NAME], for a model that was counted; a model that
was not can have any. `tuner.window` apart, because stage 2 announces histograms by it.
"""

KAFKA: Final[dict[str, Effect]] = {
    "bootstrap_servers": "start",
    "app": "program",
    "input_partitions": "refused",
    "partitions": "refused",
    "replication_factor": "new topics",
    "min_insync_replicas": "new topics",
    "commit_interval": "start",
    "provisional": "start",
    "memory": "start",
    "session_timeout": "start",
    "max_clock_error": "start",
    "static_member": "start",
    "worker_metrics": "start",
    "rekey": "refused",
    "client": "start",
}
"""Effect of each key of [kafka]."""

REDIS: Final[dict[str, Effect]] = dict.fromkeys(REDIS_KEYS, "start")
"""Effect of each key of [redis]."""

DERIVED: Final = {"pane_ms": "pane", "segments": "all_segments"}
"""Attributes of `Config` that follow from the settings of all models, and their names in
`recorded_settings`. A change of them is refused: the state of all models is laid out by them.
"""

DECISIONS: Final = tuple(key for key, effect in MODEL.items() if effect == "decides")
"""Keys of a model that only stages 3 and 4 read."""

NO_MODEL_KEYS: Final = ("windows", "maturity", "label_horizon", "correction_horizon")
"""Keys of [defaults] by which truths without a prediction are counted, whatever the models have."""

_DERIVED_WORDS: Final = {
    "pane": "the pane, which divides all windows of all models,",
    "all_segments": "the list of all segments of all models",
}


class Change(Struct, frozen=True):
    """One changed setting.

    Attributes
    ----------
    path
        Its path in the file, such as "models.churn.threshold".
    effect
        What the change does.
    before, now
        Its values, as `recorded_settings` writes them.
    """

    path: str
    effect: Effect
    before: Any
    now: Any

    def __str__(self) -> str:
        before, now = value_text(self.before), value_text(self.now)
        return f"{self.path} was {before}, is now {now}"


def recorded_settings(config: Config, *, partitions: bool = False) -> dict[str, Any]:
    """The settings that results depend on, as built-in types, in the words of the file.

    Equal for equivalent files. `models` has of each model what differs from `defaults`; None means
    that a setting is not set.

    Parameters
    ----------
    partitions
        Include the numbers of partitions on the broker.

    Examples
    --------
    >>> settings = recorded_settings(Config(models={"churn": ModelConfig(positive_label="yes")}))
    >>> settings["models"], settings["run"]["park"], settings["defaults"]["positive_label"]
    ({'churn': {'positive_label': 'yes'}}, '30d', None)
    """
    defaults = _of_model(config.defaults)
    models = {
        name: {key: value for key, value in _of_model(model).items() if value != defaults[key]}
        for name, model in sorted(config.models.items())
    }
    recorded: dict[str, Any] = {
        "run": _written(config, STREAM_KEYS),
        "defaults": defaults,
        "models": {name: values for name, values in models.items() if values},
        "derived": {name: _value(key, getattr(config, key)) for key, name in DERIVED.items()},
    }
    if partitions:
        recorded["kafka"] = {
            key: value
            for key, value in _written(config.kafka, KAFKA_KEYS).items()
            # A program that never heard of it reads what producers write.
            if KAFKA[key] == "refused" and value is not False
        }
    return recorded


def changes_of(
    before: Mapping[str, Any], now: Mapping[str, Any], counted: Iterable[str]
) -> list[Change]:
    """The changed settings of a program and of the models that it has counted.

    Parameters
    ----------
    before, now
        Two results of `recorded_settings`.
    counted
        Names of the models; "" for truths without a prediction.
    """
    found: dict[str, Change] = {}
    for section, effects in (("run", RUN), ("kafka", KAFKA)):
        for key in _changed(before.get(section, {}), now.get(section, {})):
            path = f"{section}.{key}"
            found[path] = Change(
                path, effects[key], before[section].get(key), now[section].get(key)
            )
    for model in counted:
        was, is_now = _resolved(before, model), _resolved(now, model)
        for key in _changed(was, is_now):
            if not model and key not in NO_MODEL_KEYS:
                continue
            own = any(key in each["models"].get(model, {}) for each in (before, now))
            path = f"models.{toml_key(model)}.{key}" if own else f"defaults.{key}"
            found[path] = Change(path, MODEL[key], was.get(key), is_now.get(key))
    if not any(change.effect == "refused" for change in found.values()):
        for key in _changed(before["derived"], now["derived"]):
            found[key] = Change(
                _DERIVED_WORDS[key], "refused", before["derived"][key], now["derived"][key]
            )
    return list(found.values())


def decisions_of(settings: Mapping[str, Any], model: str) -> dict[str, Any]:
    """What stages 3 and 4 read of a model's settings, by key.

    Parameters
    ----------
    settings
        A result of `recorded_settings`.
    """
    resolved = _resolved(settings, model)
    return {key: resolved[key] for key in DECISIONS}


def with_decisions(model: ModelConfig, decisions: Mapping[str, Any]) -> ModelConfig:
    """A model's settings with other `decisions_of`."""
    return msgspec.structs.replace(
        model,
        **{
            key: tuple(value) if isinstance(value, list) else value
            for key, value in decisions.items()
        },
    )


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Path and both values of every setting that differs between two results of
    `recorded_settings`, as text.
    """
    sections = [
        *((f"{name}.", before.get(name, {}), now.get(name, {})) for name in ("run", "defaults")),
        *(
            (
                f"models.{toml_key(model)}.",
                _of(before, model, now),
                _of(now, model, before),
            )
            for model in sorted({*before.get("models", {}), *now.get("models", {})})
        ),
    ]
    for path, was, is_now in sections:
        for key in _changed(was, is_now):
            yield (
                f"its configuration has {path}{key} {value_text(was.get(key))}, this one "
                f"{value_text(is_now.get(key))}"
            )


def value_text(value: Any) -> str:
    """A recorded value in a message, as in the file.

    Examples
    --------
    >>> value_text("yes"), value_text(["1h", "1d"]), value_text(None), value_text(True)
    ('"yes"', '["1h", "1d"]', 'not set', 'true')
    """
    return "not set" if value is None else _toml(value)


def settings_toml(settings: Mapping[str, Any]) -> str:
    """A configuration file with recorded settings.

    Examples
    --------
    >>> print(settings_toml({"run": {"park": "30d"}, "models": {"a b": {"segments": ["plan"]}}}))
    [run]
    park = "30d"
    <BLANKLINE>
    [models."a b"]
    segments = ["plan"]
    <BLANKLINE>
    """
    tables = [
        *((name, settings[name]) for name in ("run", "kafka", "defaults") if name in settings),
        *(
            (f"models.{toml_key(name)}", values)
            for name, values in settings.get("models", {}).items()
        ),
    ]
    return "\n".join(
        "".join(
            [
                f"[{name}]\n",
                *(
                    f"{key} = {_toml(value)}\n"
                    for key, value in table.items()
                    if value is not None and "." not in key
                ),
            ]
        )
        for name, table in tables
    )


def changes_table() -> str:
    """The table of the documents: every setting with the effect of its change.

    Examples
    --------
    >>> print(changes_table().splitlines()[0])
    | setting | changed between two starts with state |
    """
    groups = (("run", RUN), ("defaults", MODEL), ("kafka", KAFKA), ("redis", REDIS))
    lines = ["| setting | changed between two starts with state |", "|---|---|"]
    for effect, words in EFFECTS.items():
        keys = [
            f"`{table}.{key}`"
            for table, effects in groups
            for key, of_key in effects.items()
            if of_key == effect
        ]
        lines.append(f"| {', '.join(keys)} | {words} |")
    return "\n".join(lines) + "\n"


def _of_model(model: ModelConfig) -> dict[str, Any]:
    return _written(model, MODEL_KEYS) | {"tuner.window": model.tuner.get("window")}


def _written(settings: Struct, keys: Mapping[str, tuple[str, Any]]) -> dict[str, Any]:
    return {
        key: _value(attribute, getattr(settings, attribute)) for key, (attribute, _) in keys.items()
    }


def _value(attribute: str, value: Any) -> Any:
    if isinstance(value, Window | Rung):
        return value.name
    if isinstance(value, ReferenceSpan):
        if value.span_ms is not None:
            return format_duration(value.span_ms)
        return {"from": format_time(value.from_ms or 0), "to": format_time(value.to_ms or 0)}
    if isinstance(value, tuple):
        return [_value("", element) for element in value]
    if attribute.endswith("_ms") and isinstance(value, int):
        return format_duration(value)
    return msgspec.to_builtins(value)


def _resolved(settings: Mapping[str, Any], model: str) -> dict[str, Any]:
    resolved: dict[str, Any] = settings["defaults"] | settings["models"].get(model, {})
    return resolved


def _of(settings: Mapping[str, Any], model: str, other: Mapping[str, Any]) -> dict[str, Any]:
    """A model's settings under the keys that it has in either of two files."""
    keys = [*settings["models"].get(model, {}), *other["models"].get(model, {})]
    resolved = _resolved(settings, model)
    return {key: resolved[key] for key in keys}


def _changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [key for key in {**now, **before} if before.get(key) != now.get(key)]


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        pairs = [f"{toml_key(key)} = {_toml(each)}" for key, each in value.items()]
        return f"{{ {', '.join(pairs)} }}" if pairs else "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return toml_string(value) if isinstance(value, str) else msgspec.json.encode(value).decode()
