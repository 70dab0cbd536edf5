"""`driftline.replay`: the Python API of a run, which the command of that name uses too.

The run itself is `inprocess/replay.py`; reading its results is `results.py`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Final

import msgspec

from driftline.agents.configuration import ConfigSource, checked_config
from driftline.agents.inprocess.replay import replay as run_log
from driftline.agents.inprocess.run_summary import Progress
from driftline.agents.recorded.export_manifest import read_manifest
from driftline.agents.recorded.inputs_to_log import Rows, write_log
from driftline.agents.recorded.lines import LogError
from driftline.agents.recorded.tables.column_mapping import ColumnUse, Options
from driftline.agents.recorded.tables.file_content import is_table
from driftline.agents.results import Results, TemporaryOutput

PARTITIONS: Final = 8


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
    progress: Callable[[Progress], None] | None = None,
    mapped: Callable[[Sequence[ColumnUse]], None] | None = None,
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
    progress
        Called after every commit.
    mapped
        Called for each table before its rows are read, with what became of each of its columns.

    Raises
    ------
    LogError
        If an input cannot be read; names the argument or file, and the row at fault.
    ConfigError
        If the configuration is invalid; names the key.
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
    source = _source(predictions)
    options = Options(
        mapping=dict(mapping or {}),
        features=_names(features, "features"),
        drop=_names(drop, "drop"),
    )
    with tempfile.TemporaryDirectory(prefix="driftline-log-") as staged:
        if source is not None and (source.is_dir() or (is_table(source) and ground_truth is None)):
            if ground_truth is not None:
                raise LogError(
                    f"predictions: {source} is a folder, so it is a recorded log with the ground "
                    "truth in it; leave ground_truth out, or pass a file"
                )
        elif follow:
            raise LogError(
                "follow: only the folder of a recorded log has the registry events to follow; "
                "pass one as predictions"
            )
        else:
            write_log(
                predictions,
                ground_truth,
                Path(staged),
                options=msgspec.structs.replace(
                    options, option="mapping", segments=settings.segments
                ),
                ground_truth_mapping=ground_truth_mapping or {},
                missing_labels=settings.missing_labels,
                mapped=mapped,
            )
            source, options = Path(staged), Options()
        if partitions is None:
            manifest = read_manifest(source)
            partitions = manifest.partitions if manifest else PARTITIONS
        temporary = TemporaryOutput() if out is None else None
        folder = temporary.folder if temporary else Path(out or "")
        summary = run_log(
            source,
            folder,
            settings,
            partitions=partitions,
            batch=batch,
            open_end=open_end,
            follow=follow,
            options=options,
            keep_order=keep_order,
            progress=progress,
            mapped=mapped,
        )
    return Results(folder, summary=summary, temporary=temporary)


def _names(columns: Sequence[str], argument: str) -> tuple[str, ...]:
    if isinstance(columns, str):
        raise LogError(f"{argument}: is one text; pass a list of names of columns")
    return tuple(columns)


def _source(predictions: Rows) -> Path | None:
    return Path(predictions) if isinstance(predictions, str | PathLike) else None
