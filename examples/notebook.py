"""Driftline in a notebook: two weeks of a churn model, as cells over pandas data frames.

    python examples/notebook.py

Needs the extra `parquet` and pandas: pip install "driftline[parquet]" pandas
"""

# %% Predictions, and the truths that arrived up to a day later

import numpy as np
import pandas as pd

import driftline

DAYS, PER_DAY, SHIFT_DAY = 14, 500, 10

random = np.random.default_rng(7)
count = DAYS * PER_DAY
day = np.repeat(np.arange(DAYS), PER_DAY)
minute = np.sort(random.integers(0, 24 * 60, (DAYS, PER_DAY)), axis=1).ravel()
timestamp = pd.Timestamp("2026-03-02", tz="UTC") + pd.to_timedelta(day * 1440 + minute, unit="min")
leaves = random.random(count) < 0.3
# From day 10 on the score no longer separates the customers who leave from those who stay.
signal = np.where(day < SHIFT_DAY, 2.0, 0.5)
score = 1 / (1 + np.exp(-(np.where(leaves, signal, -signal) + random.normal(0, 1, count))))

predictions = pd.DataFrame(
    {
        "prediction_id": [f"p-{i}" for i in range(count)],
        "timestamp": timestamp,
        "model_name": "churn",
        "model_version": "1.0.0",
        "score": score.round(4),
        "features.spend": random.lognormal(np.where(day < SHIFT_DAY, 3.0, 3.6), 0.5).round(2),
    }
)
truths = pd.DataFrame(
    {
        "prediction_id": predictions["prediction_id"],
        "timestamp": timestamp + pd.to_timedelta(random.integers(1, 24 * 60, count), unit="min"),
        "label": np.where(leaves, "yes", "no"),
    }
).sample(frac=0.95, random_state=1)  # one truth in twenty never arrives

# %% A run with settings of its own

config = {
    "defaults": {
        "windows": ["1d"],
        "maturity": ["6h", "1d"],
        "label_horizon": "2d",
        "positive_label": "yes",
        "reference": "7d",
        "detection_window": "1d",
    }
}
results = driftline.replay(predictions, truths, config)

# %% F1 of each day, with its 95 % interval, after six hours and when it is final

figures = results.metrics.where(lane="decisions", window="1d", segment="all").pandas()
figures = figures[figures["maturity"].isin(["6h", "2d"])].sort_values(["window_start", "maturity"])
columns = ["window_start", "maturity", "label_coverage", "f1", "f1_low", "f1_high"]
print(figures[columns].to_string(index=False))

# %% Drift and alerts

drift = results.drift.where(segment="all").pandas()
drifted = drift[drift["level"].isin(["moderate", "severe"])]
print(drifted[["window_start", "target", "method", "level", "effect"]].to_string(index=False))
for alert in results.alerts.latest():
    print(f"{alert['at']}  {alert['status']}  {alert['summary']}")

# %% What another threshold would have given: the same log, one changed column

strict = driftline.replay(predictions.assign(threshold=0.7), truths, config)
for name, run in (("0.5", results), ("0.7", strict)):
    final = run.metrics.where(lane="decisions", window="1d", segment="all", final=True).pandas()
    print(
        f"threshold {name}: precision {final['precision'].mean():.3f}, "
        f"recall {final['recall'].mean():.3f}"
    )
