"""Questions that each route answers on the sample, for tests of all routes. A route without any
fails `test_each_route_has_a_question`.
"""

from __future__ import annotations

from tests.agents.serve.serving import Value

MODEL = {"model": "churn"}
ALERT_ID = "7fbc7a5cddfe7039-1749081600000"

QUESTIONS: dict[str, list[dict[str, Value]]] = {
    "/overview": [{}, {"at": "2025-06-04T00:00:00Z"}],
    "/models": [{}, {"limit": 1}],
    "/model": [MODEL, {**MODEL, "version": "1.4.2", "at": "2025-06-04T00:00:00Z"}],
    "/metrics": [
        MODEL,
        {**MODEL, "metric": ["f1", "recall"], "window": "6h", "since": "1d", "points": 2},
        {**MODEL, "lane": "arrivals", "window": "6h", "segment": "plan=pro", "limit": 2},
        {**MODEL, "maturity": "last", "provisional": "true"},
    ],
    "/traffic": [MODEL, {**MODEL, "metric": "error_rate", "window": "6h"}],
    "/window": [
        MODEL,
        {**MODEL, "start": "2025-06-02T00:00:00Z", "window": "1d", "maturity": "6h"},
        {**MODEL, "lane": "traffic"},
        {**MODEL, "window": "since_deployment"},
        {**MODEL, "lane": "arrivals", "window": "last_100"},
    ],
    "/segments": [
        MODEL,
        {**MODEL, "metric": "recall", "min_rows": 0, "dimension": "plan", "limit": 1},
        {**MODEL, "lane": "traffic", "metric": "error_rate"},
    ],
    "/compare": [MODEL, {**MODEL, "other_start": "2025-06-02T00:00:00Z", "metric": "f1"}],
    "/ripening": [MODEL, {**MODEL, "metric": "f1", "window": "6h", "limit": 3}],
    "/early": [MODEL, {**MODEL, "metric": "f1", "window": "6h", "windows": 4}],
    "/scores": [MODEL, {**MODEL, "windows": 2, "rows": "holdout", "maturity": "last"}],
    "/drift": [MODEL, {**MODEL, "target": "score", "start": "2025-06-03T00:00:00Z"}],
    "/drift/history": [MODEL, {**MODEL, "since": "30d", "limit": 2}],
    "/delays": [MODEL, {**MODEL, "window": "6h", "since": "2025-06-03T00:00:00Z"}],
    "/alerts": [{}, {**MODEL, "status": "open", "severity": "warning", "rule": "f1_low"}],
    "/alert": [{"id": ALERT_ID}],
    "/recommendations": [{}, {**MODEL, "status": "open"}],
    "/registry": [{}, {**MODEL, "at": "2025-06-03T00:00:00Z"}],
    "/registry/changes": [{}, {**MODEL, "accepted": "true", "limit": 3}],
    "/quality": [{}, {**MODEL, "since": "90d"}],
    "/pipeline": [{}],
    "/health": [{}],
}
