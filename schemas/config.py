"""Reading `driftline.toml`.

Every key is checked, and a message names the file and the place in it. What the settings are is `settings.py`; the
parameters of rules, tuners and policies are checked by `streams`, which knows their types.
"""

import re
import tomllib
from collections.abc import Callable, Iterable
from datetime import datetime
from difflib import get_close_matches
from math import gcd
from pathlib import Path
from typing import Any

import msgspec

from schemas.labels import label_text
from schemas.settings import LANES, Config, ModelConfig, Reference, Rung, Window, parse_rung, parse_window
from schemas.times import DAY_MS, HOUR_MS, MINUTE_MS, format_duration, parse_duration, parse_time

__all__ = [
    "Config",
    "ConfigError",
    "ModelConfig",
    "Reference",
    "Rung",
    "Window",
    "load_config",
    "parse_config",
    "parse_rung",
    "parse_window",
]


MAX_RUNGS = 16
MAX_LAST_N = 10_000
# State and the time after the end of a log grow with the longest duration; ten years is beyond any real delay of a truth.
MAX_DURATION_MS = 3_660 * DAY_MS
_STREAM_WIDE = "holds for the whole stream, because all models share its partitions and watermarks; write it under [run] or [defaults]"


class ConfigError(ValueError):
    """A refused configuration.

    Attributes
    ----------
    where
        The place, such as "models.churn.rules[0].below"; empty for the file as a whole.
    """

    def __init__(self, path: str | None, where: str, message: str) -> None:
        self.where = where
        super().__init__(": ".join(part for part in (path or "configuration", where, message) if part))


class _Refused(Exception):
    """A value that cannot be taken, with its place below the table that is being read."""

    def __init__(self, where: str, message: str) -> None:
        self.where, self.message = where, message
        super().__init__(message)


def load_config(path: str | Path | None) -> Config:
    """The settings in a file, or the defaults without one.

    Raises
    ------
    ConfigError
        If the file cannot be read or says something that is not understood.
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
    """The settings in a TOML text; `path` is for messages.

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
    try:
        return _config(file, path)
    except _Refused as refused:
        raise ConfigError(path, refused.where, refused.message) from refused


def _config(file: dict[str, Any], path: str | None) -> Config:
    _known(file, ("defaults", "run", "models"), "")
    tables = {name: _table(file.get(name, {}), name) for name in ("defaults", "run", "models")}
    _known(tables["defaults"], (*_MODEL_KEYS, *_STREAM_KEYS), "defaults.")
    _known(tables["run"], tuple(_STREAM_KEYS), "run.", elsewhere=dict.fromkeys(_MODEL_KEYS, "is set for models; write it under [defaults]"))
    stream: dict[str, Any] = {}
    for name in ("defaults", "run"):
        for key in tables[name].keys() & stream.keys():
            raise _Refused(f"run.{key}", f"is also set by defaults.{key}; keep one of the two")
        stream |= _values(tables[name], _STREAM_KEYS, name)

    defaults = _model(tables["defaults"], "defaults", ModelConfig())
    models: dict[str, ModelConfig] = {}
    for name, value in tables["models"].items():
        where = f"models.{_quoted(name)}"
        table = _table(value, where)
        _known(table, tuple(_MODEL_KEYS), f"{where}.", elsewhere=dict.fromkeys(_STREAM_KEYS, _STREAM_WIDE))
        models[name] = _model(table, where, defaults)

    every = (defaults, *models.values())
    horizon_ms = max(model.label_horizon_ms for model in every)
    if stream.setdefault("park_ms", max(30 * DAY_MS, horizon_ms)) < horizon_ms:
        where = "run.park" if "park" in tables["run"] else "defaults.park"
        raise _Refused(where, f"is shorter than the longest label horizon ({format_duration(horizon_ms)}); early truths would be lost")
    return Config(
        defaults=defaults,
        models=models,
        pane_ms=_pane_ms(window for model in every for window in model.windows),
        segments=tuple(sorted({segment for model in every for segment in model.segments})),
        max_horizon_ms=horizon_ms,
        path=path,
        **stream,
    )


def _pane_ms(windows: Iterable[Window]) -> int:
    minutes = gcd(*(ms for window in windows for ms in (window.size_ms, window.step_ms))) // MINUTE_MS
    return MINUTE_MS * max(divisor for divisor in range(1, HOUR_MS // MINUTE_MS + 1) if minutes % divisor == 0)


def _model(table: dict[str, Any], where: str, base: ModelConfig) -> ModelConfig:
    """`base` with what `table` says instead; checks what depends on several keys."""
    values = _values(table, _MODEL_KEYS, where)
    if "rules" in values:
        values["rules_path"] = f"{where}.rules"
    for key in ("tuner", "policy"):
        if key in values:
            values[f"{key}_path"] = f"{where}.{key}"
    model = msgspec.structs.replace(base, **values)
    model = msgspec.structs.replace(model, maturity=_ladder(model, base, where, written="maturity" in table))
    for i, dimension in enumerate(model.feature_segments):
        if dimension not in model.segments:
            key = f"{where}.feature_segments[{i}]" if "feature_segments" in table else f"{where}.segments"
            raise _Refused(key, f"{dimension!r} is a feature segment but not one of the segments {list(model.segments)}")
    names = [window.name for window in model.windows]
    if "detection_window" in table:
        if model.detection_window not in names:
            raise _Refused(f"{where}.detection_window", f"{model.detection_window!r} is not one of the windows {names}")
    elif model.detection_window not in names:
        preferred = ModelConfig().detection_window
        largest = max(model.windows, key=lambda window: window.size_ms).name
        model = msgspec.structs.replace(model, detection_window=preferred if preferred in names else largest)
    return model


def _ladder(model: ModelConfig, base: ModelConfig, where: str, *, written: bool) -> tuple[Rung, ...]:
    """The rungs below the horizon, and the horizon. Inherited rungs that a shorter horizon cannot reach are left out."""
    horizon_ms = model.label_horizon_ms
    if written and model.maturity[-1].ms > horizon_ms:
        index = next(i for i, rung in enumerate(model.maturity) if rung.ms > horizon_ms)
        name = model.maturity[index].name
        raise _Refused(f"{where}.maturity[{index}]", f"rung {name} lies beyond the label horizon {format_duration(horizon_ms)}")
    end_ms = horizon_ms if written else min(horizon_ms, base.label_horizon_ms)
    return (*(rung for rung in model.maturity if rung.ms < end_ms), Rung(format_duration(horizon_ms), horizon_ms))


def _quoted(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _table(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _Refused(where, f"is {_shown(value)}, not a table")
    return value


def _known(table: dict[str, Any], keys: tuple[str, ...], prefix: str, elsewhere: dict[str, str] | None = None) -> None:
    for key in table:
        if key in keys:
            continue
        place = f"{prefix}{_quoted(key)}"
        if elsewhere and key in elsewhere:
            raise _Refused(place, elsewhere[key])
        near = get_close_matches(key, keys, n=1)
        hint = f'did you mean "{near[0]}"?' if near else f"known here: {', '.join(keys)}"
        raise _Refused(place, f"is not known; {hint}")


def _values(table: dict[str, Any], keys: "dict[str, tuple[str, Callable[[Any], Any]]]", where: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in keys:
            continue
        attribute, read = keys[key]
        try:
            values[attribute] = read(value)
        except _Refused as refused:
            raise _Refused(f"{where}.{key}{refused.where}", refused.message) from refused
        except ValueError as error:
            raise _Refused(f"{where}.{key}", str(error)) from error
    return values


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else str(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"is {_shown(value)}, not a string")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"is {_shown(value)}, not true or false")
    return value


def _share(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"is {_shown(value)}, not a number")
    if not 0 <= value <= 1:
        raise ValueError(f"is {value}, outside [0, 1]")
    return float(value)


def _duration(value: Any) -> int:
    return _bounded(value, parse_duration(_text(value)))


def _bounded(value: Any, ms: int) -> int:
    if ms > MAX_DURATION_MS:
        raise ValueError(f"is {_shown(value)}, longer than {format_duration(MAX_DURATION_MS)}")
    return ms


def _window(value: Any) -> Window:
    window = parse_window(_text(value))
    _bounded(value, window.size_ms)
    return window


def _horizon(value: Any) -> int:
    ms = _duration(value)
    if ms < MINUTE_MS:
        raise ValueError(f"is {value!r}, less than one minute")
    return ms


def _each(value: Any, read: Callable[[Any], Any], *, least: int = 0) -> tuple[Any, ...]:
    """Every element read, with its index in the message, and none twice."""
    if not isinstance(value, list):
        raise ValueError(f"is {_shown(value)}, not a list")
    if len(value) < least:
        raise ValueError("is empty; one is needed")
    found: list[Any] = []
    for i, element in enumerate(value):
        try:
            result = read(element)
        except ValueError as error:
            raise _Refused(f"[{i}]", str(error)) from error
        if result in found:
            raise _Refused(f"[{i}]", f"{_shown(element)} says the same as [{found.index(result)}]")
        found.append(result)
    return tuple(found)


def _windows(value: Any) -> tuple[Window, ...]:
    return _each(value, _window, least=1)


def _rungs(value: Any) -> tuple[Rung, ...]:
    rungs = _each(value, lambda element: parse_rung(_text(element)), least=1)
    for i in range(1, len(rungs)):
        if rungs[i].ms <= rungs[i - 1].ms:
            raise _Refused(f"[{i}]", f"rung {value[i]!r} is not longer than {value[i - 1]!r} before it")
    if len(rungs) > MAX_RUNGS:
        raise ValueError(f"has {len(rungs)} rungs, more than {MAX_RUNGS}")
    return rungs


def _dimension(value: Any) -> str:
    name = _text(value)
    if not name or "=" in name or name == "all":
        raise ValueError(f'{name!r} cannot name a segment dimension: not empty, without "=", and not "all"')
    return name


def _name(value: Any) -> str:
    if not _text(value):
        raise ValueError("must not be empty")
    return str(value)


def _label(value: Any) -> str:
    if not isinstance(value, str | int | float):
        raise ValueError(f"is {_shown(value)}, not a label (string, integer, boolean or number)")
    return label_text(value)


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_LAST_N:
        raise ValueError(f"{_shown(value)} is not an integer from 1 to {MAX_LAST_N}")
    return value


def _reference(value: Any) -> Reference:
    if isinstance(value, str):
        return Reference(span_ms=_horizon(value))
    if not isinstance(value, dict):
        raise ValueError(f'is {_shown(value)}, neither a span such as "30d" nor a table with from and to')
    _known(value, ("from", "to"), ".")
    edges: list[int] = []
    for key in ("from", "to"):
        if key not in value:
            raise ValueError(f'needs "{key}"')
        edge = value[key]
        try:
            edges.append(parse_time(edge.isoformat() if isinstance(edge, datetime) else _text(edge)))
        except ValueError as error:
            raise _Refused(f".{key}", str(error)) from error
    if edges[0] >= edges[1]:
        raise ValueError('"from" is not before "to"')
    return Reference(from_ms=edges[0], to_ms=edges[1])


def _rules(value: Any) -> tuple[dict[str, Any], ...]:
    if not isinstance(value, list):
        raise ValueError(f"is {_shown(value)}, not a list of tables ([[...rules]])")
    names: list[str] = []
    for i, rule in enumerate(value):
        _table(rule, f"[{i}]")
        for key in ("type", "name"):
            if not isinstance(rule.get(key), str) or not rule[key]:
                raise _Refused(f"[{i}].{key}", "is needed, a string" if key not in rule else f"is {_shown(rule[key])}, not a name")
        if rule["name"] in names:
            raise _Refused(f"[{i}].name", f"{rule['name']!r} is already the name of rule [{names.index(rule['name'])}]")
        names.append(rule["name"])
    return tuple(value)


def _choice(*choices: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"is {_shown(value)}, not one of {', '.join(choices)}")
        return str(value)

    return read


def _lanes(value: Any) -> tuple[str, ...]:
    chosen = _each(value, _choice(*LANES), least=1)
    return tuple(lane for lane in LANES if lane in chosen)


def _prefix(value: Any) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{0,100}", _text(value)):
        raise ValueError(f"is {value!r}; topic names take letters, digits, '.', '_' and '-', at most 100 here")
    return str(value)


_MODEL_KEYS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "windows": ("windows", _windows),
    "maturity": ("maturity", _rungs),
    "label_horizon": ("label_horizon_ms", _horizon),
    "correction_horizon": ("correction_horizon_ms", _duration),
    "segments": ("segments", lambda value: _each(value, _dimension)),
    "feature_segments": ("feature_segments", lambda value: _each(value, _dimension)),
    "positive_label": ("positive_label", _label),
    "threshold": ("threshold", _share),
    "last_n": ("last_n", lambda value: _each(value, _count)),
    "metrics": ("metrics", lambda value: _each(value, _name)),
    "since_deployment": ("since_deployment", _flag),
    "reference": ("reference", _reference),
    "detection_window": ("detection_window", lambda value: parse_window(_text(value)).name),
    "rules": ("rules", _rules),
    "default_rules": ("default_rules", _flag),
    "tuner": ("tuner", lambda value: _table(value, "")),
    "policy": ("policy", lambda value: _table(value, "")),
}
"""What may stand in [defaults] and in a model's table: key, attribute of `ModelConfig`, reader."""

_STREAM_KEYS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "prediction_grace": ("prediction_grace_ms", _duration),
    "truth_grace": ("truth_grace_ms", _duration),
    "max_ahead": ("max_ahead_ms", _duration),
    "park": ("park_ms", _duration),
    "clock": ("clock", _choice("wall", "data")),
    "topic_prefix": ("topic_prefix", _prefix),
    "outcomes": ("outcomes", _flag),
    "lanes": ("lanes", _lanes),
}
"""What may stand in [run] or [defaults]: key, attribute of `Config`, reader."""
