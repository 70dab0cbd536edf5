"""What a caller names as input, prepared as a log that a run reads: a table or the folder of a log
as it is, anything else written to a temporary folder.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from driftline.agents.recorded.export_manifest import read_manifest
from driftline.agents.recorded.inputs_to_log import Rows, write_log
from driftline.agents.recorded.lines import LogError
from driftline.agents.recorded.tables.column_mapping import ColumnUse, Options
from driftline.agents.recorded.tables.file_content import is_table
from driftline.schemas.settings import Config

PARTITIONS: Final = 8

Mapped = Callable[[Sequence[ColumnUse]], None]
"""Called for each table before its rows are read, with what became of each of its columns."""


class ColumnChoices(NamedTuple):
    """What a caller says about the columns of tables.

    Attributes
    ----------
    mapping, ground_truth_mapping
        Column by field, of the tables of predictions and of ground truth.
    features, drop
        Columns of the table of predictions that are features, and those that are left out.
    """

    mapping: Mapping[str, str] | None = None
    ground_truth_mapping: Mapping[str, str] | None = None
    features: Sequence[str] = ()
    drop: Sequence[str] = ()

    def options(self) -> Options:
        """The options of the table of predictions.

        Raises
        ------
        LogError
            If a list of names is one text.
        """
        return Options(
            mapping=dict(self.mapping or {}),
            features=_names(self.features, "features"),
            drop=_names(self.drop, "drop"),
        )


class StagedInput(NamedTuple):
    """A log that a run can read.

    Attributes
    ----------
    source
        Its folder, or a table.
    options
        What the caller says about the columns of the table.
    partitions
        Partitions of the input topics.
    """

    source: Path
    options: Options
    partitions: int


@contextmanager
def staged_input(
    predictions: Rows,
    ground_truth: Rows | None,
    choices: ColumnChoices,
    config: Config,
    *,
    partitions: int | None = None,
    follow: bool = False,
    mapped: Mapped | None = None,
) -> Iterator[StagedInput]:
    """The log of the inputs, as long as the context lasts.

    Parameters
    ----------
    predictions, ground_truth
        As those of `driftline.replay`.
    partitions
        None for those of an export, else PARTITIONS.
    follow
        Whether the log must have registry events.

    Raises
    ------
    LogError
        If an input cannot be read; names the argument or file, and the row at fault.
    """
    source = Path(predictions) if isinstance(predictions, str | PathLike) else None
    options = choices.options()
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
                    options, option="mapping", segments=config.segments
                ),
                ground_truth_mapping=choices.ground_truth_mapping or {},
                missing_labels=config.missing_labels,
                mapped=mapped,
            )
            source, options = Path(staged), Options()
        if partitions is None:
            partitions = partitions_of_log(source)
        yield StagedInput(source, options, partitions)


def partitions_of_log(source: Path) -> int:
    """Partitions of the input topics of an export, PARTITIONS for any other log."""
    manifest = read_manifest(source)
    return manifest.partitions if manifest else PARTITIONS


def _names(columns: Sequence[str], argument: str) -> tuple[str, ...]:
    if isinstance(columns, str):
        raise LogError(f"{argument}: is one text; pass a list of names of columns")
    return tuple(columns)
