"""What a complete study lacks, by its headers alone: the sequences that the bundle needs and no series is taken for."""

from pathlib import Path

from scanside.runtime.appliance.admission import SeriesFacts, why_not
from scanside.runtime.appliance.config import Config
from scanside.runtime.bundle import open_bundle
from scanside.runtime.errors import InputError, ScansideError
from scanside.runtime.study.pipeline import read_recipe
from scanside.runtime.study.records import SEQUENCES
from scanside.runtime.study.series_list import list_series


def needed_of(config: Config) -> tuple[str, ...]:
    """Names of the sequences that the configured bundle needs; all where it cannot be opened, which is not our job."""
    try:
        return tuple(read_recipe(open_bundle(config.service.bundle)).needed)
    except ScansideError:
        return tuple(SEQUENCES)


def lacking(study: Path, needed: tuple[str, ...], config: Config) -> tuple[str, ...]:
    """Sequences that a study lacks.

    A study that is not accepted, or that holds no image, lacks nothing: nobody wants to compute it.

    Args:
        study: Its folder in the spool.
    """
    from scanside.runtime.dicom.acceptance import series_headers

    try:
        if why_not((SeriesFacts(*said) for said in series_headers(study)), config.accept):
            return ()
        chosen = {row.chosen for row in list_series(study)}
    except (InputError, OSError):  # the worker says what is wrong with it
        return ()
    return tuple(name for name in needed if name not in chosen)
