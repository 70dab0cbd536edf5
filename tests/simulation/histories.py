"""Recorded logs with everything that goes wrong in practice, each drawn from one seed.

A seed draws a configuration and the rate of each kind of trouble. About a third of the kinds are
off in any one history, so that each kind also occurs without the others. Times are on the edges
that matter (a rung, a horizon, the end of a window) far more often than by chance.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from tests.oracle.recorded import label_text
from tests.simulation.alert_commands import alert_command, alert_rules, level_command
from tests.simulation.label_spellings import STRAYS, Spelling, spelling
from tests.simulation.wrong_lines import Event, wrong_prediction, wrong_truth

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BEGIN = 1_709_251_200_000  # 2024-03-01T00:00:00Z
MEGABYTE = 1 << 20

# Rate of each kind of trouble per prediction, in histories that have it.
TROUBLES = {
    "copied prediction": 0.10,
    "rewritten copy": 0.08,
    "conflict": 0.08,
    "conflict after the end": 0.04,
    "failed": 0.08,
    "shadow": 0.35,
    "truth first": 0.15,
    "truth long before": 0.04,
    "never": 0.12,
    "correction": 0.25,
    "retraction": 0.15,
    "equal truth": 0.12,
    "copied truth": 0.08,
    "truth at the same time": 0.08,
    "truth after the end": 0.08,
    "nothing but a retraction": 0.04,
    "unmatched": 0.08,
    "invalid prediction": 0.10,
    "invalid truth": 0.10,
    "late prediction": 0.10,
    "very late prediction": 0.04,
    "late truth": 0.12,
    "misdated prediction": 0.06,
    "misdated truth": 0.06,
}
OUT_OF_ORDER = (
    "late prediction",
    "very late prediction",
    "late truth",
    "misdated prediction",
    "misdated truth",
    "misdated rows",
    "decades behind",
)
# As `TROUBLES`, of kinds that change much of what follows: most histories are without them.
RARE_TROUBLES = {
    "misdated rows": 0.03,
    "decades behind": 0.04,
    "stray truth": 0.05,
    "stray prediction": 0.04,
    "no label": 0.1,
}
YEAR = 365 * DAY
MANY_STRAYS = tuple(f"stray {number}" for number in range(15))


@dataclass(frozen=True)
class ModelKind:
    """A model: its versions, labels, and the fields of its output."""

    model: str
    versions: tuple[str, ...]
    labels: tuple[Any, ...]
    output: str  # "prediction", "score", "scores", "both" or "agreeing"


KINDS = (
    ModelKind("churn", ("1.4.1", "1.4.2"), ("no", "yes"), "both"),
    ModelKind("fraud", ("2.0.0",), (False, True), "score"),
    ModelKind("digits", ("0.9.0", "1.0.0"), (0, 1, 2), "scores"),
    ModelKind("routing/é", ("7",), ("air", "rail", "road"), "prediction"),
    ModelKind("credit", ("3",), ("paid", "default"), "agreeing"),
    ModelKind("grading", ("5",), ("good", "bad"), "score"),
)
SHADOW = {
    "churn": "churn-shadow",
    "fraud": "fraud",
    "digits": "digits",
    "routing/é": "routing-shadow",
    "credit": "credit-shadow",
    "grading": "grading",
}


@dataclass(frozen=True)
class HistoryPlan:
    """Parameters of one history; durations in ms.

    `spelled` has how predictions and truths of a model write labels, of those that do not send them
    as they are. Strays come from the time `strays_from` on.
    """

    kinds: tuple[ModelKind, ...]
    prediction_grace: int
    truth_grace: int
    label_horizon: int
    correction_horizon: int
    park: int
    rungs: tuple[int, ...]
    steps: tuple[int, ...]
    span: int
    ids: int
    rates: dict[str, float]
    spelled: dict[str, tuple[Spelling, Spelling]]
    strays: tuple[str, ...]
    strays_from: int
    commanded: tuple[ModelKind, ...]
    toml: str


BARE = """last_n = []
since_deployment = false
default_rules = false"""
CHURN_LABELS = (
    'labels = ["no", "yes"]',
    'labels = ["yes", "maybe", "no"]',
    'positive_label = "yes"',
    'positive_label = "no"',
)
EVERYTHING = """last_n = [5, 20]
reference = "4h"
outcomes = true"""


def write(
    folder: Path,
    seed: int,
    *,
    late: bool = True,
    oversized: bool = False,
    everything: bool = False,
    ids: int | None = None,
) -> None:
    """Write predictions.jsonl, ground-truth.jsonl and driftline.toml of history number `seed` to
    `folder`, and in some histories registry-commands.jsonl and alert-commands.jsonl.

    Parameters
    ----------
    late
        False keeps every row within the grace of its topic, so that the number of partitions
        changes nothing.
    oversized
        True adds a line of 2 MiB to each topic.
    everything
        True keeps the default rules, the last-n and deployment figures, a reference of a few hours,
        configures no positive label, and in some histories adds rules that often fire and people
        who act on their alerts. The oracle does not cover these, but two runs must agree.
    ids
        Number of predictions; None draws it.
    """
    random = Random(seed)
    plan = draw_plan(random, late=late, everything=everything)
    history = History(random, plan)
    for number in range(plan.ids if ids is None else ids):
        history.add(number)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "driftline.toml").write_text(plan.toml, encoding="utf-8")
    for name, lines in (("predictions", history.predictions), ("ground-truth", history.truths)):
        if oversized:
            lines.append(
                (
                    random.randrange(BEGIN, BEGIN + plan.span),
                    b'{"prediction_id": "' + b"x" * 2 * MEGABYTE + b'"}',
                )
            )
        # sorted() is stable, so rows with equal times keep the order in which they were added.
        text = b"".join(line + b"\n" for _, line in sorted(lines, key=lambda timed: timed[0]))
        (folder / f"{name}.jsonl").write_bytes(text)
    commands = history.label_commands()
    if everything:
        # Drawn apart, so that the history is the same as without them.
        commands += write_alert_commands(folder, plan, Random(f"alerts of {seed}"))
    if commands:
        (folder / "registry-commands.jsonl").write_bytes(
            b"".join(line + b"\n" for _, line in sorted(commands))
        )


def write_alert_commands(
    folder: Path, plan: HistoryPlan, random: Random
) -> list[tuple[int, bytes]]:
    """Add alert commands to half of the histories, and rules that they are about; gives commands
    that set levels of these rules, each with its time.
    """
    if random.random() < 0.5:
        return []
    with (folder / "driftline.toml").open("a", encoding="utf-8") as file:
        for rule in alert_rules(random):
            values = "\n".join(f"{name} = {json.dumps(value)}" for name, value in rule.items())
            file.write(f"[[defaults.rules]]\n{values}\n")
    times = sorted(
        BEGIN + random.randrange(plan.span + plan.label_horizon)
        for _ in range(random.randrange(40))
    )
    series = [(kind.model, version) for kind in plan.kinds for version in kind.versions]
    lines = [alert_command(random, number, time, series)[1] for number, time in enumerate(times)]
    (folder / "alert-commands.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    times = [
        BEGIN + random.randrange(plan.span + plan.label_horizon)
        for _ in range(random.randrange(12))
    ]
    return [
        (time, level_command(random, number, time, series)[1]) for number, time in enumerate(times)
    ]


def draw_plan(random: Random, *, late: bool, everything: bool) -> HistoryPlan:
    rates = {
        name: rate * random.uniform(0.3, 2) if random.random() < 0.65 else 0.0
        for name, rate in TROUBLES.items()
    }
    rates |= {
        name: rate * random.uniform(0.3, 2) if random.random() < 0.25 else 0.0
        for name, rate in RARE_TROUBLES.items()
    }
    if not late:
        rates |= dict.fromkeys(OUT_OF_ORDER, 0.0)
    windows = random.choice(
        (["1h"], ["2h", "6h"], ["1h", "4h/2h"], ["30m", "2h"], ["90m", "3h/90m"], ["12h/4h", "1d"])
    )
    label_horizon = random.choice((6 * HOUR, 12 * HOUR, DAY))
    correction_horizon = random.choice((2 * HOUR, 6 * HOUR, DAY))
    rungs = tuple(
        sorted(random.sample((20 * MINUTE, HOUR, 2 * HOUR, 5 * HOUR), random.randint(1, 3)))
    )
    grace = random.choice((MINUTE, 5 * MINUTE))
    truth_grace = random.choice((10 * MINUTE, HOUR))
    park = label_horizon + random.choice((0, 3 * HOUR))
    segments = random.choice(([], ["plan"], ["plan", "region"]))
    ids = random.randint(30, 110)
    kinds = tuple(random.sample(KINDS, 2))
    if random.random() < 0.15:  # enough truths of one model to settle its classes
        ids, kinds = random.randint(200, 350), kinds[:1]
        if random.random() < 0.6:
            rates |= {"stray truth": 0.03, "stray prediction": 0.01}
    spelled = {
        kind.model: (spelling(random, texts), spelling(random, texts))
        for kind in kinds
        for texts in [tuple(str(label_text(label)) for label in kind.labels)]
        if random.random() < 0.3
    }
    is_set = random.random() < 0.7 and not everything
    churn = random.choice((*[""] * 6, *CHURN_LABELS))
    # Where the configuration leaves room for commands.
    free = [kind for kind in kinds if not {"churn": churn, "fraud": is_set}.get(kind.model, False)]
    commanded = tuple(free) if random.random() < 0.2 else ()
    toml = f"""[defaults]
windows = {json.dumps(windows)}
label_horizon = "{_short(label_horizon)}"
correction_horizon = "{_short(correction_horizon)}"
maturity = {json.dumps([_short(rung) for rung in rungs])}
prediction_grace = "{_short(grace)}"
truth_grace = "{_short(truth_grace)}"
park = "{_short(park)}"
segments = {json.dumps(segments)}
{EVERYTHING if everything else BARE}
[models.churn]
{churn}
[models.fraud]
{'positive_label = "true"' if is_set else ""}
threshold = 0.4
segments = ["plan"]
[models.digits]
label_horizon = "{_short(5 * HOUR + 5 * MINUTE)}"
correction_horizon = "{_short(3 * HOUR)}"
segments = []
"""
    steps = tuple(_duration(part) for window in windows for part in window.split("/"))
    span = random.choice((3 * HOUR, 7 * HOUR, 15 * HOUR))
    return HistoryPlan(
        kinds,
        grace,
        truth_grace,
        label_horizon,
        correction_horizon,
        park,
        (*rungs, label_horizon),
        steps,
        span,
        ids,
        rates,
        spelled,
        random.choice((STRAYS, STRAYS[:1], MANY_STRAYS)),
        BEGIN + int(span * random.choice((0, 0, 0.5, 0.8))),
        commanded,
        toml,
    )


def spelled(share: float) -> float:
    """A score as models send it: few digits, or many; close to 0 or 1; beyond them by rounding."""
    score = round(share, 3)
    forms = (score, share, 1e-4 * share, 1e-9 * share, 1 - 1e-6 * share, 1 + 1e-6 * share)
    return (*forms, -1e-6 * share, score + 1e-12)[round(1000 * score) % 8]


class History:
    """Lines of both topics, each with the time at which it is written to the log."""

    def __init__(self, random: Random, plan: HistoryPlan) -> None:
        self.random = random
        self.plan = plan
        self.predictions: list[tuple[int, bytes]] = []
        self.truths: list[tuple[int, bytes]] = []

    def happens(self, trouble: str) -> bool:
        return self.random.random() < self.plan.rates[trouble]

    def add(self, number: int) -> None:
        """Add the events of one id."""
        random = self.random
        identity = random.choice((f"{number}", f"request-{number:05d}", f"ид-{number}"))
        kind = random.choice(self.plan.kinds)
        time = self.moment()
        event = self.prediction(identity, kind, kind.model, random.choice(kind.versions), time)
        self.send_prediction(event)
        if self.happens("shadow"):
            self.shadow(identity, kind, event)
        self.prediction_troubles(event, kind)
        self.truths_of(identity, kind, time)
        if self.happens("unmatched"):
            self.send_truth(self.truth(f"nobody-{number}", kind, self.moment(), 0))
        if self.happens("misdated prediction"):
            misdated = self.prediction(
                f"misdated-{number}", kind, kind.model, kind.versions[0], self.too_late(time)
            )
            self.predictions.append((time, self.line(misdated, False, PREDICTION_ALIASES)))
        if self.happens("misdated truth"):
            misdated = self.truth(f"misdated-{number}", kind, self.too_late(time), 0)
            self.truths.append((time, self.line(misdated, False, TRUTH_ALIASES)))
        if self.happens("misdated rows"):
            self.misdated_rows(number, kind, time)
        if self.happens("decades behind"):
            self.decades_behind(number, identity, kind, time)
        if self.happens("invalid prediction"):
            self.predictions.append((self.moment(), wrong_prediction(far_ahead(event), random)))
        if self.happens("invalid truth"):
            self.truths.append(
                (self.moment(), wrong_truth(far_ahead(self.truth(identity, kind, time, 0)), random))
            )

    def moment(self) -> int:
        """A time in the span, with probability 0.2 at an edge of a window."""
        time = BEGIN + self.random.randrange(self.plan.span)
        if self.random.random() < 0.2:
            step = self.random.choice(self.plan.steps)
            time = time - time % step + self.random.choice((-1, 0, 1))
        return time

    def too_late(self, time: int) -> int:
        """A wrong time of an event, ahead of the right one: near the limit, or far beyond it."""
        ahead = self.random.choice((HOUR, 2 * HOUR, 9 * HOUR, 30 * HOUR, 10 * DAY, 200 * DAY))
        return time + ahead + self.random.choice((-1, 0, 1))

    def misdated_rows(self, number: int, kind: ModelKind, time: int) -> None:
        """Add rows of different ids that are dated ahead together: too few to be borne out, as many
        as are needed, and more.
        """
        random = self.random
        # They drop all rows after them if they are enough, so this is late in the history.
        is_late = time > BEGIN + self.plan.span // 2
        rows = random.choice((2, 3, 9, 10, 11, 14) if is_late else (2, 3, 5))
        # Time goes on there in steps of a pane once they are borne out.
        far = (3 * HOUR, 30 * HOUR, 10 * DAY) if rows > 8 else (30 * HOUR, YEAR, 700 * DAY)
        ahead = random.choice(far)
        of_truths = random.random() < 0.5
        for place in range(rows):
            wrong = time + ahead + random.randrange(-2 * HOUR, 2 * HOUR)
            identity = f"ahead-{number}-{place}"
            if of_truths:
                line = self.line(self.truth(identity, kind, wrong, 0), False, TRUTH_ALIASES)
                self.truths.append((time, line))
            else:
                event = self.prediction(identity, kind, kind.model, kind.versions[0], wrong)
                self.predictions.append((time, self.line(event, False, PREDICTION_ALIASES)))

    def decades_behind(self, number: int, identity: str, kind: ModelKind, time: int) -> None:
        """Add a row dated decades before the others, a truth of the id `identity` or of another."""
        random = self.random
        wrong = time - random.choice((10, 20, 40)) * YEAR
        other = f"behind-{number}"
        if random.random() < 0.5:
            truth = self.truth(random.choice((identity, other)), kind, wrong, 0)
            self.truths.append((time, self.line(truth, False, TRUTH_ALIASES)))
        else:
            event = self.prediction(other, kind, kind.model, kind.versions[0], wrong)
            self.predictions.append((time, self.line(event, False, PREDICTION_ALIASES)))

    def label(self, kind: ModelKind, side: int, time: int) -> Any:
        """A label as predictions (side 0) or truths (side 1) send it at a time."""
        random = self.random
        if time >= self.plan.strays_from and self.happens(
            ("stray prediction", "stray truth")[side]
        ):
            return random.choice(self.plan.strays)
        return self.spelled(kind, side, random.choice(kind.labels))

    def spelled(self, kind: ModelKind, side: int, label: Any) -> Any:
        """A label of the model as one side writes it."""
        if kind.model not in self.plan.spelled:
            return label
        return self.plan.spelled[kind.model][side](str(label_text(label)), self.random)[0]

    def label_commands(self) -> list[tuple[int, bytes]]:
        """Commands that set the labels of models, each with its time."""
        random = self.random
        commands = []
        for kind in self.plan.commanded:
            for number in range(random.randint(1, 3)):
                time = BEGIN + random.randrange(self.plan.span + self.plan.label_horizon)
                texts = [str(label_text(label)) for label in kind.labels]
                labels = random.choice((texts, [*texts, random.choice(self.plan.strays)], None))
                params = {
                    "labels": list(dict.fromkeys(labels)) if labels else None,
                    "positive_label": random.choice((None, *texts)),
                }
                value = {
                    "command_id": f"labels of {kind.model} {number}",
                    "command": "set_labels",
                    "model_name": kind.model,
                    "timestamp": rfc3339(time),
                    "requested_by": "somebody",
                    "params": {name: each for name, each in params.items() if each is not None},
                }
                commands.append((time, json.dumps(value).encode()))
        return commands

    def delay(self) -> int:
        """Delay of a truth, mostly within the horizon, one in three at the edge of a rung."""
        if self.random.random() < 0.35:
            return self.random.choice(self.plan.rungs) + self.random.choice((-1, 0, 1))
        return int(self.plan.label_horizon * self.random.random() ** 3)

    def prediction(
        self, identity: str, kind: ModelKind, model: str, version: str, time: int
    ) -> Event:
        random = self.random
        event: Event = {
            "prediction_id": identity,
            "model_name": model,
            "model_version": version,
            "timestamp": time,
        }
        if self.happens("failed"):
            event["status"] = "error"
        else:
            event |= self.output_of(kind, time)
        if random.random() < 0.7:
            event["segment"] = {
                "plan": random.choice(("free", "pro", 7, True)),
                "region": random.choice(("eu", "us", "a=b/c")),
            }
            if random.random() < 0.2:
                del event["segment"]["region"]
        if random.random() < 0.3:
            age = random.randrange(90)
            event["features"] = {
                "age": age if age % 17 else str(age),
                "color": random.choice(("red", "green")),
                "balance": None,
            }
        if random.random() < 0.3:
            event["latency_ms"] = random.randrange(1, 4_000) / 4
        return event

    def output_of(self, kind: ModelKind, time: int) -> Event:
        random = self.random
        score = random.choice((0, 1, 0.5, 0.4, spelled(random.random())))
        label = self.label(kind, 0, time)
        if kind.output == "prediction" or (kind.output == "both" and random.random() < 0.5):
            return {"prediction": label}
        if kind.output == "scores":
            scores = {
                str(label_text(self.spelled(kind, 0, each))): random.choice(
                    (0.25, 0.5, round(random.random(), 2))
                )
                for each in kind.labels
            }
            return (
                {"scores": scores}
                if random.random() < 0.7
                else {"prediction": label, "scores": scores}
            )
        if self.happens("no label"):
            label = random.choice(("", "NaN", "NA", "null", "None", "  ", None))
            return {"prediction": label, "score": score}
        if kind.output == "agreeing":
            score = random.choice((0.5, 0.501, 1, round(random.uniform(0.5, 1), 3)))
            label = self.spelled(kind, 0, kind.labels[1])
            if random.random() < 0.5:
                score, label = round(1 - score, 3), self.spelled(kind, 0, kind.labels[0])
        if kind.output in ("both", "agreeing"):
            return {"prediction": label, "score": score}
        return (
            {"score": score}
            if random.random() < 0.7
            else {"score": score, "threshold": random.choice((0.4, 0.5, 0.7))}
        )

    def truth(
        self, identity: str, kind: ModelKind, time: int, revision: int, *, retracted: bool = False
    ) -> Event:
        event: Event = {"prediction_id": identity, "timestamp": time}
        if revision or self.random.random() < 0.5:
            event["revision"] = revision
        if retracted:
            event["retracted"] = True
        if not retracted or self.random.random() < 0.3:
            event["label"] = self.label(kind, 1, time)
        return event

    def shadow(self, identity: str, kind: ModelKind, event: Event) -> None:
        """Add a prediction of another model or version for the same request."""
        copy = {
            **event,
            "model_name": SHADOW[kind.model],
            "timestamp": event["timestamp"] + self.random.choice((0, 1, 2 * HOUR)),
        }
        copy["model_version"] = self.random.choice((*kind.versions, "9.9.9"))
        if (copy["model_name"], copy["model_version"]) != (
            event["model_name"],
            event["model_version"],
        ):
            self.send_prediction(copy)

    def prediction_troubles(self, event: Event, kind: ModelKind) -> None:
        random = self.random
        if self.happens("copied prediction"):
            self.send_prediction(event)
        if self.happens("rewritten copy"):
            self.send_prediction(event, rewritten=True)
        if self.happens("conflict"):
            other = {
                **event,
                **self.output_of(kind, event["timestamp"]),
                "timestamp": event["timestamp"] + random.choice((0, 1, HOUR)),
            }
            self.send_prediction(other)
        if self.happens("conflict after the end"):
            later = (
                event["timestamp"]
                + self.plan.label_horizon
                + random.choice((0, 1, MINUTE, HOUR, self.plan.correction_horizon, DAY))
            )
            self.send_prediction({**event, "timestamp": later})
            if random.random() < 0.7:
                self.send_truth(self.truth(event["prediction_id"], kind, later + self.delay(), 0))

    def truths_of(self, identity: str, kind: ModelKind, time: int) -> None:
        random, plan = self.random, self.plan
        if self.happens("never"):
            return
        known = time + self.delay()
        if self.happens("truth first"):
            known = time - random.choice(
                (1, MINUTE, plan.prediction_grace, random.randrange(plan.label_horizon))
            )
        if self.happens("truth long before"):
            known = time - plan.park + random.choice((-HOUR, -MINUTE, -1, 0, 1, HOUR))
        first = self.truth(
            identity,
            kind,
            known,
            random.choice((0, 0, 0, 1)),
            retracted=self.happens("nothing but a retraction"),
        )
        truths = [first]
        # Where revisions stay equal, a label can be in force again after another one.
        by_revision = random.random() < 0.5
        while self.happens("correction") and len(truths) < 4:
            revision = len(truths) if by_revision else 0
            truths.append(self.truth(identity, kind, self.after(known), revision))
        if self.happens("retraction"):
            revision = len(truths) if by_revision else 0
            truths.append(self.truth(identity, kind, self.after(known), revision, retracted=True))
            if random.random() < 0.5:
                revision = len(truths) if by_revision else 0
                truths.append(self.truth(identity, kind, self.after(known), revision))
        if self.happens("truth at the same time"):
            truths.append({**random.choice(truths), "label": self.label(kind, 1, known)})
        if self.happens("equal truth"):
            equal = random.choice(truths)
            truths.append(
                {**equal, "timestamp": equal["timestamp"] + random.choice((-MINUTE, -1, 1, HOUR))}
            )
        if self.happens("truth after the end"):
            end = random.choice(
                (time + plan.label_horizon, known + plan.correction_horizon, known + plan.park)
            )
            truths.append(
                self.truth(
                    identity,
                    kind,
                    end + random.choice((0, 1, MINUTE, 8 * MINUTE, HOUR)),
                    len(truths),
                )
            )
        for truth in truths:
            self.send_truth(truth)
            if self.happens("copied truth"):
                self.send_truth(truth, rewritten=random.random() < 0.5)

    def after(self, known: int) -> int:
        """Time of a further truth, one in three at the edge of the correction horizon."""
        if self.random.random() < 0.35:
            return known + self.plan.correction_horizon + self.random.choice((-1, 0, 1))
        return known + int(self.plan.correction_horizon * 1.1 * self.random.random() ** 2)

    def send_prediction(self, event: Event, *, rewritten: bool = False) -> None:
        plan = self.plan
        wait = self.random.randrange(plan.prediction_grace)
        if self.happens("late prediction"):
            wait = self.random.choice(
                (
                    plan.prediction_grace,
                    plan.rungs[0],
                    self.random.randrange(min(plan.label_horizon, plan.correction_horizon)),
                )
            )
        if self.happens("very late prediction"):
            wait = min(plan.label_horizon, plan.correction_horizon) + self.random.randrange(
                plan.span
            )
        self.predictions.append(
            (event["timestamp"] + wait, self.line(event, rewritten, PREDICTION_ALIASES))
        )

    def send_truth(self, event: Event, *, rewritten: bool = False) -> None:
        wait = self.random.randrange(self.plan.truth_grace)
        if self.happens("late truth"):
            wait = self.random.choice(
                (self.plan.truth_grace, HOUR, self.random.randrange(self.plan.label_horizon))
            )
        self.truths.append((event["timestamp"] + wait, self.line(event, rewritten, TRUTH_ALIASES)))

    def line(self, event: Event, rewritten: bool, aliases: dict[str, str]) -> bytes:
        """The event as JSON; `rewritten` is the same content with other names and spelling."""
        random = self.random
        time = event["timestamp"]
        if not rewritten:
            return json.dumps(
                {**event, "timestamp": rfc3339(time)}, ensure_ascii=False, separators=(",", ":")
            ).encode()
        content = {
            **event,
            "timestamp": random.choice(
                (
                    time,
                    rfc3339(time, hours=random.choice((0, 2, -5))),
                    time / 1_000,
                    time * 1_000 + 999,
                    f"{time}",
                    rfc3339(time).removesuffix("Z").replace("T", " "),
                )
            ),
        }
        if content.get("score") in (0, 1):
            content["score"] = float(content["score"])
        names = list(content)
        random.shuffle(names)
        renamed = {
            aliases.get(name, name) if random.random() < 0.5 else name: content[name]
            for name in names
        }
        return json.dumps(
            renamed, indent=None, separators=(", ", " : "), ensure_ascii=random.random() < 0.5
        ).encode()


PREDICTION_ALIASES = {
    "prediction_id": "request_id",
    "model_name": "model",
    "model_version": "version",
    "timestamp": "event_time",
    "score": "probability",
    "prediction": "y_pred",
}
TRUTH_ALIASES = {"prediction_id": "inference_id", "timestamp": "ts", "label": "y_true"}


def far_ahead(event: Event) -> Event:
    """The event with a time that would move a watermark by ten days if it were valid."""
    return {**event, "timestamp": rfc3339(event["timestamp"] + 10 * DAY)}


def rfc3339(time: int, *, hours: int = 0) -> str:
    """The time as RFC 3339 text, with an offset of `hours` from UTC."""
    local = EPOCH + timedelta(milliseconds=time, hours=hours)
    fraction = f".{time % 1000:03d}" if time % 1000 else ""
    return local.strftime("%Y-%m-%dT%H:%M:%S") + fraction + (f"{hours:+03d}:00" if hours else "Z")


def _short(ms: int) -> str:
    return f"{ms // HOUR}h" if ms % HOUR == 0 else f"{ms // MINUTE}m"


def _duration(text: str) -> int:
    return int(text[:-1]) * {"m": MINUTE, "h": HOUR, "d": DAY}[text[-1]]
