"""An experiment that begins with a table of features instead of a cohort of images."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from scanside.export.experiment_files import EXPERIMENT, ExperimentDocument
from scanside.runtime.errors import InputError
from scanside.training.experiment import Experiment, make_experiment, now, open_experiment


def start_table_experiment(path: Path, tables: Sequence[Path]) -> Experiment:
    """Open the experiment folder of some tables, or make it.

    Args:
        tables: Features, then what belongs to them.

    Raises:
        InputError: If the folder was made from something else.
    """
    digest = hashlib.sha256()
    for table in tables:
        digest.update(table.read_bytes())
    if (path / EXPERIMENT).exists():
        experiment = open_experiment(path)
        if experiment.cohort_sha256 != digest.hexdigest():
            raise InputError(f"{path} was made from other data; choose a new folder for {tables[0]}.")
        return experiment
    document = ExperimentDocument(
        created=now(),
        cohort=str(tables[0].resolve()),
        cohort_sha256=digest.hexdigest(),
        synthetic=False,
    )
    return make_experiment(path, tables[0], document)
