"""The settings that results were counted with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from driftline.agents.output_folder import RUN_FILE, ReadError, read_run
from driftline.schemas.config import parse_config
from driftline.schemas.results import RegistryEffect
from driftline.schemas.setting_changes import settings_toml
from driftline.schemas.topics import REGISTRY_EFFECTS
from driftline.streams.lanes import NO_MODEL

if TYPE_CHECKING:
    from driftline.agents.read_model.read_model import Reads
    from driftline.schemas.settings import Config


def settings_in_force(reads: Reads, folder: Path | None, place: str) -> Config:
    """The settings as the workers recorded them last, or as the run of a folder has them; the
    built-in defaults where neither is known.

    Parameters
    ----------
    folder
        The output folder; None for a broker.
    place
        Where the results are from, for messages.

    Raises
    ------
    ReadError
        If they cannot be read.
    """
    settings = None
    effects = reads.records.latest(REGISTRY_EFFECTS, RegistryEffect, model_name=NO_MODEL)
    for effect in effects:
        settings = effect.settings
    if settings is None and folder is not None and (folder / RUN_FILE).is_file():
        settings = read_run(folder).get("settings")
    try:
        return parse_config(settings_toml(settings or {}))
    except ValueError as error:
        raise ReadError(f"{place}: {error}") from error
