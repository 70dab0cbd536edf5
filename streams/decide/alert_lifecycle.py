"""Life cycle of an alert: judgements of consecutive windows become firing and resolved.

        breach, shorter than `for`          breach for as long as `for`
    ok ---------------------> pending ---------------------------> firing --+ more severe breach, or
     ^                           |                                   |      | another part of it:
     |   no breach, unclear,     |                                   +------+ same episode
     +-- or a window is missing -+            clear                  |
     +---------------------------------------------------------------+
                       resolved; fires again after `cool_down` at the earliest

A person may acknowledge an open episode, until it ends; accept its level, which ends it; or silence
it, which changes nothing but its records. None of these is a judgement: an episode fires once and
ends once, whatever people do.

Pure functions of a state and a judgement, or an act. The rules decide what a breach is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from driftline.schemas.results import Acknowledgement, AlertChange
from driftline.streams.decide.judgement import SEVERITIES, Judgement, Severity


class Run(msgspec.Struct, frozen=True, array_like=True):
    """Consecutive windows in breach.

    Parameters
    ----------
    windows
        Number of windows.
    since_ms
        Start of the first one.
    """

    windows: int
    since_ms: int


class AlertState(msgspec.Struct, frozen=True, omit_defaults=True):
    """State of one rule on one series.

    Parameters
    ----------
    window_end_ms
        End of the newest window judged; a window that does not end later is not judged.
    runs
        By severity, the run of breaches of at least that severity; empty unless the newest window
        was in breach.
    firing
        Whether an episode is open.
    severity, starts_at_ms
        Severity and start of the open or last episode.
    ended_at_ms
        End of the last episode.
    began_ms, news_ms
        When what the open or last episode announced last had begun, and when it announced it.
    group_id
        The group of the open or last episode (`alert_groups.py`).
    announced
        By part of the breach, the greatest rank that the open episode has announced. It stays for
        the episode: a part that recovers and comes back is not announced again.
    joining
        By part and rank that are not announced, the run of windows with at least that rank.
    acknowledged
        Who has taken on the open or last episode.
    silenced_by
        Ids of the silences that the newest record of the episode names.
    """

    window_end_ms: int = -1
    runs: dict[str, Run] = {}
    firing: bool = False
    severity: Severity = "info"
    starts_at_ms: int = -1
    ended_at_ms: int | None = None
    began_ms: int = -1
    news_ms: int = -1
    group_id: str = ""
    announced: dict[str, int] = {}
    joining: dict[str, dict[int, Run]] = {}
    acknowledged: Acknowledgement | None = None
    silenced_by: tuple[str, ...] = ()


def next_state(
    state: AlertState,
    judged: Judgement,
    *,
    is_long_enough: Callable[[Run, int], bool],
    cool_down_ms: int = 0,
    step_ms: int | None = None,
) -> tuple[AlertState, AlertChange | None]:
    """The state after one more window, and the change to announce.

    Parameters
    ----------
    judged
        Judgement of a window that ends after the newest one; any other changes nothing.
    is_long_enough
        Whether a run that lasts to the given time, in ms, makes the alert fire.
    cool_down_ms
        Time after an episode in which no other begins.
    step_ms
        Distance from window to window; a greater one means that windows are missing in between.
        None if it is not known.

    Examples
    --------
    >>> twice = lambda run, end_ms: run.windows >= 2
    >>> state, changes = AlertState(), []
    >>> verdicts = ["breach", "unclear", "breach", "breach", "within", "unclear", "clear"]
    >>> for day, verdict in enumerate(verdicts):
    ...     judged = Judgement(
    ...         verdict=verdict, window_start_ms=day, window_end_ms=day + 1, at_ms=day + 1
    ...     )
    ...     state, change = next_state(state, judged, is_long_enough=twice)
    ...     changes.append(change)
    >>> changes
    [None, None, None, 'firing', None, None, 'resolved']
    """
    if judged.window_end_ms <= state.window_end_ms:
        return state, None
    is_gap = (
        step_ms is not None
        and state.window_end_ms >= 0
        and judged.window_end_ms > state.window_end_ms + step_ms
    )
    runs: dict[str, Run] = {}
    if judged.verdict == "breach":
        for severity in SEVERITIES[: SEVERITIES.index(judged.severity) + 1]:
            runs[severity] = _longer(None if is_gap else state.runs.get(severity), judged)
    joining = _joining(state, judged, is_gap=is_gap) if state.firing else {}
    state = msgspec.structs.replace(
        state, window_end_ms=judged.window_end_ms, runs=runs, joining=joining
    )
    worst = next(
        (
            severity
            for severity in reversed(SEVERITIES)
            if severity in runs and is_long_enough(runs[severity], judged.window_end_ms)
        ),
        None,
    )
    if worst is not None:
        if not state.firing:
            if state.ended_at_ms is not None and judged.at_ms < state.ended_at_ms + cool_down_ms:
                return state, None
            return msgspec.structs.replace(
                _with_news(state, judged, runs[worst]),
                firing=True,
                severity=worst,
                starts_at_ms=judged.at_ms,
                announced=_ranks(judged),
                acknowledged=None,
                silenced_by=(),
                group_id="",
            ), "firing"
        if SEVERITIES.index(worst) > SEVERITIES.index(state.severity):
            announced = state.announced | joined_parts(state.announced, _ranks(judged))
            return msgspec.structs.replace(
                _with_news(state, judged, runs[worst]), severity=worst, announced=announced
            ), "escalated"
        joined = {
            name: run
            for name, by_rank in joining.items()
            for run in by_rank.values()  # ascending ranks: the shortest that is long enough
            if is_long_enough(run, judged.window_end_ms)
        }
        if joined:
            # The record names each part as it is now, which may be worse than the rank whose run is
            # long enough.
            ranks = {name: judged.parts[name].rank for name in joined}
            newest = max(joined.values(), key=lambda run: run.since_ms)
            return msgspec.structs.replace(
                _with_news(state, judged, newest), announced=state.announced | ranks
            ), "joined"
    elif judged.verdict == "clear" and state.firing:
        return resolved(state, judged.at_ms), "resolved"
    return state, None


def joined_parts(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """The parts of `after` with a greater rank than in `before`.

    Examples
    --------
    >>> joined_parts({"age": 2, "plan": 3}, {"age": 3, "plan": 3, "city": 2})
    {'age': 3, 'city': 2}
    """
    return {name: rank for name, rank in after.items() if rank > before.get(name, 0)}


def _joining(state: AlertState, judged: Judgement, *, is_gap: bool) -> dict[str, dict[int, Run]]:
    """As `AlertState.joining`, with the window of the judgement."""
    joining = {}
    for name, part in judged.parts.items():
        before = {} if is_gap else state.joining.get(name, {})
        ranks = range(state.announced.get(name, 0) + 1, part.rank + 1)
        if ranks:
            joining[name] = {rank: _longer(before.get(rank), judged) for rank in ranks}
    return joining


def _with_news(state: AlertState, judged: Judgement, run: Run) -> AlertState:
    """The state when a breach is announced that began with a run."""
    began_ms = run.since_ms if judged.began_ms is None else judged.began_ms
    return msgspec.structs.replace(state, began_ms=began_ms, news_ms=judged.at_ms)


def _ranks(judged: Judgement) -> dict[str, int]:
    return {name: part.rank for name, part in judged.parts.items()}


def _longer(run: Run | None, judged: Judgement) -> Run:
    """The run with the window of the judgement; None is a run that begins with it."""
    return Run(run.windows + 1, run.since_ms) if run else Run(1, judged.window_start_ms)


def acknowledged(state: AlertState, by: Acknowledgement | None) -> AlertState:
    """The state after a person has taken on the open episode, or given it back (None)."""
    return msgspec.structs.replace(state, acknowledged=by)


def silenced(state: AlertState, ids: tuple[str, ...]) -> tuple[AlertState, AlertChange | None]:
    """The state of an open episode that these silences match, and the change to announce.

    Examples
    --------
    >>> state, change = silenced(AlertState(firing=True), ("night",))
    >>> change, silenced(state, ("night",))[1], silenced(state, ())[1]
    ('silenced', None, 'unsilenced')
    """
    if ids == state.silenced_by:
        return state, None
    return msgspec.structs.replace(state, silenced_by=ids), "silenced" if ids else "unsilenced"


def resolved(state: AlertState, at_ms: int) -> AlertState:
    """The state after its open episode ended."""
    return msgspec.structs.replace(
        state, firing=False, ended_at_ms=at_ms, runs={}, announced={}, joining={}
    )
