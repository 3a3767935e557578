"""A small experiment with everything `scanside evaluate` reads, made of balls and random numbers."""

import csv
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from typer.main import get_command

from scanside.export.experiment_files import CLASSIFIER, ClassifierDocument
from scanside.runtime.record import json_schema
from scanside.runtime.study_model import Band, Classifier, Signature, StudyModel, Typical
from scanside.training.cohort.declared import DIAGNOSES
from scanside.training.cohort.table import Patient, write_cohort_table
from scanside.training.evaluation import cli
from scanside.training.evaluation.records import Report
from scanside.training.experiment import Experiment, start_experiment, write_document
from scanside.training.signature.document import (
    SIGNATURE,
    CanaryRow,
    Classes,
    Estimate,
    LeftOut,
    Options,
    Patients,
    SignatureDocument,
    Step,
    TableSource,
)
from scanside.training.signature.settings import Settings

FEATURES = tuple(f"t2w_original_firstorder_{name}" for name in ("Mean", "Skewness", "Entropy"))
SCHEMA = json_schema(Report)
SPACING = (6.0, 2.0, 1.5)
"""mm, (z, y, x): all different, so that exchanged axes show."""
UNLIKE = ("P001", "P020", "P170")
"""Patients whose probability the out-of-distribution guard withholds."""
SCANNERS, HELD_OUT = ("A", "B", "C"), "D"
QUALITY = {"resubstitution": 0.06, "cross-validated": 0.16, "test": 0.22}
"""How far off the automatic masks are, as a part of the lesion's diameter."""


@dataclass(frozen=True)
class Size:
    """How large an experiment to make."""

    train: int = 18
    test: int = 12
    shape: tuple[int, int, int] = (10, 40, 44)


def make_experiment(folder: Path, size: Size = Size(), seed: int = 0) -> Experiment:
    """A cohort in folder/cohort and an experiment in folder/experiment."""
    generator = np.random.default_rng(seed)
    patients = [_patient(i, i < size.train, generator) for i in range(size.train + size.test)]
    cohort = folder / "cohort"
    write_cohort_table(
        cohort,
        patients,
        name="balls",
        synthetic=True,
        description="Balls of a test.",
        provenance={"seed": seed},
    )
    experiment = start_experiment(folder / "experiment", cohort, synthetic=True)
    for patient in patients:
        _images_and_masks(cohort, experiment, patient, size.shape, generator)
    write_predictions(experiment, patients, generator)
    write_classifier(experiment)
    experiment.record("segment-t2w", {"epochs": 3}, seed=0, started=time.time() - 700)
    return experiment


def write_predictions(
    experiment: Experiment, patients: list[Patient], generator: np.random.Generator
) -> None:
    """Radiomics better than its baselines, better yet on training patients, with a few undefined."""
    strength = {"radiomics": 1.7, "combined": 2.0, "volume": 0.6, "adc_mean": 0.8, "clinical": 1.2}
    rows = []
    for part in QUALITY:
        for patient in patients:
            if (part == "test") != (patient.split == "test"):
                continue
            truth = patient.diagnosis == "PDAC"
            undefined = generator.random() < 0.06 and part != "resubstitution"
            for model, shift in strength.items():
                more = 2.5 if part == "resubstitution" and model == "radiomics" else 1.0
                logit = shift * more * (truth - 0.5) + generator.normal()
                p = 1 / (1 + np.exp(-logit))
                status = "indeterminate" if model == "radiomics" and 0.4 < p < 0.6 else "ok"
                if undefined and model != "clinical":
                    rows.append((patient.patient, part, model, "", "no lesion segmented", ""))
                elif model == "radiomics" and patient.patient in UNLIKE and part != "cross-validated":
                    rows.append((patient.patient, part, model, "", "unsuitable input", f"{p:.6f}"))
                else:
                    rows.append((patient.patient, part, model, f"{p:.6f}", status, f"{p:.6f}"))
    experiment.classifier.mkdir(parents=True, exist_ok=True)
    with (experiment.classifier / "predictions.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("patient", "part", "model", "probability", "status", "unguarded"))
        writer.writerows(rows)


def signature_document(**changes: Any) -> SignatureDocument:
    """A whole signature.json."""
    estimate = Estimate(auc=0.77, low=0.69, high=0.85, per_repeat=(0.75, 0.78, 0.78), patients=18)
    steps = {
        "extracted": 1316,
        "varying": 1290,
        "stable (ICC ≥ 0.75)": 512,
        "not redundant (|ρ| < 0.9)": 97,
        "signature": 9,
    }
    document = SignatureDocument(
        classes=Classes(positive="PDAC", negative="non-PDAC"),
        features=FEATURES,
        alone={},
        path=tuple(Step(step=name, features=left) for name, left in steps.items()),
        frequency={},
        cv=estimate,
        canaries=tuple(
            CanaryRow(name=name, auc=0.49, low=0.41, high=0.58, passed=True, level=0.999, runs=(0.49,) * 20)
            for name in ("permuted labels", "noise features")
        ),
        combined=None,
        one_sequence={},
        baselines={},
        ablation={"reference masks": estimate.model_copy(update={"auc": 0.81})},
        left_out=(
            LeftOut(model="radiomics", site="North", patients=9, auc=0.7, low=0.4, high=1.0),
            LeftOut(model="radiomics", site="South", patients=2, auc=1.0, low=None, high=None),
        ),
        patients=Patients(
            training=18, fitted=18, positive=9, events_per_feature=1.0, dropped_per_fold=(0, 0, 0)
        ),
        excluded=(),
        options=Options.of(Settings()),
        synthetic=True,
        source=TableSource(table="made.csv", second=None, labels="labels.csv", patients=18),
    )
    return document.model_copy(update=changes)


def write_classifier(experiment: Experiment) -> None:
    """classifier.json and signature.json."""
    write_document(experiment.signature / SIGNATURE, signature_document())
    count = len(FEATURES)
    model = StudyModel(
        name="radiomics",
        signature=Signature(features=FEATURES, ranges=dict.fromkeys(FEATURES, (0.0, 1.0, 2.0))),
        classifier=Classifier(
            file="radiomics.onnx",
            positive="PDAC",
            negative="non-PDAC",
            threshold=0.5,
            indeterminate=(0.4, 0.6),
            calibration="none",
            band=Band(value=(0.0, 1.0), low=(0.0, 0.9), high=(0.1, 1.0), method="made"),
            typical=Typical(
                centre=(0.0,) * count,
                precision=tuple(map(tuple, np.eye(count).tolist())),
                limit=3.0,
            ),
        ),
    )
    write_document(experiment.classifier / CLASSIFIER, ClassifierDocument(agreement=None, models=(model,)))


def write_image(path: Path, array: np.ndarray, spacing: tuple[float, float, float] = SPACING) -> None:
    """An array [z, y, x] with spacing (z, y, x) as an image file, whose own order is x, y, z."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing[::-1])
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))


def _patient(number: int, training: bool, generator: np.random.Generator) -> Patient:
    diagnosis = str(generator.choice(DIAGNOSES, p=(0.57, 0.2, 0.23)))
    scanner = HELD_OUT if not training and number % 2 else SCANNERS[number % 3]
    return Patient(
        patient=f"P{number:03d}",
        split="train" if training else "test",
        diagnosis=("PDAC", "PNEN")[number % 2] if number % 5 < 2 else diagnosis,  # both classes on every side
        age=round(float(generator.normal(55, 12)), 1),
        sex=str(generator.choice(("M", "F"))),
        scanner=scanner,
        field_t=3.0 if scanner in "AD" else 1.5,
        lesion_mm=round(float(np.clip(generator.lognormal(np.log(27), 0.45), 9, 60)), 1),
    )


def _images_and_masks(
    cohort: Path,
    experiment: Experiment,
    patient: Patient,
    shape: tuple[int, int, int],
    generator: np.random.Generator,
) -> None:
    extent = np.array(shape) * SPACING
    centre = extent / 2 + generator.normal(0, 3, 3)
    for role in ("t2w", "dwi"):
        reference = ball(shape, centre, patient.lesion_mm / 2)
        body = ball(shape, extent / 2, float(extent[1:].min()) * 0.47, flat=True)
        image = body * 300.0 + reference * (150.0 if role == "t2w" else 260.0)
        image += generator.normal(0, 25, shape)
        write_image(cohort / patient.patient / f"{role}.nii.gz", image.astype(np.float32))
        write_image(cohort / patient.patient / f"{role}_mask.nii.gz", reference.astype(np.uint8))
        for part, off in QUALITY.items():
            if (part == "test") != (patient.split == "test"):
                continue
            wide = off * patient.lesion_mm * (0.7 if role == "dwi" else 1.0) + (off > 0.1) * 1.2
            automatic = ball(
                shape,
                centre + generator.normal(0, wide / 1.7, 3),
                patient.lesion_mm / 2 * generator.normal(1, off),
            )
            if generator.random() < off * 0.25:
                automatic[:] = False
            if generator.random() < off:
                automatic[1, 3:6, 3:7] = True
            write_image(
                experiment.masks(part, role) / f"{patient.patient}.nii.gz", automatic.astype(np.uint8)
            )


def ball(shape: tuple[int, int, int], centre: np.ndarray, radius: float, *, flat: bool = False) -> np.ndarray:
    """Voxels whose centre lies in a ball, or in a cylinder along z."""
    away = (np.indices(shape).transpose(1, 2, 3, 0) + 0.5) * SPACING - centre
    return np.asarray(np.linalg.norm(away[..., 1:] if flat else away, axis=-1) < abs(radius))


def evaluate(path: Path, *options: str) -> int:
    arguments = [str(path), "--bootstrap", "100", *options]
    return int(get_command(cli.app).main(args=arguments, standalone_mode=False) or 0)


def read(experiment: Experiment) -> dict[str, Any]:
    return dict(json.loads((experiment.evaluation / "report.json").read_text()))


def rows_of(report: dict[str, Any], **wanted: str) -> list[dict[str, Any]]:
    rows = report["segmentation"]["rows"]
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]
