"""The results of a run as tables: Arrow, pandas, or plain dictionaries.

A `Results` reads the files of an output folder each time a table is asked for, so that it follows a
run that is still writing and needs no memory of its own. How lines are read is `output_folder.py`.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic

import msgspec

from driftline.agents.output_folder import (
    EVERYTHING,
    LOG_FILE,
    Selection,
    T,
    check_folder,
    count_dead_letters,
    read_records,
    read_run,
)
from driftline.schemas.actions import Action
from driftline.schemas.alert_commands import AlertEvent
from driftline.schemas.errors import DriftlineError
from driftline.schemas.notifications import Notification
from driftline.schemas.results import (
    Alert,
    Drift,
    Histogram,
    ModelLabels,
    ModelRules,
    Recommendation,
    ReferenceProfile,
    RegistryEntry,
    RegistryEvent,
    RuleWindows,
    WindowFigures,
    encode,
)
from driftline.schemas.topics import (
    ACTIONS,
    ALERT_EVENTS,
    ALERTS,
    DRIFT,
    HISTOGRAMS,
    METRICS,
    MODEL_LABELS,
    MODEL_RULES,
    NOTIFICATIONS,
    RECOMMENDATIONS,
    REFERENCE_PROFILES,
    REGISTRY,
    REGISTRY_EVENTS,
    RULE_WINDOWS,
)

if TYPE_CHECKING:
    import pandas
    import pyarrow

    from driftline.agents.inprocess.run_summary import ReplaySummary


class MissingExtra(DriftlineError, ImportError):
    """A library that Driftline does not install by default is missing; the message names it."""


class TemporaryOutput:
    """An output folder that is removed when nothing refers to this object any more."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="driftline-"))
        self._remove = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)

    def remove(self) -> None:
        """Remove it now."""
        self._remove()


class Table(Generic[T]):
    """The records of one output topic, in the order in which they were emitted.

    It exports an Arrow stream (`__arrow_c_stream__`), so pandas, polars, pyarrow, DuckDB and others
    read it directly; that and `arrow` need the extra `parquet`.

    Attributes
    ----------
    topic
        Name of the topic.
    type
        Type of its records, a struct of `driftline.schemas.results`.
    """

    def __init__(
        self,
        topic: str,
        type_: type[T],
        read: Callable[[Selection], Iterator[T]],
        owner: object = None,
        selection: Selection = EVERYTHING,
    ) -> None:
        self.topic = topic
        self.type = type_
        self._read = read
        self._owner = owner  # keeps a temporary folder
        self._selection = selection

    def where(
        self,
        *,
        model_name: str | None = None,
        model_version: str | None = None,
        segment: str | None = None,
        lane: str | None = None,
        window: str | None = None,
        final: bool | None = None,
    ) -> Table[T]:
        """The records with these values; None selects all values of a field.

        Examples
        --------
        >>> import driftline
        >>> results = driftline.replay([], [])
        >>> len(results.metrics.where(model_name="churn", lane="decisions", final=True))
        0
        """
        chosen = {
            "model_name": model_name,
            "model_version": model_version,
            "segment": segment,
            "lane": lane,
            "window": window,
            "final": final,
        }
        changes = {name: value for name, value in chosen.items() if value is not None}
        selection = msgspec.structs.replace(self._selection, **changes)
        return Table(self.topic, self.type, self._read, self._owner, selection)

    def latest(self) -> Table[T]:
        """The last record of each topic key: the revision of a figure that holds, the state of a
        model version that is in force, the last change of an alert.
        """

        def read(selection: Selection) -> Iterator[T]:
            last: dict[str, T] = {}
            for record in self._read(selection):
                key = record.key()  # type: ignore[attr-defined]
                last.pop(key, None)
                last[key] = record
            yield from last.values()

        return Table(self.topic, self.type, read, self._owner, self._selection)

    def structs(self) -> Iterator[T]:
        """The records as structs, whose times are integers of ms since the epoch.

        Raises
        ------
        ReadError
            If a line of the file is damaged.
        """
        selection = self._selection
        return self._read(EVERYTHING if selection == EVERYTHING else selection)

    def records(self) -> list[dict[str, Any]]:
        """The records as dictionaries, as they stand on the topic."""
        return list(self)

    def arrow(self) -> pyarrow.Table:
        """The records as an Arrow table.

        Times have the type timestamp[ms, UTC]. Nested fields become columns: `ci` of an alert gives
        `ci_low` and `ci_high`, `expected` of a recommendation `expected_metric` and so on; mappings
        of any content are JSON text. Each metric of the figures is a column under its own name,
        such as `f1`, with its 95 % interval in `f1_low` and `f1_high`, its bounds in `f1_bound_low`
        and `f1_bound_high`, and the reason for a missing value in `f1_null_reason`; each counter is
        a column such as `count_late`.

        Raises
        ------
        MissingExtra
            If pyarrow is not installed.
        """
        from driftline.agents.arrow_columns import arrow_table

        return arrow_table(_pyarrow(f"{self.topic} as Arrow"), self.type, list(self.structs()))

    def pandas(self) -> pandas.DataFrame:
        """The table of `arrow` as a pandas data frame, with times as datetime64[ms, UTC].

        Raises
        ------
        MissingExtra
            If pandas or pyarrow is not installed.
        """
        try:
            import pandas  # noqa: F401
        except ImportError as error:
            raise MissingExtra(
                f"{self.topic} as a pandas data frame needs pandas: pip install pandas"
            ) from error
        return self.arrow().to_pandas()

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self.arrow().__arrow_c_stream__(requested_schema)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for record in self.structs():
            yield msgspec.json.decode(encode(record))

    def __len__(self) -> int:
        return sum(1 for _ in self.structs())

    def __repr__(self) -> str:
        return f"<driftline.Table {self.topic}: {len(self):,} records>"


class Results:
    """What a run or an export wrote.

    Parameters
    ----------
    folder
        The folder that `driftline.replay` or a command wrote.
    summary
        What the run read and wrote; None if the folder was only opened.
    temporary
        The folder's owner, if it is removed with the results.

    Raises
    ------
    ReadError
        If there is no such folder, or it is not the output of a run.
    """

    def __init__(
        self,
        folder: str | PathLike[str],
        *,
        summary: ReplaySummary | None = None,
        temporary: TemporaryOutput | None = None,
    ) -> None:
        self.folder: Final = Path(folder)
        self.summary: Final = summary
        self._temporary = temporary
        check_folder(self.folder)

    @property
    def metrics(self) -> Table[WindowFigures]:
        """Figures of every series and window, once for each rung of the maturity ladder."""
        return self._table(METRICS, WindowFigures)

    @property
    def histograms(self) -> Table[Histogram]:
        """Score histograms behind the figures."""
        return self._table(HISTOGRAMS, Histogram)

    @property
    def drift(self) -> Table[Drift]:
        """Results of the drift tests."""
        return self._table(DRIFT, Drift)

    @property
    def alerts(self) -> Table[Alert]:
        """Changes of alerts: firing, updates, resolved."""
        return self._table(ALERTS, Alert)

    @property
    def notifications(self) -> Table[Notification]:
        """What was sent to people, of a run with `notify`; the last record of each id says what
        became of it.
        """
        return self._table(NOTIFICATIONS, Notification)

    @property
    def recommendations(self) -> Table[Recommendation]:
        """Recommendations and their outcomes."""
        return self._table(RECOMMENDATIONS, Recommendation)

    @property
    def rule_windows(self) -> Table[RuleWindows]:
        """Windows that the alert rules read, and rules that cannot judge; `latest` gives those of
        now.
        """
        return self._table(RULE_WINDOWS, RuleWindows)

    @property
    def registry(self) -> Table[RegistryEntry]:
        """States of the model versions; `latest` gives those in force."""
        return self._table(REGISTRY, RegistryEntry)

    @property
    def model_labels(self) -> Table[ModelLabels]:
        """Labels of models that the command `set_labels` has set; `latest` gives those in force."""
        return self._table(MODEL_LABELS, ModelLabels)

    @property
    def model_rules(self) -> Table[ModelRules]:
        """Levels of alert rules that commands have set."""
        return self._table(MODEL_RULES, ModelRules)

    @property
    def alert_events(self) -> Table[AlertEvent]:
        """What people did about alerts, and commands that were rejected."""
        return self._table(ALERT_EVENTS, AlertEvent)

    @property
    def actions(self) -> Table[Action]:
        """What alerts led to by themselves, and what was not done and why."""
        return self._table(ACTIONS, Action)

    @property
    def registry_events(self) -> Table[RegistryEvent]:
        """Changes of the registry, rejected commands and dry runs."""
        return self._table(REGISTRY_EVENTS, RegistryEvent)

    @property
    def reference_profiles(self) -> Table[ReferenceProfile]:
        """Reference profiles of drift, which `registry` names by `reference_id`."""
        return self._table(REFERENCE_PROFILES, ReferenceProfile)

    @property
    def rejected(self) -> dict[str, int]:
        """Number of rejected rows by input topic, for topics that have any; the rows and reasons
        are in `<topic>.dlq.jsonl` of the folder.
        """
        return count_dead_letters(self.folder)

    @property
    def uncounted_share(self) -> dict[str, float]:
        """Share of the predictions and of the ground truth that do not count, or not everywhere, by
        topic: rejected, late, or without a counterpart. `summary.uncounted` has the reasons. Empty
        for a folder that was opened, which has no summary.
        """
        return {} if self.summary is None else self.summary.uncounted_share

    @property
    def is_export(self) -> bool:
        """Whether the folder was exported from a broker instead of written by a run."""
        return (self.folder / LOG_FILE).is_file()

    def run(self) -> dict[str, Any]:
        """Identity of the run: its inputs, configuration and versions.

        Raises
        ------
        ReadError
            If the file is damaged.
        """
        return read_run(self.folder)

    def close(self) -> None:
        """Remove a temporary folder; a folder that the caller named stays."""
        if self._temporary is not None:
            self._temporary.remove()

    def __enter__(self) -> Results:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<driftline.Results {self.folder}>"

    def _table(self, topic: str, type_: type[T]) -> Table[T]:
        def read(selection: Selection) -> Iterator[T]:
            return read_records(self.folder, topic, type_, selection)

        return Table(topic, type_, read, self._temporary)


def open(folder: str | PathLike[str]) -> Results:
    """Read the output folder of a run, or an export.

    Parameters
    ----------
    folder
        What `driftline.replay`, or one of the commands `replay`, `demo` and `export` wrote.

    Raises
    ------
    ReadError
        If there is no such folder, or it is something else.

    Examples
    --------
    >>> import driftline
    >>> with driftline.replay([], []) as results:
    ...     driftline.open(results.folder).metrics.records()
    []
    """
    return Results(folder)


def _pyarrow(what: str) -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise MissingExtra(f'{what} needs pyarrow: pip install "driftline[parquet]"') from error
    return pyarrow
