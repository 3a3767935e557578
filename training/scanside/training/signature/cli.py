"""`scanside train signature`. scikit-learn is imported only when the command runs."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from scanside.runtime.cli.arguments import RadiomicsFile
from scanside.runtime.cli.main import require_extra
from scanside.runtime.errors import UsageError
from scanside.training.options import Jobs
from scanside.training.signature import options as given

if TYPE_CHECKING:
    from scanside.training.experiment import Experiment
    from scanside.training.signature.document import CohortSource, TableSource
    from scanside.training.signature.store import Measurements

PACKAGES = ("sklearn", "joblib")
SELECTORS = ("mrmr", "lasso")


def signature(
    experiment: given.ExperimentFolder,
    features: given.Features = 9,
    selector: given.Selector = "mrmr",
    combat: given.Combat = False,
    presence: given.Presence = 0.95,
    seed: given.Seed = 0,
    folds: given.Folds = 5,
    repeats: given.Repeats = 5,
    inner: given.Inner = 4,
    jobs: Jobs = 1,
    perturbations: given.Perturbations = 4,
    config: RadiomicsFile = None,
    canary_runs: given.CanaryRuns = 20,
    table: given.Table = None,
    second: given.Second = None,
    labels: given.Labels = None,
) -> int:
    """Measure radiomics on the automatic masks and choose a signature, everything inside cross-validation folds.

    Examples:

      scanside train signature experiment --jobs 2

      scanside train signature experiment --table first.xlsx --second second.xlsx --labels labels.csv
    """
    require_extra("train", *PACKAGES)
    import time

    from scanside.training.signature.roles import roles_of
    from scanside.training.signature.settings import Scheme, Selection, Settings
    from scanside.training.signature.step import choose_signature, write_signature

    started = time.time()
    if selector not in SELECTORS:
        raise UsageError(f"There is no selector '{selector}'; choose one of {', '.join(SELECTORS)}.")
    selection = Selection(features=features, selector=cast(Any, selector), combat=combat, presence=presence)
    scheme = Scheme(folds=folds, repeats=repeats, inner=inner, seed=seed, jobs=jobs)
    settings = Settings(selection, scheme, perturbations, canary_runs)
    if table is None:
        if second is not None or labels is not None:
            raise UsageError("--second and --labels belong to --table; give the table too.")
        source: CohortSource | TableSource
        opened, measurements, classes, source = _measure(experiment, settings, config)
    else:
        if labels is None or config is not None or combat:
            raise UsageError("--table needs --labels, and takes neither --config nor --combat; correct that.")
        opened, measurements, classes, source = _import(experiment, table, second, labels)
    roles = roles_of(opened, measurements.features)
    document = choose_signature(
        measurements, settings, classes, roles, source, _say, synthetic=opened.synthetic
    )
    print(write_signature(opened, document, settings, started=started))
    cv = document.cv
    _say(f"nested cross-validation: AUC {cv.auc:.3f} ({cv.low:.3f} to {cv.high:.3f})")
    return 0


def _measure(
    path: Path, settings: Any, config: Path | None
) -> tuple["Experiment", "Measurements", tuple[str, str], "CohortSource"]:
    """Features of a cohort's images."""
    from scanside.runtime.images.files import atomic_write
    from scanside.runtime.radiomics.config import default_config, dump_config, load_config
    from scanside.training.cohort.table import read_cohort
    from scanside.training.experiment import cohort_hash, open_experiment
    from scanside.training.progress import Progress
    from scanside.training.signature.document import CohortSource, Nearness
    from scanside.training.signature.extract import gather, jobs_of, measure_all
    from scanside.training.signature.store import write_measurements
    from scanside.training.signature.tolerance import learned_tolerance

    experiment = open_experiment(path)
    cohort = read_cohort(experiment.cohort)
    if cohort_hash(experiment.cohort) != experiment.cohort_sha256:
        raise UsageError(
            f"The cohort {experiment.cohort} has changed since {path} was begun; begin a new experiment."
        )
    recipe = load_config(_read(config)) if config else default_config()
    tolerance = learned_tolerance(cohort, {part.role for part in recipe.sequences.values()})
    _say(f"lesions of two sequences are one within {tolerance.near_mm:g} mm ({tolerance.method})")
    work = jobs_of(
        cohort, experiment, recipe, settings.perturbations, settings.scheme.seed, tolerance.near_mm
    )
    measure_all(work, settings.scheme.jobs, Progress("measuring patients", len(work)))
    measurements, absent = gather(cohort, work, cohort.positive)
    with atomic_write(experiment.signature / "radiomics.yaml") as temporary:
        temporary.write_bytes(dump_config(recipe))
    write_measurements(experiment.signature, measurements)
    source = CohortSource(
        cohort=cohort.name,
        masks="automatic, cross-validated for training patients",
        absent=absent,
        agreement=Nearness(**asdict(tolerance)),
    )
    return experiment, measurements, (cohort.positive, f"non-{cohort.positive}"), source


def _import(
    path: Path, table: Path, second: Path | None, labels: Path
) -> tuple["Experiment", "Measurements", tuple[str, str], "TableSource"]:
    """Features of a table."""
    from scanside.training.signature.document import TableSource
    from scanside.training.signature.imported import start_table_experiment
    from scanside.training.signature.store import write_measurements
    from scanside.training.signature.tables import read_table

    measurements, positive = read_table(table, second, labels)
    experiment = start_table_experiment(path, [file for file in (table, second, labels) if file])
    write_measurements(experiment.signature, measurements)
    source = TableSource(
        table=table.name,
        second=second.name if second else None,
        labels=labels.name,
        patients=len(measurements.patients),
    )
    return experiment, measurements, (positive, f"non-{positive}"), source


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); check the path.") from error


def _say(words: str) -> None:
    print(words, file=sys.stderr)
