"""Two values of every setting, for tests that change one setting between two starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

MODEL: Final = "models.churn"

VALUES: Final[dict[str, tuple[str, str]]] = {
    "run.prediction_grace": ('"1m"', '"2m"'),
    "run.truth_grace": ('"10m"', '"11m"'),
    "run.max_ahead": ('"5m"', '"1h"'),
    "run.park": ('"30d"', '"31d"'),
    "run.clock": ('"data"', '"wall"'),
    "run.topic_prefix": ('""', '"other."'),
    "run.outcomes": ("false", "true"),
    "run.missing_labels": ('["", "NaN"]', '[""]'),
    "run.lanes": ('["traffic", "decisions", "arrivals"]', '["traffic", "decisions"]'),
    "models.churn.windows": ('["1h", "1d", "7d/1d"]', '["1h", "2h", "1d", "7d/1d"]'),
    "models.churn.maturity": ('["1h", "1d"]', '["1h", "2d"]'),
    "models.churn.label_horizon": ('"14d"', '"13d"'),
    "models.churn.correction_horizon": ('"7d"', '"6d"'),
    "models.churn.segments": ('["plan"]', '["plan", "country"]'),
    "models.churn.feature_segments": ("[]", '["plan"]'),
    "models.churn.labels": ('["no", "yes"]', '["no", "yes", "maybe"]'),
    "models.churn.positive_label": ('"yes"', '"no"'),
    "models.churn.threshold": ("0.5", "0.6"),
    "models.churn.last_n": ("[100]", "[100, 1000]"),
    "models.churn.metrics": ('["accuracy"]', '["accuracy", "f1"]'),
    "models.churn.since_deployment": ("true", "false"),
    "models.churn.reference": ('"30d"', '"7d"'),
    "models.churn.detection_window": ('"7d/1d"', '"1d"'),
    "models.churn.rules": (
        "[]",
        '[{ type = "threshold", name = "low", metric = "accuracy", below = 0.8 }]',
    ),
    "models.churn.default_rules": ("true", "false"),
    "models.churn.false_alarms_per_year": ("1.0", "2.0"),
    "models.churn.tuner": ("{ min_labels = 100 }", "{ min_labels = 50 }"),
    "models.churn.policy": ("{}", "{ auto_apply = true }"),
    "models.churn.responses": ("[]", '[{ rule = "no_data", action = "escalate" }]'),
    "kafka.bootstrap_servers": ('"localhost:9092"', '"127.0.0.1:9092"'),
    "kafka.app": ('"driftline"', '"other"'),
    "kafka.input_partitions": ("2", "3"),
    "kafka.partitions": ("1", "2"),
    "kafka.replication_factor": ("-1", "1"),
    "kafka.min_insync_replicas": ("1", "2"),
    "kafka.commit_interval": ('"100ms"', '"200ms"'),
    "kafka.provisional": ('"100ms"', '"off"'),
    "kafka.memory": ('"64MB"', '"32MB"'),
    "kafka.session_timeout": ('"10s"', '"12s"'),
    "kafka.max_clock_error": ('"1m"', '"2m"'),
    "kafka.static_member": ('"one"', '"two"'),
    "kafka.worker_metrics": ('"1m"', '"off"'),
    "kafka.rekey": ("false", "true"),
    "kafka.client": ("{}", '{ "client.id" = "other" }'),
    # Nobody listens there: a worker goes on without its mirror.
    "redis.url": ('"rediss://127.0.0.1:1/0"', '"rediss://127.0.0.1:1/1"'),
    "redis.username": ('"one"', '"two"'),
    "redis.password": ('{ env = "PATH" }', '{ env = "HOME" }'),
    "redis.ca": ('"/dev/null"', '"/dev/zero"'),
    "redis.prefix": ('"one"', '"two"'),
    "redis.figures_ttl": ('"7d"', '"1d"'),
    "redis.timeout": ('"200ms"', '"1s"'),
    "redis.changes": ("10000", "100"),
}
"""By path in the file: the value before and the other one."""

CHANGES: Final[dict[str, dict[str, str]]] = {path: {path: VALUES[path][1]} for path in VALUES} | {
    "models.churn.tuner.window": {"models.churn.tuner": '{ min_labels = 100, window = "1h" }'}
}
"""By path: the values of the file that change it."""


def document(change: Mapping[str, str] | None = None) -> str:
    """A configuration with the values before, except for those of `change`."""
    values = {path: before for path, (before, _) in VALUES.items()} | dict(change or {})
    tables: dict[str, list[str]] = {}
    for path, value in values.items():
        table, _, key = path.rpartition(".")
        tables.setdefault(table, []).append(f"{key} = {value}")
    return "\n".join("\n".join([f"[{table}]", *lines]) for table, lines in tables.items())
