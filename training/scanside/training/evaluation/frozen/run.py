"""A cohort through a frozen bundle: each study by the real runtime, its result as `scanside run` writes it."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from scanside.runtime.bundle import Bundle
from scanside.runtime.errors import InputError
from scanside.runtime.options import Options
from scanside.runtime.study.clinical import joined
from scanside.runtime.study.compose import run_report
from scanside.runtime.study.pipeline import StudyRunner, read_recipe, refused
from scanside.runtime.study.read import read_study
from scanside.runtime.study.records import StudyResult
from scanside.runtime.study.report import RESULT, StudyReport
from scanside.runtime.study.write import write_result
from scanside.training.cohort.table import Cohort, Patient
from scanside.training.evaluation.frozen.results import Answer, read_answer
from scanside.training.experiment import write_json

KEY = "key.json"
"""Beside a result: the hash of what it was made from."""


def run_cohort(
    bundle: Bundle,
    cohort: Cohort,
    patients: Sequence[Patient],
    out: Path,
    options: Options,
    say: Callable[[str], None],
) -> list[Answer]:
    """Run every patient who has no result of this bundle on these very images yet.

    Args:
        out: A folder of each patient's result is made in it.
        say: Told how far it is.

    Raises:
        BundleError: If the bundle is damaged or has no classifier.
        BackendError: If the device does not open or fails.
        CaseError: If a network's output is not usable.
    """
    recipe = read_recipe(bundle)
    found = []
    with ExitStack() as opened:
        runner: StudyRunner | None = None
        for number, patient in enumerate(patients, start=1):
            folder = out / patient.patient
            key = _key(bundle, cohort, patient, recipe.needed, options)
            if not _done(folder, key):
                runner = runner or opened.enter_context(
                    StudyRunner(bundle, options, lambda words: say(f"{words} …"))
                )
                result = _run(runner, cohort, patient)
                _write(result, bundle, recipe.channels, cohort.path / patient.patient, folder, options)
                write_json(folder / KEY, {"key": key})
                say(f"{number} of {len(patients)} patients through {bundle.manifest.name}")
            found.append(read_answer(folder, patient.patient))
    return found


def _run(runner: StudyRunner, cohort: Cohort, patient: Patient) -> StudyResult:
    """A study that cannot be read or is not suitable is a result, too."""
    path = cohort.path / patient.patient
    try:
        study = read_study(path, runner.recipe.needed)
        known = joined(study.covariates, patient.known, cohort.path / "cohort.csv")
    except InputError as error:
        return refused(str(error))
    return runner.run(replace(study, covariates=known))


def _write(
    result: StudyResult,
    bundle: Bundle,
    channels: Mapping[str, tuple[str, ...]],
    study: Path,
    folder: Path,
    options: Options,
) -> None:
    def document(final: StudyResult, outputs: list[Path]) -> StudyReport:
        return run_report(final, bundle, options, [study], outputs)

    write_result(result, bundle, channels, folder, document)


def _key(bundle: Bundle, cohort: Cohort, patient: Patient, needed: Sequence[str], options: Options) -> str:
    """Hash of everything that a result depends on."""
    digest = hashlib.sha256(f"{bundle.sha256} {options} {sorted(patient.known.items())}".encode())
    for sequence in (*needed, "b0"):
        place = cohort.image(patient.patient, sequence)
        for file in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if file.is_file():
                digest.update(f"{file.relative_to(cohort.path)}".encode() + file.read_bytes())
    return digest.hexdigest()


def _done(folder: Path, key: str) -> bool:
    try:
        return (folder / RESULT).is_file() and json.loads((folder / KEY).read_text())["key"] == key
    except (OSError, ValueError, KeyError, TypeError):
        return False
