"""Which covariates of a cohort are the clinical data of its models, and their values."""

from collections.abc import Sequence
from dataclasses import replace

from scanside.runtime.errors import InputError, UsageError
from scanside.training.cohort.declared import CovariateColumn
from scanside.training.cohort.table import Cohort, read_cohort
from scanside.training.experiment import Experiment, cohort_hash
from scanside.training.signature.pipeline import CLINICAL
from scanside.training.signature.store import CROSS_VALIDATED, Measurements


def covariate_columns(experiment: Experiment, names: Sequence[str]) -> tuple[CovariateColumn, ...]:
    """What the cohort declares of the covariates besides age and sex.

    Raises:
        InputError: If the cohort cannot be read, or is another one than the experiment began with.
        UsageError: If a name stands twice, or the cohort does not declare it.
    """
    if len(set(names)) != len(names):
        raise UsageError(f"--clinical {','.join(names)} names a covariate twice; name each once.")
    more = [name for name in names if name not in CLINICAL]
    if not more:
        return ()
    known = {one.name: one for one in _cohort(experiment).declared.covariates}
    for name in more:
        if name not in known:
            others = ", ".join((*CLINICAL, *known))
            raise UsageError(
                f"cohort.json declares no covariate '{name}' for --clinical; choose from {others}."
            )
    return tuple(known[name] for name in more)


def with_covariates(
    measurements: Measurements, experiment: Experiment, columns: Sequence[CovariateColumn]
) -> Measurements:
    """The same patients with what cohort.csv says of them: numbers as they are, a choice as 0 or 1.

    Raises:
        InputError: If a covariate is not known of any training patient.
    """
    if not columns:
        return measurements
    patients = _cohort(experiment).patients
    clinical: dict[str, dict[str, float]] = {}
    for one in columns:
        said = {p.patient: p.clinical[one.name] for p in patients if one.name in p.clinical}
        clinical[one.name] = {
            name: float(value if one.values is None else one.values.index(str(value)))
            for name, value in said.items()
        }
        if not any(p.patient in said for p in measurements.of(CROSS_VALIDATED)):
            raise InputError(
                f"{experiment.cohort / 'cohort.csv'} gives no training patient a value of {one.name}; "
                "leave it out of --clinical."
            )
    return replace(measurements, clinical=clinical)


def _cohort(experiment: Experiment) -> Cohort:
    cohort = read_cohort(experiment.cohort)
    if cohort_hash(experiment.cohort) != experiment.cohort_sha256:
        raise InputError(
            f"The cohort {experiment.cohort} has changed since the experiment began; begin a new experiment."
        )
    return cohort
