"""What drift records say about missing values, other kinds of values, and the covered part of a
window, counted prediction by prediction.

- A row of a window is a prediction of its time that is not late. A feature is *missing* in a row
  that has no such value or null. Its usual kind, number or text, is that of most of its values in
  the reference, numbers on a tie; values of the *other kind* are all others.
- A feature that is compared has a result "missing" if a row of either side lacks it, and a result
  "kind" if a value of either side is of the other kind. The statistic is Cohen's h of the two
  shares.
- A feature whose usual kind is text has a result "unseen" if the window has a text that the
  reference never had. Its share among the texts of the window is compared with the share that
  texts with one row have in the reference. A side with more than 1,000 different texts has none.
- A window is *covered* from its first grain with a prediction of the version, and to that of the
  last prediction of the log. A grain is an hour, or a pane where size or step of the window is not
  in whole hours. Below 95 % there is no verdict.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from math import asin, sqrt
from typing import Any, NamedTuple

from tests.oracle.figures import segments_of
from tests.oracle.joining import Joined
from tests.oracle.recorded import EPOCH
from tests.oracle.settings import HOUR, Settings


class Side(NamedTuple):
    """Rows of a feature in a span: all rows, rows with a number, rows with a text, and of these
    the rows of each text.
    """

    rows: int
    numbers: int
    texts: int
    by_text: Counter[str]

    @property
    def missing(self) -> tuple[int, int]:
        return self.rows - self.numbers - self.texts, self.rows


Series = tuple[str, str, str]


class DriftOracle:
    """Drift of a joined log."""

    def __init__(self, joined: Joined, settings: Settings) -> None:
        self.settings = settings
        self.last = joined.last_prediction
        self.rows: dict[Series, list[tuple[int, dict[str, Any]]]] = {}
        for prediction in joined.predictions:
            if not prediction.late:
                features = prediction.row.value.get("features") or {}
                for segment in segments_of(prediction, settings):
                    of_series = self.rows.setdefault((*prediction.series, segment), [])
                    of_series.append((prediction.row.time, features))

    def side(self, series: Series, feature: str, start: int, end: int) -> Side:
        values = [
            features.get(feature)
            for time, features in self.rows.get(series, [])
            if start <= time < end
        ]
        numbers = sum(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
        of_texts = [
            str(v).lower() if isinstance(v, bool) else v
            for v in values
            if isinstance(v, str | bool)
        ]
        return Side(len(values), numbers, len(of_texts), Counter(of_texts))

    def covered(self, series: Series, window: str, start: int, end: int) -> float:
        model = self.settings.of(series[0])
        size, step = next((size, step) for name, size, step in model.window_sizes if name == window)
        is_hourly = size % HOUR == step % HOUR == HOUR % self.settings.pane == 0
        grain = HOUR if is_hourly else self.settings.pane
        first = min(time for time, _ in self.rows[series[0], series[1], "all"])
        grains = range(start, end, grain)
        with_data = [
            at
            for at in grains
            if at >= first - first % grain and at <= self.last - self.last % grain
        ]
        return round(len(with_data) / len(grains), 6)

    def differences(self, records: Iterable[dict[str, Any]]) -> list[str]:
        """Differences of drift records, one sentence each."""
        by_target: dict[tuple[Any, ...], dict[str, dict[str, Any]]] = {}
        sentences = []
        for record in records:
            series = (record["model_name"], record["model_version"], record["segment"])
            key = (series, record["target"], record["window"], record["window_start"])
            methods = by_target.setdefault(key, {})
            if record["method"] in methods:
                sentences.append(f"{key} {record['method']} is emitted twice")
            methods[record["method"]] = record
        for key, methods in by_target.items():
            sentences += [f"{key}: {text}" for text in self._of_target(key, methods)]
        return sentences

    def _of_target(self, key: tuple[Any, ...], methods: dict[str, dict[str, Any]]) -> Iterable[str]:
        series, target, window, _ = key
        one = methods["psi"]
        start, end = _ms(one["window_start"]), _ms(one["window_end"])
        covered = self.covered(series, window, start, end)
        for method, record in methods.items():
            if record["covered_share"] != covered:
                yield f"{method} has covered_share {record['covered_share']}, needed {covered}"
            if covered < 0.95 and record["level"] != "insufficient_data":
                yield f"{method} has level {record['level']}, but is covered to {covered}"
        if not target.startswith("feature:"):
            if methods.keys() & {"missing", "kind", "unseen"}:
                yield "no feature, but its shares are judged"
            return
        feature = target.removeprefix("feature:")
        reference_start, _, reference_end = one["reference_id"].rpartition("@")[2].partition("/")
        now = self.side(series, feature, start, end)
        before = self.side(series, feature, _ms(reference_start), _ms(reference_end))
        of_texts = before.texts > before.numbers
        for method, name, usual, current in (
            ("missing", "missing_share", before.missing, now.missing),
            ("kind", "other_kind_share", _others(before, of_texts), _others(now, of_texts)),
        ):
            found = methods.get(method)
            if (found is not None) != bool(usual[0] or current[0]):
                yield f"{method}: found {found}, counted {usual} and {current}"
            for record in methods.values() if method == "missing" else [found] if found else []:
                shares = record["details"].get(name), record["details"].get(f"reference_{name}")
                if shares != (_share(*current), _share(*usual)):
                    yield f"{record['method']} has {shares}, counted {current} and {usual}"
            if found is not None:
                yield from _verdict(found, usual, current, covered)
        yield from self._unseen(methods.get("unseen"), before, now, covered)

    def _unseen(
        self, found: dict[str, Any] | None, before: Side, now: Side, covered: float
    ) -> Iterable[str]:
        unseen = now.by_text - Counter(dict.fromkeys(before.by_text, now.texts))
        is_text = before.texts > before.numbers
        is_judged = is_text and max(len(before.by_text), len(now.by_text)) <= 1_000 and bool(unseen)
        if (found is not None) != is_judged:
            yield f"unseen: found {found}, counted {unseen}"
        if found is None:
            return
        usual = sum(n == 1 for n in before.by_text.values()), before.texts
        current = unseen.total(), now.texts
        details = found["details"]
        shares = details["unseen_share"], details["reference_unseen_share"]
        if shares != (_share(*current), _share(*usual)):
            yield f"unseen has {shares}, counted {current} and {usual}"
        named = sorted(unseen.items(), key=lambda each: (-each[1], each[0]))[:3]
        if details["unseen"] != dict(named):
            yield f"unseen names {details['unseen']}, counted {named}"
        yield from _verdict(found, usual, current, covered)


def _verdict(
    record: dict[str, Any], usual: tuple[int, int], current: tuple[int, int], covered: float
) -> Iterable[str]:
    sizes = record["n_reference"], record["n_current"]
    if sizes != (usual[1], current[1]):
        yield f"{record['method']} compares {sizes}, needed {usual[1], current[1]}"
    if covered < 0.95 or min(sizes) < 100:
        if record["level"] != "insufficient_data" or record["statistic"] is not None:
            yield f"{record['method']} is judged from {sizes} rows, covered to {covered}"
    elif record["statistic"] is not None:
        h = 2 * asin(sqrt(current[0] / current[1])) - 2 * asin(sqrt(usual[0] / usual[1]))
        if abs(record["statistic"] - h) > 1e-5:
            yield f"{record['method']} has h {record['statistic']}, needed {h}"


def _others(side: Side, of_texts: bool) -> tuple[int, int]:
    return (side.numbers if of_texts else side.texts), side.numbers + side.texts


def _share(hits: int, rows: int) -> float | None:
    return round(hits / rows, 6) if rows else None


def _ms(text: str) -> int:
    return round((datetime.fromisoformat(text) - EPOCH).total_seconds() * 1000)
