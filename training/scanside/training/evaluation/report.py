"""An experiment → its report: measure, summarise, draw, write."""

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scanside.runtime import machine
from scanside.runtime.errors import InputError
from scanside.runtime.images.files import atomic_write
from scanside.runtime.report import RESEARCH
from scanside.training.cohort.declared import NO_LESION, SPLITS
from scanside.training.cohort.sizes import sized
from scanside.training.cohort.table import UNKNOWN, Cohort, Patient, read_cohort
from scanside.training.evaluation import records
from scanside.training.evaluation.cases import Case, Masks, measure_all, write_cases
from scanside.training.evaluation.checklists import checklists
from scanside.training.evaluation.classification import Sample, classification, sample
from scanside.training.evaluation.drawing import draw
from scanside.training.evaluation.frozen.records import Frozen
from scanside.training.evaluation.fused import fused_rows
from scanside.training.evaluation.html import render
from scanside.training.evaluation.predictions import read_facts, read_predictions
from scanside.training.evaluation.records_segmentation import Segmentation
from scanside.training.evaluation.segmentation_table import segmentation
from scanside.training.evaluation.strata import HELD_OUT, SIZES, scanner_groups, size_of
from scanside.training.evaluation.study import ROLE_TITLES, is_the_studys, published
from scanside.training.experiment import PACKAGES, PARTS, cohort_hash, open_experiment

SYNTHETIC = (
    "The cohort is synthetic: a phantom made by equations. Synthetic performance is not clinical performance, "
    "and no number of this report says how well anything works on patients."
)
STEP = "evaluate"


@dataclass(frozen=True)
class Evaluated:
    """What was found, before it is written.

    Attributes:
        synthetic: No image shows a person.
        masks: Where the automatic masks lie.
        steps: Step of the experiment → its record.
        samples: Part → patients of the main model; empty without a classifier.
        frozen: Of a bundle that was judged; None for an experiment.
        warnings: What a reader must know beside what the numbers say themselves.
    """

    cohort: Cohort
    cohort_sha256: str
    synthetic: bool
    masks: Masks
    steps: dict[str, Any]
    cases: list[Case]
    segmentation: Segmentation | None
    classification: records.Classification | None
    samples: dict[str, Sample]
    frozen: Frozen | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Conditions:
    """How an evaluation was asked for."""

    command: tuple[str, ...]
    seed: int
    repeats: int
    started: float


def evaluate(
    path: Path, *, repeats: int, seed: int, advance: Callable[[str], None] = lambda _: None
) -> Evaluated:
    """Measure an experiment.

    Args:
        path: The experiment's folder.
        repeats: Bootstrap resamples of each interval.
        seed: Of the resamples.
        advance: Called after each patient and role.

    Raises:
        InputError: If it is no experiment, its cohort has changed, or it has neither masks nor predictions.
        GeometryError: If a mask does not lie on its reference's grid.
    """
    experiment = open_experiment(path)
    cohort = sized(read_cohort(experiment.cohort))
    if cohort_hash(experiment.cohort) != experiment.cohort_sha256:
        raise InputError(
            f"The table of {experiment.cohort} has changed since {path} was begun, so patients may have changed sides; "
            "train again in a new folder."
        )
    predictions = read_predictions(experiment, cohort)
    cases, absent = measure_all(experiment, cohort, advance)
    if not cases and predictions is None:
        raise InputError(f"{path} holds neither masks nor predictions; run `scanside train segment` first.")
    found, samples = None, {}
    if predictions is not None:
        facts = read_facts(experiment, predictions)
        found = classification(predictions, facts, cohort, repeats=repeats, seed=seed)
        samples = {part: sample(predictions, facts.main, part, facts.positive, cohort) for part in PARTS}
    fused = fused_rows(experiment, cohort, cases, repeats=repeats, seed=seed)
    return Evaluated(
        cohort=cohort,
        cohort_sha256=experiment.cohort_sha256,
        synthetic=experiment.synthetic or cohort.synthetic,
        masks=experiment,
        steps={step: neutral(of.data()) for step, of in experiment.records().items() if step != STEP},
        cases=cases,
        segmentation=segmentation(cases, absent, cohort, fused, repeats=repeats, seed=seed)
        if cases
        else None,
        classification=found,
        samples=samples,
    )


def write(done: Evaluated, folder: Path, conditions: Conditions) -> records.Report:
    """Write report.json, report.html, cases.csv and the figures.

    Raises:
        OutputError: If the folder cannot be written.
    """
    figures = draw(done, repeats=conditions.repeats, seed=conditions.seed)
    for figure in figures:
        with atomic_write(folder / figure.file) as temporary:
            temporary.write_bytes(figure.png)
    if done.cases:
        write_cases(done.cases, folder / "cases.csv")
    report = assemble(done, conditions, {figure.file: figure.caption for figure in figures})
    with atomic_write(folder / "report.json") as temporary:
        temporary.write_text(f"{json.dumps(records.document(report), indent=1)}\n", encoding="utf-8")
    with atomic_write(folder / "report.html") as temporary:
        temporary.write_text(render(report, figures), encoding="utf-8")
    return report


def assemble(done: Evaluated, conditions: Conditions, figures: dict[str, str]) -> records.Report:
    """The report as data."""
    report = records.Report(
        schema=records.SCHEMA,
        notice=RESEARCH,
        synthetic=done.synthetic,
        warnings=[*([SYNTHETIC] if done.synthetic else []), *done.warnings, *_warnings(done)],
        missing=_missing(done),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=[str(neutral(word)) for word in conditions.command],
        seed=conditions.seed,
        bootstrap=conditions.repeats,
        seconds=round(time.time() - conditions.started, 1),
        machine=records.Machine(
            processor=machine.processor(), cores=machine.cores(), memory_gib=machine.memory_gib()
        ),
        versions=machine.versions((*PACKAGES, "jinja2")),
        cohort=summary(done.cohort, done.cohort_sha256),
        published=published(done.segmentation, done.classification) if is_the_studys(done.cohort) else [],
        segmentation=done.segmentation,
        classification=done.classification,
        frozen=done.frozen,
        records=done.steps,
        figures=figures,
    )
    return report.model_copy(update={"checklists": checklists(report)})


def summary(cohort: Cohort, sha256: str) -> records.CohortSummary:
    """Numbers of patients by split and property."""
    known = scanner_groups(cohort)

    def count(of: Callable[[Any], str], order: Sequence[str]) -> dict[str, dict[str, int]]:
        counts = {split: Counter(of(patient) for patient in cohort.split(split)) for split in SPLITS}
        return {split: {value: counts[split][value] for value in order} for split in SPLITS}

    def more(order: Sequence[str], values: set[str]) -> tuple[str, ...]:
        """What stands beside the usual values, where it occurs."""
        return *order, *(word for word in (NO_LESION, UNKNOWN) if word in values)

    def said(patient: Patient) -> str:
        return patient.diagnosis or UNKNOWN

    def size(patient: Patient) -> str:
        return NO_LESION if patient.lesion_free else size_of(patient.lesion_mm)

    scanners = sorted({patient.scanner for patient in cohort.patients})
    return records.CohortSummary(
        name=cohort.name,
        synthetic=cohort.synthetic,
        sha256=sha256,
        train=len(cohort.split("train")),
        test=len(cohort.split("test")),
        diagnoses=count(
            said, more(cohort.declared.diagnoses, {said(patient) for patient in cohort.patients})
        ),
        sizes=count(size, more(SIZES, {size(patient) for patient in cohort.patients})),
        scanners=count(lambda patient: patient.scanner, scanners),
        held_out_scanners=sorted(
            {patient.scanner for patient in cohort.patients if known[patient.patient] == HELD_OUT}
        ),
    )


def neutral(value: Any) -> Any:
    """A record without the folders of the machine it was made on: absolute paths are cut to their last part."""
    if isinstance(value, str):
        return Path(value).name if Path(value).is_absolute() and "\n" not in value else value
    if isinstance(value, dict):
        return {key: neutral(item) for key, item in value.items()}
    return [neutral(item) for item in value] if isinstance(value, list) else value


def _missing(done: Evaluated) -> list[str]:
    missing = []
    if done.segmentation is None:
        missing.append("No automatic mask: the part on segmentation is absent.")
    else:
        for gap in done.segmentation.absent:
            which = "no mask" if gap.absent == gap.of else f"{gap.absent} of {gap.of} masks missing"
            missing.append(f"Segmentation, {ROLE_TITLES[gap.role]}, {gap.part}: {which}.")
        for role, names in done.segmentation.without_reference.items():
            missing.append(f"Segmentation, {ROLE_TITLES[role]}: {len(names)} patients have no reader's mask.")
    if done.classification is None:
        missing.append("No predictions of a classifier: the part on classification is absent.")
        return missing
    for part in PARTS if done.frozen is None else ("test",):
        main = [result for result in done.classification.models if result.main and result.part == part]
        if not main:
            missing.append(f"Classification, {part}: no prediction of {done.classification.main_model}.")
        elif main[0].absent:
            missing.append(f"Classification, {part}: {main[0].absent} patients without a row.")
    if not any(result.confusion for result in done.classification.models):
        missing.append("No classifier.json with a threshold: confusion and indeterminate band are absent.")
    return missing


def _warnings(done: Evaluated) -> list[str]:
    warnings = []
    if done.frozen is not None:
        pass
    elif not done.cohort.split("test"):
        warnings.append("The cohort has no test split: every figure is an internal one.")
    elif HELD_OUT not in scanner_groups(done.cohort).values():
        warnings.append(
            "Every scanner of the test split occurs in training: the test is not an external one."
        )
    for row in done.segmentation.rows if done.segmentation else ():
        if (row.part, row.scanners, row.size) == ("test", "all", "all") and row.missed:
            warnings.append(
                f"{ROLE_TITLES[row.role]}, test: in {row.missed} of {row.patients} patients no lesion was found "
                f"({row.empty} of the masks empty); they count with their Dice, and with the image's diagonal as "
                "distance where the mask is empty."
            )
    for canary in (done.classification.canaries or ()) if done.classification else ():
        if not canary.passed:
            warnings.append(
                f"The leakage canary '{canary.name}' reached an AUC of {canary.auc:.2f} where there is nothing to "
                "learn: no area of this report can be trusted."
            )
    for result in done.classification.models if done.classification else ():
        if result.main and result.part == "test" and result.without_probability:
            n = result.without_probability + result.auc.patients
            warnings.append(
                f"Classification, test: {result.without_probability} of {n} patients got no probability; the AUC is "
                "about the others, and is given with them as undecided and as wrong beside it."
            )
    return warnings
