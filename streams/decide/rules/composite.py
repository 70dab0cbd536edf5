"""Alert rule: other rules of the model have open alerts together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, Self

import msgspec

from driftline.schemas.settings import ModelConfig
from driftline.streams.decide.judgement import (
    Judgement,
    Measurement,
    OpenEpisode,
    OpenEpisodes,
    Part,
    Severity,
    Situation,
)
from driftline.streams.decide.rule import InvalidRule, Reads, Rule
from driftline.streams.decide.wording import listed, moment, subject
from driftline.streams.lanes import ALL


class CompositeRule(
    Rule, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="composite"
):
    """Fires while the alerts of other rules of the model are open together, on one version.

    An alert that is silenced or acknowledged is open. The condition is judged once for each time,
    when all other rules have been: two alerts of which one ends when the other begins are not open
    together. While the alert is open, a rule of `all` or `any` whose alert opens too is announced
    by another record of it.

    Parameters
    ----------
    all_, any_, not_
        `all`, `any`, `not`: names of rules. The alert fires if all of the first, one of the second
        (if there are any) and none of the third have an open alert. For the segment "all" those of
        any segment count, else those of the same one. Composites may be named too.
    severity
        Severity of the alert.

    Examples
    --------
    >>> rule = CompositeRule(all_=("drift", "performance_drop"), not_=("no_data",), for_="1h")
    >>> rule.bound(ModelConfig()).named
    ('drift', 'performance_drop', 'no_data')
    """

    for_: int | str = msgspec.field(default="0s", name="for")
    all_: tuple[str, ...] = msgspec.field(default=(), name="all")
    any_: tuple[str, ...] = msgspec.field(default=(), name="any")
    not_: tuple[str, ...] = msgspec.field(default=(), name="not")
    severity: Severity = "warning"

    reads: ClassVar[Reads] = "alerts"
    concerns: ClassVar[Literal["behavior", "supply", "service", "alerts"]] = "alerts"

    @property
    def named(self) -> tuple[str, ...]:
        """The rules that this one names."""
        return (*self.all_, *self.any_, *self.not_)

    def may_share_cause(self, other: Rule) -> bool:
        """The alerts that are open together are the cause of this one."""
        return other.name in (*self.all_, *self.any_)

    def bound(self, config: ModelConfig) -> Self:
        """As `Rule.bound`; checks the lists of names and `for`."""
        if not self.all_ and not self.any_:
            raise InvalidRule("all", "needed are names of rules in all or any")
        for field, names in (("all", self.all_), ("any", self.any_), ("not", self.not_)):
            for name in names:
                if self.named.count(name) > 1:
                    raise InvalidRule(field, f'"{name}" is named twice')
        if isinstance(self.for_, int) and self.for_ != 1:
            raise InvalidRule(
                "for",
                f'{self.for_}: a composite reads no windows; needed is a duration such as "30m"',
            )
        return super().bound(config)

    def check_beside(self, rules: Mapping[str, Rule]) -> None:
        """As `Rule.check_beside`: the names are those of rules whose alerts this one can see, and
        none of them reads this one.
        """
        for field, names in (("all", self.all_), ("any", self.any_), ("not", self.not_)):
            for name in names:
                other = rules.get(name)
                if other is None:
                    raise InvalidRule(
                        field,
                        f'"{name}" is no rule of this model; its rules: {", ".join(rules)}',
                    )
                if not self._can_see(other):
                    raise InvalidRule(
                        field,
                        f'"{name}" judges the segment "{other.segment}", never '
                        f'"{self.segment}", which this rule looks at',
                    )
                circle = _way_to(self.name, name, rules)
                if circle:
                    raise InvalidRule(
                        field, f"{' -> '.join((self.name, *circle))}: the rules read each other"
                    )

    def _can_see(self, other: Rule) -> bool:
        if self.segment == ALL:
            return True
        if self.segment.endswith("=*"):
            return other.segment.startswith(self.segment[:-1])
        return other.applies_to(self.segment)

    def judge(self, measurement: Measurement, situation: Situation) -> Judgement:
        """Judge "breach" while the condition holds, else "clear"."""
        if not isinstance(measurement, OpenEpisodes):
            raise TypeError(f"{self.kind}: reads alerts, got {type(measurement).__name__}")
        episodes = measurement.by_rule
        holds = (
            all(name in episodes for name in self.all_)
            and (not self.any_ or any(name in episodes for name in self.any_))
            and not any(name in episodes for name in self.not_)
        )
        named = [name for name in (*self.all_, *self.any_) if name in episodes]
        texts = [_text(name, episodes[name]) for name in named]
        who = subject(measurement.model_name, measurement.model_version, measurement.segment)
        if holds:
            finding = f"{self.name} holds for {who}, with open alerts of {listed(texts)}"
        else:
            against = [_text(name, episodes[name]) for name in self.not_ if name in episodes]
            finding = f"{self.name} no longer holds for {who}, with " + (
                f"open alerts of {listed(texts + against)}" if texts or against else "no open alert"
            )
        at_ms = measurement.at_ms
        return Judgement(
            verdict="breach" if holds else "clear",
            window_start_ms=at_ms,
            window_end_ms=at_ms,
            at_ms=at_ms,
            severity=self.severity,
            finding=finding,
            details={"open": [name for name in self.named if name in episodes]},
            parts={name: Part(1, text) for name, text in zip(named, texts, strict=True)}
            if holds
            else {},
        )


def inner_first(rules: Mapping[str, Rule]) -> list[CompositeRule]:
    """The composites of a model, each after those that it names; they have been checked."""
    ordered: dict[str, CompositeRule] = {}

    def add(rule: Rule) -> None:
        if isinstance(rule, CompositeRule) and rule.name not in ordered:
            for name in rule.named:
                add(rules[name])
            ordered[rule.name] = rule

    for rule in rules.values():
        add(rule)
    return list(ordered.values())


def _way_to(target: str, name: str, rules: Mapping[str, Rule]) -> tuple[str, ...]:
    """The names from one rule to another through what composites name; empty if there is no way."""
    seen: set[str] = set()

    def way(at: str) -> tuple[str, ...]:
        if at == target:
            return (at,)
        rule = rules.get(at)
        if at in seen or not isinstance(rule, CompositeRule):
            return ()
        seen.add(at)
        for each in rule.named:
            rest = way(each)
            if rest:
                return (at, *rest)
        return ()

    return way(name)


def _text(name: str, episodes: tuple[OpenEpisode, ...]) -> str:
    first = episodes[0]
    where = "" if first.segment == ALL else f" of {listed([each.segment for each in episodes])}"
    return f"{name}{where} ({first.severity} since {moment(first.starts_at_ms)})"
