"""The configuration of `driftline init --preset security`: three models that watch a service."""

from __future__ import annotations

from typing import Final

CONFIG: Final = """\
# Three models of a security system, with their alert rules, expectations and tuners. Levels change
# while a worker runs: driftline alerts threshold n1-detector accuracy --below 0.88

[defaults]
windows = ["5m", "1h", "1d", "7d/1d"]  # a rule without a window reads the smallest with enough rows
maturity = ["1h", "6h", "1d"]          # how long the truths had to arrive
label_horizon = "2d"                   # a prediction without a truth expires after this time
reference = "7d"                       # drift and degradation compare with the first week
default_rules = true                   # false: only the rules below

# Finds queries that repeat for each row of a result.
[models.n1-detector]
threshold = 0.7                        # a confidence from here on is positive

[models.n1-detector.tuner]
enabled = true                         # false: no thresholds are recommended
range = [0.5, 0.9]                     # only confidence thresholds in this range are recommended

[models.n1-detector.policy]
auto_apply = false                     # true: certain gains of 5 % and more are applied

[[models.n1-detector.rules]]           # the lower end of the expected accuracy
type = "threshold"
name = "accuracy"
metric = "accuracy"
below = 0.85
severity = "warning"

[[models.n1-detector.rules]]           # the same for ten minutes
type = "threshold"
name = "accuracy_10m"
metric = "accuracy"
below = 0.85
for = "10m"
severity = "critical"

[[models.n1-detector.rules]]           # the upper end: better than that, truths may have leaked
type = "threshold"
name = "accuracy_high"
metric = "accuracy"
above = 0.995
window = "1d"
severity = "info"

[[models.n1-detector.rules]]           # the expected rate of false positives is 10 %
type = "threshold"
name = "false_positives"
metric = "fpr"
above = 0.10
window = "1d"
severity = "warning"

[[models.n1-detector.rules]]           # the expected latency is 50 ms
type = "threshold"
name = "latency_expected"
metric = "latency_p95"
above = 50.0
window = "1d"
severity = "info"

[[models.n1-detector.rules]]           # too slow to serve
type = "latency"
name = "latency"
warning_ms = 1000.0
for = "5m"

[[models.n1-detector.rules]]           # one prediction in twenty fails
type = "threshold"
name = "error_rate"
metric = "error_rate"
above = 0.05
for = "5m"
severity = "critical"

# Finds requests that behave like an attack.
[models.waf-behavioral]
threshold = 0.7                        # an anomaly score from here on is positive

[models.waf-behavioral.tuner]
enabled = true                         # false: no thresholds are recommended
range = [0.5, 0.9]                     # only anomaly thresholds in this range are recommended

[models.waf-behavioral.policy]
auto_apply = false                     # true: certain gains of 5 % and more are applied

[[models.waf-behavioral.rules]]        # the lower end of the expected accuracy
type = "threshold"
name = "accuracy"
metric = "accuracy"
below = 0.90
severity = "critical"

[[models.waf-behavioral.rules]]        # 5 % worse than in the first week
type = "degradation"
name = "accuracy_degraded"
metric = "accuracy"
window = "1d"
for = 1
warning = 0.05
critical = 0.05

[[models.waf-behavioral.rules]]        # the upper end: better than that, truths may have leaked
type = "threshold"
name = "accuracy_high"
metric = "accuracy"
above = 0.995
window = "1d"
severity = "info"

[[models.waf-behavioral.rules]]        # the expected rate of false positives is 5 %
type = "threshold"
name = "false_positives"
metric = "fpr"
above = 0.05
window = "1d"
severity = "warning"

[[models.waf-behavioral.rules]]        # the expected latency is 100 ms
type = "threshold"
name = "latency_expected"
metric = "latency_p95"
above = 100.0
window = "1d"
severity = "info"

[[models.waf-behavioral.rules]]        # too slow to serve
type = "latency"
name = "latency"
warning_ms = 1000.0
for = "5m"

[[models.waf-behavioral.rules]]        # one prediction in twenty fails
type = "threshold"
name = "error_rate"
metric = "error_rate"
above = 0.05
for = "5m"
severity = "critical"

# Finds queues that grow in an unusual way.
[models.queue-anomaly]
threshold = 0.6                        # an anomaly score from here on is positive

[models.queue-anomaly.tuner]
enabled = true                         # false: no thresholds are recommended
range = [0.4, 0.8]                     # only anomaly thresholds in this range are recommended

[models.queue-anomaly.policy]
auto_apply = false                     # true: certain gains of 5 % and more are applied

[[models.queue-anomaly.rules]]         # the lower end of the expected accuracy
type = "threshold"
name = "accuracy"
metric = "accuracy"
below = 0.80
severity = "warning"

[[models.queue-anomaly.rules]]         # the upper end: better than that, truths may have leaked
type = "threshold"
name = "accuracy_high"
metric = "accuracy"
above = 0.995
window = "1d"
severity = "info"

[[models.queue-anomaly.rules]]         # the expected rate of false positives is 15 %
type = "threshold"
name = "false_positives"
metric = "fpr"
above = 0.15
window = "1d"
severity = "warning"

[[models.queue-anomaly.rules]]         # the expected latency is 30 ms
type = "threshold"
name = "latency_expected"
metric = "latency_p95"
above = 30.0
window = "1d"
severity = "info"

[[models.queue-anomaly.rules]]         # too slow to serve
type = "latency"
name = "latency"
warning_ms = 1000.0
for = "5m"

[[models.queue-anomaly.rules]]         # one prediction in twenty fails
type = "threshold"
name = "error_rate"
metric = "error_rate"
above = 0.05
for = "5m"
severity = "critical"
"""
