"""Dice by the contrast of the lesion, from an experiment's out-of-fold masks.

    python docs/measure_contrast.py EXPERIMENT OUT.json ['FOLDER/{role}']

The third argument names folders with another bundle's masks of the same patients, to stand beside.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from scanside.runtime.images.read import read_image
from scanside.runtime.masks.overlap import overlap
from scanside.training.cohort.table import Cohort, Patient, read_cohort
from scanside.training.evaluation.bootstrap import mean_interval, stream
from scanside.training.evaluation.contrast import LIMITS, band, contrast
from scanside.training.evaluation.strata import SIZES, size_of
from scanside.training.experiment import Experiment, open_experiment

REPEATS = 2000


def measure(patient: Patient, cohort: Cohort, role: str, masks: Path, others: Path | None) -> dict[str, Any]:
    """A patient's row: contrast and Dice, and another bundle's Dice as `before` where its mask is there."""
    name = f"{patient.patient}.nii.gz"
    image = read_image(cohort.image(patient.patient, role))
    lesion = read_image(cohort.mask(patient.patient, role)).data[0] > 0
    spacing = image.geometry.spacing
    files = {"dice": masks / name} | ({"before": others / name} if others else {})
    return {
        "patient": patient.patient,
        "diagnosis": patient.diagnosis,
        "lesion_mm": patient.lesion_mm,
        "contrast": round(contrast(image.data[0], lesion, spacing), 3),
        **{
            what: round(overlap(lesion, read_image(file).data[0] > 0, spacing).dice, 4)
            for what, file in files.items()
            if file.exists()
        },
    }


def summary(name: str, values: list[float]) -> dict[str, Any]:
    """Mean with its 95 % interval over patients, and how many are exactly 0."""
    interval = mean_interval(np.array(values), REPEATS, stream(0, name))
    return {
        "patients": len(values),
        "mean": round(float(np.mean(values)), 4),
        "interval": [round(end, 4) for end in interval] if interval else None,
        "zero": sum(value == 0 for value in values),
    }


def strata(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Rows by contrast, diagnosis and size; empty strata left out."""
    found: dict[str, list[dict[str, Any]]] = {"all": rows}
    for name in map(band, LIMITS[:-1]):
        found[name] = [row for row in rows if band(row["contrast"]) == name]
    for diagnosis in sorted({row["diagnosis"] for row in rows}):
        found[diagnosis] = [row for row in rows if row["diagnosis"] == diagnosis]
    for size in SIZES:
        found[size] = [row for row in rows if size_of(row["lesion_mm"]) == size]
    return {name: members for name, members in found.items() if members}


def of_role(experiment: Experiment, cohort: Cohort, role: str, others: str | None) -> dict[str, Any]:
    """Everything of a role."""
    masks, beside = (
        experiment.masks("cross-validated", role),
        Path(others.format(role=role)) if others else None,
    )
    rows = [measure(patient, cohort, role, masks, beside) for patient in cohort.split("train")]
    by = {
        name: summary(f"{role} {name}", [row["dice"] for row in members])
        for name, members in strata(rows).items()
    }
    both = [row for row in rows if "before" in row]
    compared = {
        "this": summary("this", [row["dice"] for row in both]),
        "before": summary("before", [row["before"] for row in both]),
        "difference": summary("difference", [row["dice"] - row["before"] for row in both]),
    }
    return {"by": by, "same_patients": compared if both else None, "patients": rows}


def main() -> None:
    """Write OUT.json."""
    experiment, others = open_experiment(Path(sys.argv[1])), sys.argv[3] if len(sys.argv) > 3 else None
    cohort = read_cohort(experiment.cohort)
    out = {role: of_role(experiment, cohort, role, others) for role in ("t2w", "dwi")}
    Path(sys.argv[2]).write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
