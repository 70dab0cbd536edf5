"""`driftline.replay` and `driftline.check`: the Python API of a run and of the look before it.

The commands of these names use them too.
The run itself is `inprocess/replay.py`; reading its results is `results.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path

from driftline.agents.configuration import ConfigSource, checked_config
from driftline.agents.inprocess.notify_replay import channels_to_notify, with_notifications
from driftline.agents.inprocess.replay import replay as run_log
from driftline.agents.inprocess.run_summary import Progress
from driftline.agents.input_check.check import check_log
from driftline.agents.input_check.first_rows import notes_of_first_rows
from driftline.agents.recorded.inputs_to_log import Rows
from driftline.agents.recorded.row_order import RowOrder
from driftline.agents.recorded.staged_input import ColumnChoices, staged_input
from driftline.agents.recorded.tables.column_mapping import ColumnUse
from driftline.agents.results import Results, TemporaryOutput
from driftline.schemas.input_check import InputCheck


def replay(
    predictions: Rows,
    ground_truth: Rows | None = None,
    config: ConfigSource = None,
    out: str | PathLike[str] | None = None,
    *,
    partitions: int | None = None,
    batch: int = 10_000,
    open_end: bool = False,
    follow: bool = False,
    keep_order: bool = False,
    mapping: Mapping[str, str] | None = None,
    ground_truth_mapping: Mapping[str, str] | None = None,
    features: Sequence[str] = (),
    drop: Sequence[str] = (),
    notify: bool = False,
    progress: Callable[[Progress], None] | None = None,
    mapped: Callable[[Sequence[ColumnUse]], None] | None = None,
    noted: Callable[[Sequence[str]], None] | None = None,
) -> Results:
    """Run recorded predictions and their ground truth through the pipeline.

    The same inputs, configuration and options give the same records, byte for byte, as the command
    `driftline replay`.

    Parameters
    ----------
    predictions
        One of:

        - a file of JSON lines (.jsonl) or a list of dictionaries, in the order of arrival if they
          have one (see `keep_order`), with the fields of the topic `predictions` or the names that
          other systems use for them;
        - a table: a .csv or .parquet file, or a data frame of pandas, polars, pyarrow or any other
          library that exports an Arrow stream, in any order. A column is understood by its name and
          its values; columns of no field are features. docs/inputs.md has the rules. Data frames
          and Parquet need the extra `parquet`;
        - the folder of a recorded log, with `ground_truth` left out.
    ground_truth
        In the same forms, with `prediction_id`, `label` and `timestamp`. None if each row of the
        table `predictions` holds its label (`label`, `label_timestamp`), or if there is none.
    config
        A configuration file, its tables as a dictionary, or None for the defaults.
    out
        Output folder: new, empty, or of an earlier call with the same arguments, which is resumed.
        None for a temporary folder that is removed with the results.
    partitions
        Partitions of the input topics; None for those of an export, else 8.
    batch
        Lines per step; affects speed and memory, not the results.
    open_end
        Stop at the last record instead of advancing time until every window is final.
    follow
        Apply the recorded registry events of a log instead of executing its commands.
    keep_order
        Take the order of JSON lines and dictionaries as the order of arrival, also if more than 1 %
        of the rows are late then. By default such rows are sorted by event time, and
        `Results.summary.notes` says so.
    mapping
        Column of the table `predictions` by field; "=text" gives every row that text.
    ground_truth_mapping
        The same for the table `ground_truth`.
    features, drop
        Columns of the table `predictions` that are features whatever they are called, and columns
        that are left out.
    notify
        Send the notifications that the configuration asks for, once the run is finished, at their
        event times as fast as the channels take them; `Results.notifications` has them. A further
        call sends what is left. By default nothing is sent.
    progress
        Called after every commit.
    mapped
        Called for each table before its rows are read, with what became of each of its columns.
    noted
        Called before a new run, with sentences about what its first rows show that is to be set or
        mended; `check` looks at all rows.

    Raises
    ------
    LogError
        If an input cannot be read; names the argument or file, and the row at fault.
    ConfigError
        If the configuration is invalid, or the secret of a channel cannot be read; names the key.
    RunRefused
        If `out` is in use, or belongs to a run with other inputs or options.
    StateError
        If the state in `out` cannot be read.

    Notes
    -----
    A row that is invalid raises nothing: it is rejected with a reason and counted in
    `Results.rejected`. `Results.uncounted_share` is the share of rows that are lost in this or
    another way, for example because they are late.

    Examples
    --------
    >>> import driftline
    >>> hour = "2026-01-05T09:{:02d}:00Z".format
    >>> model = {"model_name": "churn", "model_version": "1.0.0"}
    >>> predictions = [
    ...     {"prediction_id": "a", "timestamp": hour(0), "prediction": "yes", **model},
    ...     {"prediction_id": "b", "timestamp": hour(20), "prediction": "no", **model},
    ... ]
    >>> truths = [
    ...     {"prediction_id": "a", "timestamp": hour(30), "label": "yes"},
    ...     {"prediction_id": "b", "timestamp": hour(50), "label": "yes"},
    ... ]
    >>> results = driftline.replay(predictions, truths, {"defaults": {"windows": ["1h"]}})
    >>> hourly = [row for row in results.metrics if row["window"] == "1h"]
    >>> [(row["maturity"], row["n"], row["metrics"]["accuracy"])
    ...     for row in hourly if row["lane"] == "decisions" and row["final"]]
    [('30d', 2, 0.5)]
    >>> print(results.metrics.pandas()["window_start"].dtype)
    datetime64[ms, UTC]
    """
    settings = checked_config(config)
    channels = channels_to_notify(settings) if notify else None

    def tell_first_rows(
        files: Mapping[str, Path], order: Mapping[str, RowOrder], latest_ms: int
    ) -> None:
        if noted is not None:
            noted(notes_of_first_rows(files, order, settings, latest_ms))

    with staged_input(
        predictions,
        ground_truth,
        ColumnChoices(mapping, ground_truth_mapping, features, drop),
        settings,
        partitions=partitions,
        follow=follow,
        mapped=mapped,
    ) as staged:
        temporary = TemporaryOutput() if out is None else None
        folder = temporary.folder if temporary else Path(out or "")
        summary = run_log(
            staged.source,
            folder,
            settings,
            partitions=staged.partitions,
            batch=batch,
            open_end=open_end,
            follow=follow,
            options=staged.options,
            keep_order=keep_order,
            progress=progress,
            mapped=mapped,
            ready=None if noted is None else tell_first_rows,
        )
        if channels is not None:
            summary = with_notifications(folder, settings, channels, summary)
    return Results(folder, summary=summary, temporary=temporary)


def check(
    predictions: Rows,
    ground_truth: Rows | None = None,
    config: ConfigSource = None,
    *,
    partitions: int | None = None,
    keep_order: bool = False,
    mapping: Mapping[str, str] | None = None,
    ground_truth_mapping: Mapping[str, str] | None = None,
    features: Sequence[str] = (),
    drop: Sequence[str] = (),
    progress: Callable[[Progress], None] | None = None,
    mapped: Callable[[Sequence[ColumnUse]], None] | None = None,
) -> InputCheck:
    """Say what a replay of recorded predictions and ground truth will understand, before it.

    The rows go through decoding, join and label rules as in a replay, without figures, in a
    temporary folder; that takes about three quarters of the time of the replay.

    Parameters
    ----------
    predictions, ground_truth, config, partitions, keep_order, mapping, ground_truth_mapping
        As those of `replay`.
    features, drop, progress, mapped
        As those of `replay`.

    Returns
    -------
    InputCheck
        The document of `driftline check --json`; `is_understood` says whether nothing is to be set
        or mended.

    Raises
    ------
    LogError, ConfigError
        As `replay`.

    Examples
    --------
    >>> import driftline
    >>> model = {"model_name": "pay", "model_version": "1"}
    >>> rows = [
    ...     {"prediction_id": f"p{i}", "timestamp": f"2026-01-05T09:{i:02d}:00Z", "score": i / 40}
    ...     | model
    ...     for i in range(40)
    ... ]
    >>> truths = [
    ...     {"prediction_id": f"p{i}", "timestamp": "2026-01-05T10:00:00Z",
    ...      "label": "bad" if i > 20 else "good"}
    ...     for i in range(40)
    ... ]
    >>> found = driftline.check(rows, truths)
    >>> found.is_understood, [label.label for label in found.models[0].labels]
    (False, ['good', 'bad'])
    >>> print(*(each.message for each in found.findings if each.level == "problem"))
    pay: figures that need labels are withheld: positive label unknown; set positive_label
    """
    settings = checked_config(config)
    with staged_input(
        predictions,
        ground_truth,
        ColumnChoices(mapping, ground_truth_mapping, features, drop),
        settings,
        partitions=partitions,
        mapped=mapped,
    ) as staged:
        return check_log(
            staged.source,
            settings,
            partitions=staged.partitions,
            keep_order=keep_order,
            options=staged.options,
            progress=progress,
            mapped=mapped,
        )
